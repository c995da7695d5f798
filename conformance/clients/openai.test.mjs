// openai (npm) against chaos.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { always, chaos, city, failure, isCity, once, overloaded, rateLimited, waited, weather } from "./chaos.mjs";

const connect = (provider, options) => new OpenAI({ apiKey: "of-the-test", baseURL: provider.url + "/v1", ...options });
const question = { model: "practice", messages: [{ role: "user", content: "Hello?" }] };
const lookup = { type: "function", function: { name: "lookup", parameters: weather } };

test("a chat, whole and streamed, with choices and logprobs", async (t) => {
  const client = connect(await chaos(t));
  const whole = await client.chat.completions.create({ ...question, n: 2, logprobs: true, top_logprobs: 1 });
  assert.equal(whole.choices.length, 2);
  assert.equal(whole.choices[0].logprobs.content.map((p) => p.token).join(""), whole.choices[0].message.content);
  const stream = client.chat.completions.stream({ ...question, stream_options: { include_usage: true } });
  let pieces = 0;
  stream.on("content", () => pieces++);
  const final = await stream.finalChatCompletion();
  assert.match(final.choices[0].message.content, /invented/);
  assert.ok(pieces > 3 && final.usage.completion_tokens > 10, `${pieces} pieces`);
});

test("a loop of tools that runs itself", async (t) => {
  const provider = await chaos(t, once({ tool: "lookup" }));
  const asked = [];
  const runner = connect(provider).chat.completions.runTools({
    ...question,
    tools: [{ type: "function", function: { name: "lookup", parameters: weather, parse: JSON.parse, function: (a) => (asked.push(a), "sunny") } }],
  });
  assert.match(await runner.finalContent(), /invented/);
  assert.equal(typeof asked[0].city, "string");
  assert.equal((await provider.requests()).length, 2);
});

test("a choice among some tools", async (t) => {
  const client = connect(await chaos(t));
  const some = { type: "allowed_tools", allowed_tools: { mode: "required", tools: [{ type: "function", function: { name: "lookup" } }] } };
  const done = await client.chat.completions.create({ ...question, tools: [lookup], tool_choice: some });
  assert.equal(done.choices[0].message.tool_calls[0].function.name, "lookup");
});

test("structured output, of chats and responses", async (t) => {
  const client = connect(await chaos(t));
  const City = z.object({ name: z.string(), population: z.int().min(1) });
  const chat = await client.chat.completions.parse({ ...question, response_format: zodResponseFormat(City, "city") });
  isCity(chat.choices[0].message.parsed);
  const response = await client.responses.parse({ model: "practice", input: "Hello?", text: { format: zodTextFormat(City, "city") } });
  isCity(response.output_parsed);
  const plain = await client.responses.create({ model: "practice", input: "x", text: { format: { type: "json_schema", name: "city", schema: city, strict: true } } });
  isCity(JSON.parse(plain.output_text));
});

test("responses: whole, streamed with a summary, continued, fetched, in the background", async (t) => {
  const provider = await chaos(t, once({}, {}, { tool: "lookup" }));
  const client = connect(provider);
  const first = await client.responses.create({ model: "practice", input: "Hello?" });
  assert.match(first.output_text, /invented/);
  const stream = client.responses.stream({ model: "practice", input: "Hello?", reasoning: { summary: "auto" } });
  let summary = "";
  stream.on("response.reasoning_summary_text.delta", (e) => (summary += e.delta));
  const final = await stream.finalResponse();
  assert.equal(final.output[0].summary[0].text, summary);
  assert.match(final.output_text, /invented/);

  const tools = [{ type: "function", name: "lookup", parameters: weather, strict: true }];
  const call = await client.responses.create({ model: "practice", input: "Weather?", tools, previous_response_id: first.id });
  assert.equal(call.output[0].type, "function_call");
  const done = await client.responses.create({
    model: "practice", tools, previous_response_id: call.id,
    input: [{ type: "function_call_output", call_id: call.output[0].call_id, output: "sunny" }],
  });
  assert.match(done.output_text, /invented/);
  assert.equal((await client.responses.retrieve(done.id)).output_text, done.output_text);

  const queued = await client.responses.create({ model: "practice", input: "Hello?", background: true });
  assert.equal(queued.status, "queued");
  assert.equal((await client.responses.retrieve(queued.id)).status, "completed");
  await client.responses.delete(queued.id);
  assert.equal((await failure(() => client.responses.retrieve(queued.id))).status, 404);
});

