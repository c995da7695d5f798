// @anthropic-ai/sdk (npm) before a gateway whose provider is chaos.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import { always, failure, isCity, once, weather } from "./chaos.mjs";
import { arrived, checkHeaders, gateway, lateFailures, leaves, pixel, refuses, secret, silences, tells, upstreams } from "./gateway.mjs";

const connect = (g, options) => new Anthropic({ apiKey: secret, baseURL: g.url, maxRetries: 0, ...options });
const ask = (model, content = "Hello?") => ({ model, max_tokens: 2048, messages: [{ role: "user", content }] });
const text = (message) => message.content.filter((b) => b.type === "text").map((b) => b.text).join("");
const City = z.object({ name: z.string(), population: z.int().min(1) });

// The classes of the errors by status, others are of APIError itself; and the type in the
// error's body.
const classes = {
  400: [Anthropic.BadRequestError, "invalid_request_error"], 401: [Anthropic.AuthenticationError, "authentication_error"],
  404: [Anthropic.NotFoundError, "not_found_error"], 413: [Anthropic.APIError, "request_too_large"],
  422: [Anthropic.UnprocessableEntityError, "invalid_request_error"], 429: [Anthropic.RateLimitError, "rate_limit_error"],
  503: [Anthropic.InternalServerError, "overloaded_error"], 504: [Anthropic.InternalServerError, "timeout_error"],
};

function isRefusal(err, r) {
  const [its, type] = classes[r.status];
  assert.ok(err instanceof its, String(err.stack));
  assert.deepEqual([err.status, err.error.type, err.error.error.type], [r.status, "error", type]);
  assert.ok(err.requestID.startsWith("req_"), err.requestID);
  if (r.message) assert.match(err.message, r.message);
  checkHeaders(err.headers, r);
}

// answer returns the text of an answer.
async function answer(g, { model, prompt, stream, retries }, signal) {
  const { messages } = connect(g, { maxRetries: retries ?? 0 });
  if (!stream) return text(await messages.create(ask(model, prompt), { signal }));
  return text(await messages.stream(ask(model, prompt), { signal }).finalMessage());
}

// pieces yields the pieces of a text, and null at its end.
async function* pieces(g, model, signal) {
  for await (const e of await connect(g).messages.create({ ...ask(model), stream: true }, { signal })) {
    if (e.delta?.type === "text_delta") yield e.delta.text;
    if (e.type === "message_stop" || e.delta?.stop_reason) yield null;
  }
}

