// openai (npm) before a gateway whose provider is chaos.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { always, failure, isCity, once, weather } from "./chaos.mjs";
import { arrived, checkHeaders, gateway, lateFailures, leaves, pixel, refuses, secret, silences, tells, upstreams } from "./gateway.mjs";

const connect = (g, options) => new OpenAI({ apiKey: secret, baseURL: g.url + "/v1", maxRetries: 0, ...options });
const ask = (model, content = "Hello?") => ({ model, messages: [{ role: "user", content }] });
const City = z.object({ name: z.string(), population: z.int().min(1) });

// The classes of the errors by status; others are of APIError itself.
const classes = {
  400: OpenAI.BadRequestError, 401: OpenAI.AuthenticationError, 403: OpenAI.PermissionDeniedError, 404: OpenAI.NotFoundError,
  422: OpenAI.UnprocessableEntityError, 429: OpenAI.RateLimitError, 503: OpenAI.InternalServerError, 504: OpenAI.InternalServerError,
};

// own says that the provider's words are the client's.
function isRefusal(err, r, own) {
  assert.ok(err instanceof (classes[r.status] ?? OpenAI.APIError), String(err.stack));
  assert.equal(err.status, r.status);
  assert.equal(typeof err.type, "string");
  if (r.code) assert.equal(err.code, own && "openai" in r ? r.openai : r.code);
  if (r.message) assert.match(err.message, r.message);
  checkHeaders(err.headers, r);
}

// forms are the two protocols of the client.
const forms = {
  "chat completions": {
    protocol: "openai",
    // ask returns the text of an answer.
    ask: async (g, { model, prompt, stream, retries }, signal) => {
      const { chat } = connect(g, { maxRetries: retries ?? 0 });
      if (!stream) return (await chat.completions.create(ask(model, prompt), { signal })).choices[0].message.content;
      return (await chat.completions.stream(ask(model, prompt), { signal }).finalChatCompletion()).choices[0].message.content;
    },
    // pieces yields the pieces of a text.
    pieces: async function* (g, model, signal) {
      for await (const chunk of await connect(g).chat.completions.create({ ...ask(model), stream: true }, { signal })) {
        if (chunk.choices[0]?.delta.content) yield chunk.choices[0].delta.content;
        if (chunk.choices[0]?.finish_reason) yield null;
      }
    },
  },
  responses: {
    protocol: "openai-responses",
    ask: async (g, { model, prompt: input, stream, retries }, signal) => {
      const { responses } = connect(g, { maxRetries: retries ?? 0 });
      if (!stream) return (await responses.create({ model, input }, { signal })).output_text;
      return (await responses.stream({ model, input }, { signal }).finalResponse()).output_text;
    },
    pieces: async function* (g, model, signal) {
      for await (const e of await connect(g).responses.create({ model, input: "Hello?", stream: true }, { signal })) {
        if (e.type === "response.output_text.delta") yield e.delta;
        if (e.type === "response.completed" || e.type === "response.incomplete") yield null;
      }
    },
  },
};