test("models, tokens and embeddings", async (t) => {
  const client = connect(await chaos(t));
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  assert.deepEqual(ids, ["practice", "practice-small", "practice-embedding"]);
  assert.equal((await client.models.retrieve("mine")).id, "mine");
  assert.ok((await client.responses.inputTokens.count({ model: "practice", input: "Hello?" })).input_tokens > 3);
  const e = await client.embeddings.create({ model: "practice-embedding", input: ["one", "two"] }); // asks for base64
  assert.equal(e.data[1].embedding.length, 1536);
  const length = Math.hypot(...e.data[0].embedding);
  assert.ok(Math.abs(length - 1) < 1e-3, `of length ${length}`);
});

test("failures: what the client makes of them", async (t) => {
  await t.test("a rate limit is waited for as Retry-After says", async (t) => {
    const provider = await chaos(t, once(rateLimited));
    assert.match((await connect(provider).chat.completions.create(question)).choices[0].message.content, /invented/);
    const ms = await waited(provider);
    assert.ok(ms >= 950, `waited ${ms} ms`); // its own backoff begins with half a second
  });
  await t.test("rate limits without end are a RateLimitError after three requests", async (t) => {
    const provider = await chaos(t, always({ ...rateLimited, retry_after_ms: "20" }));
    const err = await failure(() => connect(provider).chat.completions.create(question));
    assert.ok(err instanceof OpenAI.RateLimitError);
    assert.deepEqual([err.status, err.code, err.type], [429, "rate_limit_exceeded", "requests"]);
    assert.equal((await provider.requests()).length, 3);
  });
  await t.test("an overload is asked again", async (t) => {
    const provider = await chaos(t, once({ ...overloaded, status: 529, retry_after_ms: "20" }));
    await connect(provider).chat.completions.create(question);
    assert.deepEqual((await provider.requests()).map((r) => r.status), [529, 200]);
  });
  await t.test("a reset is asked again, and then an APIConnectionError", async (t) => {
    const provider = await chaos(t, once("reset"));
    await connect(provider).chat.completions.create(question);
    const broken = await chaos(t, always("reset"));
    const err = await failure(() => connect(broken, { maxRetries: 0 }).chat.completions.create(question));
    assert.ok(err instanceof OpenAI.APIConnectionError, String(err));
  });
  await t.test("a stream that is cut throws", async (t) => {
    const client = connect(await chaos(t, always("cut")));
    await failure(async () => {
      for await (const _ of await client.chat.completions.create({ ...question, stream: true }));
    });
    await failure(async () => {
      for await (const _ of await client.responses.create({ model: "practice", input: "Hello?", stream: true }));
    });
  });
  await t.test("a stream that ends early without an error is not noticed by create", async (t) => {
    const client = connect(await chaos(t, always({ kind: "cut", end: "clean" })));
    let finish = null;
    for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) finish ??= chunk.choices[0].finish_reason;
    assert.equal(finish, null);
    const err = await failure(() => client.chat.completions.stream(question).finalChatCompletion());
    assert.match(String(err), /missing finish_reason/);
  });
  await t.test("an error in a stream throws an APIError", async (t) => {
    const client = connect(await chaos(t, always({ kind: "stream_error", error: "server_error" })));
    const err = await failure(async () => {
      for await (const _ of await client.chat.completions.create({ ...question, stream: true }));
    });
    assert.ok(err instanceof OpenAI.APIError, String(err));
  });
  await t.test("too long a context names its field", async (t) => {
    const client = connect(await chaos(t, always({ kind: "status", error: "context_too_long" })));
    const err = await failure(() => client.responses.create({ model: "practice", input: "Hello?" }));
    assert.ok(err instanceof OpenAI.BadRequestError);
    assert.deepEqual([err.code, err.param], ["context_length_exceeded", "input"]);
  });
});