for (const [name, { protocol, model }] of Object.entries(upstreams)) {
  test(`messages by ${name}`, async (t) => {
    await t.test("whole and streamed", async (t) => {
      const client = connect(await gateway(t));
      const { data: whole, response } = await client.messages.create({ ...ask(model), system: "Be brief." }).withResponse();
      tells(response.headers, model);
      assert.match(text(whole), /invented/);
      assert.deepEqual([whole.type, whole.role, whole.stop_reason, whole.stop_sequence], ["message", "assistant", "end_turn", null]);
      assert.ok(whole.usage.input_tokens > 3 && whole.usage.output_tokens > 10, JSON.stringify(whole.usage));
      const stream = client.messages.stream(ask(model));
      let heard = "", count = 0;
      stream.on("text", (delta) => (count++, (heard += delta)));
      const final = await stream.finalMessage();
      assert.equal(text(final), heard);
      assert.ok(count > 3 && /invented/.test(heard) && final.usage.output_tokens > 10, JSON.stringify(final.usage));
      assert.equal(final.stop_reason, "end_turn");
    });

    await t.test("an answer that its limit has cut off", async (t) => {
      const client = connect(await gateway(t, always("length")));
      assert.equal((await client.messages.create(ask(model))).stop_reason, "max_tokens");
      assert.equal((await client.messages.stream(ask(model)).finalMessage()).stop_reason, "max_tokens");
    });

    for (const stream of [false, true]) {
      await t.test(`toolRunner, ${stream ? "streamed" : "whole"}`, async (t) => {
        const g = await gateway(t, once({ tool: "lookup" }, { tool: "lookup" }));
        const asked = [];
        const lookup = betaTool({ name: "lookup", description: "the weather", inputSchema: weather, run: (a) => (asked.push(a), "sunny") });
        const runner = connect(g).beta.messages.toolRunner({ ...ask(model, "Weather?"), system: "Be brief.", tools: [lookup], stream });
        const reasons = [];
        for await (const message of runner) reasons.push((stream ? await message.finalMessage() : message).stop_reason);
        assert.deepEqual(reasons, ["tool_use", "end_turn"]);
        assert.match(text(await runner.done()), /invented/);
        assert.equal(typeof asked[0].city, "string");
        assert.match(JSON.stringify((await g.asked())[1]), /sunny/);
      });
    }

    await t.test("a thread, which Anthropic may forget and others do not keep", async (t) => {
      const g = await gateway(t);
      const thread = connect(g).beta.messages.thread({ model, max_tokens: 99 });
      for (const content of ["Hello?", "And?"]) assert.match(text(await thread.send({ role: "user", content })), /invented/);
      await g.reset();
      assert.match(text(await thread.send({ role: "user", content: "Still there?" })), /invented/);
      const whole = (await g.requests()).filter((r) => r.status === 200);
      assert.deepEqual(whole.map((r) => r.messages), [5]);
    });

    await t.test("a tool that must be called", async (t) => {
      const client = connect(await gateway(t));
      for (const tool_choice of [{ type: "any" }, { type: "tool", name: "lookup" }]) {
        const done = await client.messages.create({ ...ask(model), tools: [{ name: "lookup", input_schema: weather }], tool_choice });
        assert.equal(done.content.find((b) => b.type === "tool_use").name, "lookup");
      }
    });

    await t.test("structured output, whole and streamed, and what was read of it goes back", async (t) => {
      const client = connect(await gateway(t));
      const asked = { ...ask(model, "A city?"), output_config: { format: zodOutputFormat(City) } };
      const first = await client.messages.parse(asked);
      isCity(first.parsed_output);
      isCity(JSON.parse(text(await client.messages.stream(asked).finalMessage())));
      const next = await client.messages.parse({ ...asked, messages: [...asked.messages, { role: "assistant", content: first.content }, { role: "user", content: "Another?" }] });
      isCity(next.parsed_output);
    });

    await t.test("a picture and a document", async (t) => {
      const g = await gateway(t);
      const picture = { type: "image", source: { type: "base64", media_type: "image/png", data: pixel } };
      const document = { type: "document", source: { type: "text", media_type: "text/plain", data: "It rains." } };
      assert.match(text(await connect(g).messages.create(ask(model, [picture, document, { type: "text", text: "What is this?" }]))), /invented/);
      assert.ok(JSON.stringify(await g.asked()).includes(pixel));
      assert.match(JSON.stringify(await g.asked()), /It rains\./);
    });

    await t.test("thoughts, whole and streamed, go back", async (t) => {
      const client = connect(await gateway(t));
      const asked = { ...ask(model), thinking: { type: "enabled", budget_tokens: 1024 } };
      for (const first of [await client.messages.create(asked), await client.messages.stream(asked).finalMessage()]) {
        if (protocol === "anthropic") assert.deepEqual(first.content.map((b) => b.type), ["thinking", "text"]);
        const next = await client.messages.create({ ...asked, messages: [...asked.messages, { role: "assistant", content: first.content }, { role: "user", content: "And?" }] });
        assert.match(text(next), /invented/);
      }
    });
  });

  test(`messages by ${name}: refusals are errors of the client's own classes, and what is final is asked once`, (t) => refuses(t, { protocol, model }, answer, isRefusal, "anthropic"));

  test(`messages by ${name}: an abort reaches the provider`, async (t) => {
    await t.test("in mid-stream", (t) => leaves(t, always({ kind: "drip", chunk_delay: 0.05 }), {}, async (g, signal, abort) => {
      for await (const _ of pieces(g, model, signal)) abort();
    }));
    for (const stream of [false, true]) {
      await t.test(`before the first byte, ${stream ? "streamed" : "whole"}`, (t) => leaves(t, always("hang"), {}, async (g, signal, abort) => {
        const asked = answer(g, { model, prompt: "Hello?", stream }, signal);
        await arrived(g);
        abort();
        await asked;
      }));
    }
  });

  test(`messages by ${name}: a failure within a stream is an APIError, and no end`, async (t) => {
    for (const [what, plan, config, asked] of lateFailures(model)) {
      await t.test(what, async (t) => {
        const g = await gateway(t, plan, config);
        const got = [];
        const err = await failure(async () => {
          for await (const piece of pieces(g, asked)) got.push(piece);
        });
        assert.ok(err instanceof Anthropic.APIError, String(err.stack));
        assert.equal(err.error.type, "error");
        assert.ok(got.length > 0 && !got.includes(null), String(got));
        const final = await failure(() => connect(g).messages.stream(ask(asked)).finalMessage());
        assert.ok(final instanceof Anthropic.APIError, String(final.stack));
      });
    }
  });
}

silences("messages", answer, (err) => assert.ok(err instanceof Anthropic.APIError, String(err.stack)));