for (const [name, { protocol, model }] of Object.entries(upstreams)) {
  test(`chat completions by ${name}`, async (t) => {
    await t.test("whole and streamed", async (t) => {
      const client = connect(await gateway(t));
      const { data: whole, response } = await client.chat.completions.create(ask(model)).withResponse();
      tells(response.headers, model);
      assert.match(whole.choices[0].message.content, /invented/);
      assert.deepEqual([whole.object, whole.choices[0].finish_reason, whole.choices.length], ["chat.completion", "stop", 1]);
      assert.ok(whole.usage.prompt_tokens > 3 && whole.usage.completion_tokens > 10, JSON.stringify(whole.usage));
      assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
      const stream = client.chat.completions.stream({ ...ask(model), stream_options: { include_usage: true } });
      let pieces = 0;
      stream.on("content", () => pieces++);
      const final = await stream.finalChatCompletion();
      assert.match(final.choices[0].message.content, /invented/);
      assert.ok(pieces > 3 && final.usage.completion_tokens > 10, `${pieces} pieces, ${JSON.stringify(final.usage)}`);
      const without = await client.chat.completions.stream(ask(model)).finalChatCompletion();
      assert.equal(without.usage, null); // it was not asked for
    });

    await t.test("an answer that its limit has cut off", async (t) => {
      const client = connect(await gateway(t, always("length")));
      assert.equal((await client.chat.completions.create(ask(model))).choices[0].finish_reason, "length");
      assert.equal((await client.chat.completions.stream(ask(model)).finalChatCompletion()).choices[0].finish_reason, "length");
    });

    for (const stream of [false, true]) {
      await t.test(`a loop of tools that runs itself, ${stream ? "streamed" : "whole"}`, async (t) => {
        const g = await gateway(t, once({ tool: "lookup" }));
        const asked = [];
        const runner = connect(g).chat.completions.runTools({
          ...ask(model, "Weather?"), stream,
          tools: [{ type: "function", function: { name: "lookup", parameters: weather, parse: JSON.parse, function: (a) => (asked.push(a), "sunny") } }],
        });
        assert.match(await runner.finalContent(), /invented/);
        assert.equal(typeof asked[0].city, "string");
        assert.match(JSON.stringify((await g.asked())[1]), /sunny/);
      });
    }

    await t.test("a tool that must be called", async (t) => {
      const client = connect(await gateway(t));
      const tools = [{ type: "function", function: { name: "lookup", parameters: weather } }];
      for (const tool_choice of ["required", { type: "function", function: { name: "lookup" } }]) {
        const done = await client.chat.completions.create({ ...ask(model), tools, tool_choice });
        assert.equal(done.choices[0].message.tool_calls[0].function.name, "lookup");
      }
    });

    await t.test("structured output, whole and streamed", async (t) => {
      const client = connect(await gateway(t));
      const asked = { ...ask(model), response_format: zodResponseFormat(City, "city") };
      isCity((await client.chat.completions.parse(asked)).choices[0].message.parsed);
      isCity((await client.chat.completions.stream(asked).finalChatCompletion()).choices[0].message.parsed);
    });

    await t.test("a picture", async (t) => {
      const g = await gateway(t);
      const picture = { type: "image_url", image_url: { url: "data:image/png;base64," + pixel } };
      const done = await connect(g).chat.completions.create(ask(model, [{ type: "text", text: "What is this?" }, picture]));
      assert.match(done.choices[0].message.content, /invented/);
      assert.ok(JSON.stringify(await g.asked()).includes(pixel));
    });
  });

  test(`responses by ${name}`, async (t) => {
    await t.test("whole and streamed", async (t) => {
      const client = connect(await gateway(t));
      const { data: whole, response } = await client.responses.create({ model, input: "Hello?", instructions: "Be brief." }).withResponse();
      tells(response.headers, model);
      assert.match(whole.output_text, /invented/);
      assert.deepEqual([whole.object, whole.status], ["response", "completed"]);
      assert.ok(whole.usage.input_tokens > 3 && whole.usage.output_tokens > 10, JSON.stringify(whole.usage));
      const stream = client.responses.stream({ model, input: "Hello?" });
      let text = "", pieces = 0;
      stream.on("response.output_text.delta", (e) => (pieces++, (text += e.delta)));
      const final = await stream.finalResponse();
      assert.equal(final.output_text, text);
      assert.ok(pieces > 3 && /invented/.test(text) && final.usage.output_tokens > 10, text);
    });

    await t.test("an answer that its limit has cut off", async (t) => {
      const client = connect(await gateway(t, always("length")));
      for (const done of [await client.responses.create({ model, input: "Hello?" }), await client.responses.stream({ model, input: "Hello?" }).finalResponse()]) {
        assert.deepEqual([done.status, done.incomplete_details], ["incomplete", { reason: "max_output_tokens" }]);
      }
    });

    for (const stream of [false, true]) {
      await t.test(`a loop of tools, ${stream ? "streamed" : "whole"}`, async (t) => {
        const g = await gateway(t, once({ tool: "lookup" }));
        const { responses } = connect(g);
        const run = async (body) => (stream ? responses.stream(body).finalResponse() : responses.create(body));
        const tools = [{ type: "function", name: "lookup", parameters: weather, strict: true }];
        const input = [{ role: "user", content: "Weather?" }];
        const first = await run({ model, tools, input });
        const call = first.output.find((item) => item.type === "function_call");
        assert.equal(call.name, "lookup");
        assert.equal(typeof JSON.parse(call.arguments).city, "string");
        // What the model said goes back unchanged.
        const done = await run({ model, tools, input: [...input, ...first.output, { type: "function_call_output", call_id: call.call_id, output: "sunny" }] });
        assert.match(done.output_text, /invented/);
        assert.match(JSON.stringify((await g.asked())[1]), /sunny/);
      });
    }

    await t.test("structured output, whole and streamed", async (t) => {
      const client = connect(await gateway(t));
      const asked = { model, input: "A city?", text: { format: zodTextFormat(City, "city") } };
      isCity((await client.responses.parse(asked)).output_parsed);
      isCity((await client.responses.stream(asked).finalResponse()).output_parsed);
    });

    await t.test("a picture", async (t) => {
      const g = await gateway(t);
      const content = [{ type: "input_text", text: "What is this?" }, { type: "input_image", detail: "auto", image_url: "data:image/png;base64," + pixel }];
      assert.match((await connect(g).responses.create({ model, input: [{ role: "user", content }] })).output_text, /invented/);
      assert.ok(JSON.stringify(await g.asked()).includes(pixel));
    });
  });

  for (const [form, its] of Object.entries(forms)) {
    test(`${form} by ${name}: refusals are errors of the client's own classes, and what is final is asked once`, (t) => refuses(t, { protocol, model }, its.ask, isRefusal, its.protocol));

    test(`${form} by ${name}: an abort reaches the provider`, async (t) => {
      await t.test("in mid-stream", (t) => leaves(t, always({ kind: "drip", chunk_delay: 0.05 }), {}, async (g, signal, abort) => {
        for await (const _ of its.pieces(g, model, signal)) abort();
      }));
      for (const stream of [false, true]) {
        await t.test(`before the first byte, ${stream ? "streamed" : "whole"}`, (t) => leaves(t, always("hang"), {}, async (g, signal, abort) => {
          const asked = its.ask(g, { model, prompt: "Hello?", stream }, signal);
          await arrived(g);
          abort();
          await asked;
        }));
      }
    });

    test(`${form} by ${name}: a failure within a stream is an APIError, and no end`, async (t) => {
      for (const [what, plan, config, asked] of lateFailures(model)) {
        await t.test(what, async (t) => {
          const g = await gateway(t, plan, config);
          const pieces = [];
          const err = await failure(async () => {
            for await (const piece of its.pieces(g, asked)) pieces.push(piece);
          });
          assert.ok(err instanceof OpenAI.APIError, String(err.stack));
          assert.ok(pieces.length > 0 && !pieces.includes(null), String(pieces));
        });
      }
    });
  }
}

