// @anthropic-ai/sdk (npm) against chaos.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import { always, chaos, failure, isCity, once, overloaded, rateLimited, waited, weather } from "./chaos.mjs";

const connect = (provider, options) => new Anthropic({ apiKey: "of-the-test", baseURL: provider.url, ...options });
const question = { model: "claude-practice", max_tokens: 2048, messages: [{ role: "user", content: "Hello?" }] };
const text = (message) => message.content.filter((b) => b.type === "text").map((b) => b.text).join("");

test("a message, whole and streamed, with thinking", async (t) => {
  const client = connect(await chaos(t));
  assert.match(text(await client.messages.create(question)), /invented/);
  const thinking = { type: "enabled", budget_tokens: 1024 };
  const thought = await client.messages.create({ ...question, thinking });
  assert.deepEqual(thought.content.map((b) => b.type), ["thinking", "text"]);
  const stream = client.messages.stream({ ...question, thinking });
  let thoughts = "", pieces = 0;
  stream.on("thinking", (delta) => (thoughts += delta)).on("text", () => pieces++);
  const final = await stream.finalMessage();
  assert.equal(final.content[0].thinking, thoughts);
  assert.ok(final.content[0].signature && pieces > 3 && text(final).includes("invented"));
  // What it thought goes back unchanged.
  await client.messages.create({ ...question, thinking, messages: [...question.messages, { role: "assistant", content: final.content }, { role: "user", content: "And?" }] });
});

for (const stream of [false, true]) {
  test(`toolRunner, ${stream ? "streamed" : "whole"}`, async (t) => {
    const provider = await chaos(t, once({ tool: "lookup" }, { tool: "lookup" }));
    const asked = [];
    const lookup = betaTool({ name: "lookup", description: "the weather", inputSchema: weather, run: (a) => (asked.push(a), "sunny") });
    const runner = connect(provider).beta.messages.toolRunner({ ...question, system: "Be brief.", tools: [lookup], stream });
    let messages = 0;
    for await (const message of runner) {
      messages++;
      if (stream) for await (const _ of message);
    }
    assert.match(text(await runner.done()), /invented/);
    assert.equal(typeof asked[0].city, "string");
    assert.deepEqual([asked.length, messages, (await provider.requests()).length], [1, 2, 2]);
  });
}

test("a message thread, and one that the server forgot", async (t) => {
  const provider = await chaos(t);
  const thread = connect(provider).beta.messages.thread({ model: "claude-practice", max_tokens: 99 });
  await thread.send({ role: "user", content: "Hello?" });
  await thread.send({ role: "user", content: "And?" });
  const bodies = (await provider.requests()).map((r) => r.messages);
  assert.deepEqual(bodies, [1, 3]);
  await provider.reset();
  assert.match(text(await thread.send({ role: "user", content: "Still there?" })), /invented/);
  assert.deepEqual((await provider.requests()).map((r) => r.status), [404, 200]);
});

test("a search result in the question", async (t) => {
  const result = { type: "search_result", source: "https://example.org", title: "t", content: [{ type: "text", text: "It rains." }] };
  const message = await connect(await chaos(t)).messages.create({ ...question, messages: [{ role: "user", content: [result, { type: "text", text: "And?" }] }] });
  assert.match(text(message), /invented/);
});

test("structured output", async (t) => {
  const client = connect(await chaos(t));
  const City = z.object({ name: z.string(), population: z.int().min(1) });
  const message = await client.messages.parse({ ...question, output_config: { format: zodOutputFormat(City) } });
  isCity(message.parsed_output);
});

test("models and tokens", async (t) => {
  const client = connect(await chaos(t));
  const ids = [];
  for await (const m of client.models.list({ limit: 2 })) {
    assert.ok(m.type === "model" && m.display_name && !Number.isNaN(Date.parse(m.created_at)), JSON.stringify(m));
    ids.push(m.id);
  }
  assert.deepEqual(ids, ["practice", "practice-small", "practice-embedding"]);
  assert.equal((await client.models.retrieve("claude-mine")).id, "claude-mine");
  const { max_tokens: _, ...counted } = question;
  assert.ok((await client.messages.countTokens(counted)).input_tokens > 3);
  assert.ok((await client.beta.messages.countTokens(counted)).input_tokens > 3);
});

test("failures: what the client makes of them", async (t) => {
  await t.test("a rate limit is waited for as Retry-After says", async (t) => {
    const provider = await chaos(t, once(rateLimited));
    await connect(provider).messages.create(question);
    const ms = await waited(provider);
    assert.ok(ms >= 950, `waited ${ms} ms`); // its own backoff begins with half a second
  });
  await t.test("overloads without end are an error after three requests", async (t) => {
    const provider = await chaos(t, always({ ...overloaded, retry_after_ms: "20" }));
    const err = await failure(() => connect(provider).messages.create(question));
    assert.ok(err instanceof Anthropic.APIError, String(err));
    assert.deepEqual([err.status, err.error.error.type, (await provider.requests()).length], [529, "overloaded_error", 3]);
    assert.ok(err.requestID.startsWith("req_"));
  });
  await t.test("a reset is asked again, and then an APIConnectionError", async (t) => {
    await connect(await chaos(t, once("reset"))).messages.create(question);
    const err = await failure(async () => connect(await chaos(t, always("reset")), { maxRetries: 0 }).messages.create(question));
    assert.ok(err instanceof Anthropic.APIConnectionError, String(err));
  });
  for (const end of ["abrupt", "clean"]) {
    await t.test(`a stream that is cut (${end}) throws`, async (t) => {
      const client = connect(await chaos(t, always({ kind: "cut", end })));
      const err = await failure(() => client.messages.stream(question).finalMessage());
      assert.ok(err instanceof Anthropic.AnthropicError, String(err));
    });
  }
  await t.test("an error in a stream throws with its type", async (t) => {
    const client = connect(await chaos(t, always({ kind: "stream_error", error: "overloaded" })));
    const err = await failure(() => client.messages.stream(question).finalMessage());
    assert.match(String(err), /overloaded_error/);
  });
});