test("fields that the gateway does not know pass in both directions", async (t) => {
  await t.test("whole", async (t) => {
    const answer = {
      id: "msg_1", type: "message", role: "assistant", model: "m-2026", brand_new: { a: [1, 2] },
      content: [{ type: "text", text: "Hi", new: 1 }], stop_reason: "end_turn", stop_sequence: null, usage: { input_tokens: 3, output_tokens: 1, new_tokens: 5 },
    };
    const g = await gateway(t, always({ kind: "status", status: 200, body: JSON.stringify(answer) }));
    const { _request_id, ...got } = await connect(g).messages.create(ask("claude/m"));
    assert.deepEqual(got, answer);
    // Anthropic refuses what it does not know. That is for the provider to say.
    const asked = { ...ask("claude/m"), brand_new_setting: { x: true } };
    const err = await failure(() => connect(g).messages.create(asked));
    assert.ok(err instanceof Anthropic.BadRequestError, String(err));
    assert.match(err.message, /brand_new_setting: Extra inputs are not permitted/);
    assert.deepEqual((await g.asked())[1], { ...asked, model: "m" });
  });
  await t.test("streamed", async (t) => {
    const events = [
      { type: "message_start", message: { id: "msg_1", type: "message", role: "assistant", model: "m-2026", content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 3, output_tokens: 1 }, new: 1 } },
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "", new: 2 } },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hi", new: 3 } },
      { type: "content_block_stop", index: 0 },
      { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null, new: 4 }, usage: { output_tokens: 1, new_tokens: 5 } },
      { type: "message_stop" },
    ];
    const body = events.map((e) => `event: ${e.type}\ndata: ${JSON.stringify(e)}\n\n`).join("");
    const g = await gateway(t, always({ kind: "status", status: 200, body, headers: { "Content-Type": "text/event-stream" } }));
    const got = [];
    for await (const e of await connect(g).messages.create({ ...ask("claude/m"), stream: true })) got.push(e);
    assert.deepEqual(got, events);
  });
});

test("models and tokens", async (t) => {
  const routes = { billing: { models: [upstreams.claude.model] }, sales: { models: [upstreams.google.model] }, support: { models: [upstreams.chat.model] }, "*": {} };
  const client = connect(await gateway(t, {}, { routes }));
  const ids = [];
  for await (const m of client.models.list({ limit: 2 })) {
    assert.ok(m.type === "model" && m.display_name && !Number.isNaN(Date.parse(m.created_at)), JSON.stringify(m));
    ids.push(m.id);
  }
  assert.deepEqual(ids, ["billing", "sales", "support"]);
  assert.equal((await client.models.retrieve("support")).id, "support");
  assert.equal((await client.models.retrieve("claude/m")).id, "claude/m");
  assert.ok((await failure(() => client.models.retrieve("nobody/m"))) instanceof Anthropic.NotFoundError);
  for (const model of ["support", ...Object.values(upstreams).map((u) => u.model)]) {
    const { max_tokens: _, ...counted } = ask(model, "How many tokens are these?");
    const { data, response } = await client.messages.countTokens(counted).withResponse();
    assert.ok(data.input_tokens > 3, `${data.input_tokens} tokens`);
    assert.match(response.headers.get("x-llmcall-warnings"), /estimate/);
    assert.ok((await client.beta.messages.countTokens(counted)).input_tokens > 3);
  }
});

test("a header asks for the whole trace, and a stream has the trace's identifier", async (t) => {
  const client = connect(await gateway(t));
  const options = { headers: { "X-Llmcall-Trace": "1" } };
  for (const { model } of Object.values(upstreams)) {
    assert.equal((await client.messages.create(ask(model), options)).llmcall.attempts[0].model, model);
    const stream = client.messages.stream(ask(model), options);
    const { response } = await stream.withResponse();
    assert.ok(response.headers.get("x-llmcall-trace-id").length >= 16);
    assert.match(text(await stream.finalMessage()), /invented/);
  }
});

test("a request that a web page has sent is a PermissionDeniedError", async (t) => {
  const client = connect(await gateway(t), { defaultHeaders: { Origin: "https://elsewhere.example" } });
  const err = await failure(() => client.messages.create(ask("claude/m")));
  assert.ok(err instanceof Anthropic.PermissionDeniedError, String(err));
  assert.deepEqual([err.status, err.error.error.type], [403, "permission_error"]);
});

test("a refusal that may pass is asked again when the gateway says", async (t) => {
  const g = await gateway(t, once({ kind: "status", error: "overloaded", retry_after: "1" }));
  await connect(g, { maxRetries: 2 }).messages.create(ask("claude/m"));
  const [first, second] = await g.requests();
  assert.ok(second.at - first.at >= 950, `after ${second.at - first.at} ms`); // its own backoff begins with half a second
});