for (const [form, its] of Object.entries(forms)) {
  silences(form, its.ask, (err) => assert.ok(err instanceof OpenAI.APIError, String(err.stack)));
}

test("fields that the gateway does not know pass in both directions", async (t) => {
  await t.test("chat completions", async (t) => {
    const answer = {
      id: "c1", object: "chat.completion", created: 1, model: "m-2026", brand_new: { a: [1, 2] },
      choices: [{ index: 0, message: { role: "assistant", content: "Hi", annotations: [{ new: 1 }] }, logprobs: { content: [] }, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4, new_tokens: 5 },
    };
    const g = await gateway(t, always({ kind: "status", status: 200, body: JSON.stringify(answer) }));
    const asked = { ...ask("chat/m"), brand_new_setting: { x: true } };
    const { _request_id, ...got } = await connect(g).chat.completions.create(asked);
    assert.deepEqual(got, answer);
    assert.deepEqual(await g.asked(), [{ ...asked, model: "m" }]);
  });
  await t.test("responses", async (t) => {
    const answer = {
      id: "resp_1", object: "response", created_at: 1, status: "completed", model: "m-2026", brand_new: { a: [1, 2] },
      output: [{ type: "message", id: "msg_1", status: "completed", role: "assistant", content: [{ type: "output_text", text: "Hi", annotations: [], new: 1 }] }],
      usage: { input_tokens: 3, output_tokens: 1, total_tokens: 4, new_tokens: 5 },
    };
    const g = await gateway(t, always({ kind: "status", status: 200, body: JSON.stringify(answer) }));
    const asked = { model: "responses/m", input: "Hello?", brand_new_setting: { x: true } };
    const { _request_id, output_text, ...got } = await connect(g).responses.create(asked);
    assert.deepEqual([got, output_text], [answer, "Hi"]);
    assert.deepEqual(await g.asked(), [{ ...asked, model: "m" }]);
  });
  await t.test("streams", async (t) => {
    const chunk = (delta, finish_reason) => ({ id: "c1", object: "chat.completion.chunk", created: 1, model: "m-2026", brand_new: 1, choices: [{ index: 0, delta, finish_reason, new: 2 }] });
    const chunks = [chunk({ role: "assistant", content: "Hi" }, null), chunk({ content: "!", also_new: 3 }, null), chunk({}, "stop")];
    const body = [...chunks.map((c) => JSON.stringify(c)), "[DONE]"].map((data) => `data: ${data}\n\n`).join("");
    const g = await gateway(t, always({ kind: "status", status: 200, body, headers: { "Content-Type": "text/event-stream" } }));
    const got = [];
    for await (const c of await connect(g).chat.completions.create({ ...ask("chat/m"), stream: true })) got.push(c);
    assert.deepEqual(got, chunks);
  });
});

test("the provider's own words for what is wrong with a request pass", async (t) => {
  const client = connect(await gateway(t, always({ kind: "status", error: "unsupported_parameter" })));
  const err = await failure(() => client.chat.completions.create(ask("chat/m")));
  assert.deepEqual([err.status, err.code, err.param], [400, "unsupported_parameter", "temperature"]);
  assert.match(err.message, /'temperature' is not supported with this model/);
});

test("models and tokens", async (t) => {
  const routes = { support: { models: [upstreams.chat.model] }, "*": {} };
  const client = connect(await gateway(t, {}, { routes }));
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  assert.deepEqual(ids, ["support"]);
  assert.equal((await client.models.retrieve("support")).id, "support");
  assert.equal((await client.models.retrieve("chat/m")).id, "chat/m");
  assert.ok((await failure(() => client.models.retrieve("nobody/m"))) instanceof OpenAI.NotFoundError);
  assert.ok((await client.responses.inputTokens.count({ model: "support", input: "Hello?" })).input_tokens > 0);
});

test("a header asks for the whole trace, and a stream has the trace's identifier", async (t) => {
  const client = connect(await gateway(t));
  const options = { headers: { "X-Llmcall-Trace": "1" } };
  for (const { model } of Object.values(upstreams)) {
    assert.equal((await client.chat.completions.create(ask(model), options)).llmcall.attempts[0].model, model);
    assert.equal((await client.responses.create({ model, input: "Hello?" }, options)).llmcall.attempts[0].model, model);
    const { data, response } = await client.chat.completions.create({ ...ask(model), stream: true }, options).withResponse();
    assert.ok(response.headers.get("x-llmcall-trace-id").length >= 16);
    let finish;
    for await (const chunk of data) finish ??= chunk.choices[0].finish_reason;
    assert.equal(finish, "stop");
    assert.match((await client.responses.stream({ model, input: "Hello?" }, options).finalResponse()).output_text, /invented/);
  }
});

test("a request that a web page has sent is a PermissionDeniedError", async (t) => {
  const client = connect(await gateway(t), { defaultHeaders: { Origin: "https://elsewhere.example" } });
  const err = await failure(() => client.chat.completions.create(ask("chat/m")));
  assert.ok(err instanceof OpenAI.PermissionDeniedError, String(err));
  assert.deepEqual([err.status, err.code], [403, "foreign_origin"]);
});

test("what the gateway does not serve is an error of the client's", async (t) => {
  const err = await failure(async () => connect(await gateway(t)).embeddings.create({ model: "chat/m", input: "one" }));
  assert.ok(err instanceof OpenAI.InternalServerError, String(err));
  assert.equal(err.status, 501);
});

test("a refusal that may pass is asked again when the gateway says", async (t) => {
  const g = await gateway(t, once({ kind: "status", error: "overloaded", retry_after: "1" }));
  await connect(g, { maxRetries: 2 }).chat.completions.create(ask("chat/m"));
  const [first, second] = await g.requests();
  assert.ok(second.at - first.at >= 950, `after ${second.at - first.at} ms`); // its own backoff begins with half a second
});
