// @google/genai (npm) before a gateway whose provider is chaos.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, FinishReason, FunctionCallingConfigMode, GoogleGenAI } from "@google/genai";
import { z } from "zod";
import { always, city, failure, isCity, once, weather } from "./chaos.mjs";
import { arrived, gateway, lateFailures, leaves, pixel, refuses, secret, silences, tells, upstreams } from "./gateway.mjs";

const connect = (g, httpOptions) => new GoogleGenAI({ apiKey: secret, httpOptions: { baseUrl: g.url, ...httpOptions } });
const lookup = { name: "lookup", description: "the weather", parametersJsonSchema: weather };
const City = z.object({ name: z.string(), population: z.int().min(1) });

// whole returns the last chunk of a stream, with the text of all and their calls.
async function whole(stream) {
  let last, text = "", pieces = 0;
  const calls = [];
  for await (const chunk of await stream) {
    last = chunk;
    if (chunk.text) pieces++;
    text += chunk.text ?? "";
    calls.push(...(chunk.functionCalls ?? []));
  }
  return { last, text, pieces, calls };
}

function isRefusal(err, r) {
  assert.ok(err instanceof ApiError, String(err.stack));
  assert.equal(err.status, r.status);
  const { error } = JSON.parse(err.message);
  assert.equal(error.code, r.status);
  assert.match(error.status, /^[A-Z_]+$/);
  if (r.message) assert.match(error.message, r.message);
  if (r.after) assert.match(JSON.stringify(error.details), /"retryDelay":"[\d.]+s"/);
}

// answer returns the text of an answer. This client asks again only if it is told to.
async function answer(g, { model, prompt, stream }, abortSignal) {
  const asked = { model, contents: prompt, config: { abortSignal } };
  const { models } = connect(g);
  return stream ? (await whole(models.generateContentStream(asked))).text : (await models.generateContent(asked)).text;
}

// pieces yields the pieces of a text, and null at its end.
async function* pieces(g, model, abortSignal) {
  for await (const chunk of await connect(g).models.generateContentStream({ model, contents: "Hello?", config: { abortSignal } })) {
    if (chunk.text) yield chunk.text;
    if (chunk.candidates?.[0].finishReason) yield null;
  }
}

for (const [name, { protocol, model }] of Object.entries(upstreams)) {
  test(`generateContent by ${name}`, async (t) => {
    const question = { model, contents: "Hello?" };

    await t.test("whole and streamed", async (t) => {
      const { models } = connect(await gateway(t));
      const done = await models.generateContent({ ...question, config: { systemInstruction: "Be brief." } });
      tells(new Headers(done.sdkHttpResponse.headers), model);
      assert.match(done.text, /invented/);
      assert.deepEqual([done.candidates.length, done.candidates[0].finishReason, done.candidates[0].content.role], [1, FinishReason.STOP, "model"]);
      assert.ok(done.usageMetadata.promptTokenCount > 3 && done.usageMetadata.candidatesTokenCount > 10, JSON.stringify(done.usageMetadata));
      const streamed = await whole(models.generateContentStream(question));
      assert.match(streamed.text, /invented/);
      assert.ok(streamed.pieces > 3, `${streamed.pieces} pieces`);
      assert.equal(streamed.last.candidates[0].finishReason, FinishReason.STOP);
      assert.ok(streamed.last.usageMetadata.candidatesTokenCount > 10, JSON.stringify(streamed.last.usageMetadata));
    });

    await t.test("an answer that its limit has cut off", async (t) => {
      const { models } = connect(await gateway(t, always("length")));
      assert.equal((await models.generateContent(question)).candidates[0].finishReason, FinishReason.MAX_TOKENS);
      assert.equal((await whole(models.generateContentStream(question))).last.candidates[0].finishReason, FinishReason.MAX_TOKENS);
    });

    await t.test("a chat with a loop of tools, whole and streamed", async (t) => {
      const g = await gateway(t, once({ tool: "lookup" }, {}, { tool: "lookup" }, {}));
      const result = (call) => ({ functionResponse: { id: call.id, name: call.name, response: { output: "sunny" } } });
      const config = { tools: [{ functionDeclarations: [lookup] }] };
      const chat = connect(g).chats.create({ model, config });
      const [call] = (await chat.sendMessage({ message: "Weather?" })).functionCalls;
      assert.equal(call.name, "lookup");
      assert.equal(typeof call.args.city, "string");
      assert.match((await chat.sendMessage({ message: result(call) })).text, /invented/);
      const other = connect(g).chats.create({ model, config });
      const { calls } = await whole(other.sendMessageStream({ message: "Weather?" }));
      assert.deepEqual(calls.map((c) => [c.name, typeof c.args.city]), [["lookup", "string"]]);
      assert.match((await whole(other.sendMessageStream({ message: result(calls[0]) }))).text, /invented/);
      const bodies = (await g.asked()).map((b) => JSON.stringify(b).includes("sunny"));
      assert.deepEqual(bodies, [false, true, false, true]);
    });

    for (const stream of [false, true]) {
      await t.test(`automatic function calling, ${stream ? "streamed" : "whole"}`, async (t) => {
        const g = await gateway(t, once({ tool: "lookup" }));
        const asked = [];
        const tool = {
          tool: async () => ({ functionDeclarations: [lookup] }),
          callTool: async (calls) => calls.map((c) => (asked.push(c.args), { functionResponse: { id: c.id, name: c.name, response: { output: "sunny" } } })),
        };
        const { models } = connect(g);
        const body = { model, contents: "Weather?", config: { tools: [tool] } };
        const { text } = stream ? await whole(models.generateContentStream(body)) : await models.generateContent(body);
        assert.match(text, /invented/);
        assert.equal(typeof asked[0].city, "string");
        assert.equal((await g.requests()).length, 2);
      });
    }

    await t.test("a tool that must be called", async (t) => {
      const { models } = connect(await gateway(t));
      for (const allowedFunctionNames of [undefined, ["lookup"]]) {
        const toolConfig = { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY, allowedFunctionNames } };
        const done = await models.generateContent({ ...question, config: { tools: [{ functionDeclarations: [lookup] }], toolConfig } });
        assert.equal(done.functionCalls[0].name, "lookup");
      }
    });

    await t.test("structured output, with each kind of schema, whole and streamed", async (t) => {
      const { models } = connect(await gateway(t));
      const own = { type: "OBJECT", properties: { name: { type: "STRING" }, population: { type: "INTEGER", minimum: 1 } }, required: ["name", "population"] };
      for (const schema of [{ responseJsonSchema: city }, { responseJsonSchema: z.toJSONSchema(City) }, { responseSchema: own }]) {
        const asked = { ...question, config: { responseMimeType: "application/json", ...schema } };
        isCity(JSON.parse((await models.generateContent(asked)).text));
        isCity(JSON.parse((await whole(models.generateContentStream(asked))).text));
      }
    });

    await t.test("a picture", async (t) => {
      const g = await gateway(t);
      const contents = [{ role: "user", parts: [{ text: "What is this?" }, { inlineData: { mimeType: "image/png", data: pixel } }] }];
      assert.match((await connect(g).models.generateContent({ model, contents })).text, /invented/);
      assert.ok(JSON.stringify(await g.asked()).includes(pixel));
    });

    await t.test("thoughts go back", async (t) => {
      const chat = connect(await gateway(t)).chats.create({ model, config: { thinkingConfig: { includeThoughts: true } } });
      const first = await chat.sendMessage({ message: "Hello?" });
      if (protocol === "gemini") assert.equal(first.candidates[0].content.parts[0].thought, true);
      assert.match((await chat.sendMessage({ message: "And?" })).text, /invented/);
      assert.match((await whole(chat.sendMessageStream({ message: "And?" }))).text, /invented/);
    });
  });

  test(`generateContent by ${name}: refusals are ApiErrors with their status`, (t) => refuses(t, { protocol, model }, answer, isRefusal, "gemini"));

  test(`generateContent by ${name}: an abort reaches the provider`, async (t) => {
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

  test(`generateContent by ${name}: a failure within a stream is an ApiError, and no end`, async (t) => {
    for (const [what, plan, config, asked] of lateFailures(model)) {
      await t.test(what, async (t) => {
        const g = await gateway(t, plan, config);
        const got = [];
        const err = await failure(async () => {
          for await (const piece of pieces(g, asked)) got.push(piece);
        });
        assert.ok(err instanceof ApiError, String(err.stack));
        assert.ok(err.status >= 400, `status ${err.status}`);
        assert.ok(got.length > 0 && !got.includes(null), String(got));
      });
    }
  });
}

silences("generateContent", answer, (err) => assert.ok(err instanceof ApiError && err.status === 422, String(err.stack)));

test("fields that the gateway does not know pass in both directions", async (t) => {
  const answer = (text, finishReason) => ({
    candidates: [{ content: { role: "model", parts: [{ text, brandNew: 1 }] }, finishReason, index: 0, groundingMetadata: { webSearchQueries: ["q"], brandNew: 2 }, avgLogprobs: -0.5 }],
    usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 1, totalTokenCount: 4, brandNew: 3 }, modelVersion: "m-2026", responseId: "r1",
  });
  const equal = (got, want) => {
    const { sdkHttpResponse, ...rest } = got;
    assert.deepEqual(JSON.parse(JSON.stringify(rest)), JSON.parse(JSON.stringify(want)));
  };
  await t.test("whole", async (t) => {
    const g = await gateway(t, always({ kind: "status", status: 200, body: JSON.stringify(answer("Hi", "STOP")) }));
    equal(await connect(g).models.generateContent({ model: "google/m", contents: "Hello?" }), answer("Hi", "STOP"));
    const extraBody = { brandNewSetting: { x: true } };
    equal(await connect(g, { extraBody }).models.generateContent({ model: "google/m", contents: "Hello?" }), answer("Hi", "STOP"));
    const [plain, extra] = await g.asked();
    assert.deepEqual(extra, { ...plain, ...extraBody });
  });
  await t.test("streamed", async (t) => {
    const chunks = [answer("Hi"), answer("!", "STOP")];
    const body = chunks.map((c) => `data: ${JSON.stringify(c)}\n\n`).join("");
    const g = await gateway(t, always({ kind: "status", status: 200, body, headers: { "Content-Type": "text/event-stream" } }));
    const got = [];
    for await (const chunk of await connect(g).models.generateContentStream({ model: "google/m", contents: "Hello?" })) got.push(chunk);
    assert.equal(got.length, 2);
    got.forEach((chunk, i) => equal(chunk, chunks[i]));
  });
});

test("a prompt that Gemini blocks is an answer, as it is without the gateway", async (t) => {
  const { models } = connect(await gateway(t, always("refuse")));
  const done = await models.generateContent({ model: "google/m", contents: "Hello?" });
  assert.deepEqual([done.promptFeedback.blockReason, done.candidates], ["PROHIBITED_CONTENT", undefined]);
});

test("models and tokens", async (t) => {
  const routes = { billing: { models: [upstreams.claude.model] }, sales: { models: [upstreams.google.model] }, support: { models: [upstreams.chat.model] }, "*": {} };
  const { models } = connect(await gateway(t, {}, { routes }));
  const names = [];
  for await (const m of await models.list({ config: { pageSize: 2 } })) names.push(m.name);
  assert.deepEqual(names, ["models/billing", "models/sales", "models/support"]);
  assert.equal((await models.get({ model: "support" })).name, "models/support");
  assert.equal((await models.get({ model: "google/m" })).name, "models/google/m");
  const err = await failure(() => models.get({ model: "nobody/m" }));
  assert.ok(err instanceof ApiError && err.status === 404, String(err.stack));
  for (const model of ["support", ...Object.values(upstreams).map((u) => u.model)]) {
    assert.ok((await models.countTokens({ model, contents: "How many tokens are these?" })).totalTokens > 3);
  }
});

test("a header asks for the whole trace, and a stream has the trace's identifier", async (t) => {
  const { models } = connect(await gateway(t), { headers: { "X-Llmcall-Trace": "1" } });
  for (const { model } of Object.values(upstreams)) {
    assert.match((await models.generateContent({ model, contents: "Hello?" })).text, /invented/); // fields that it does not know are not shown
    const { last, text } = await whole(models.generateContentStream({ model, contents: "Hello?" }));
    assert.match(text, /invented/);
    assert.ok(last.sdkHttpResponse.headers["x-llmcall-trace-id"].length >= 16);
  }
});

test("with retryOptions what may pass is asked again", async (t) => {
  const g = await gateway(t, once({ kind: "status", error: "overloaded" }));
  const retryOptions = { attempts: 2, initialDelay: 0.01 };
  assert.match((await connect(g, { retryOptions }).models.generateContent({ model: "google/m", contents: "Hello?" })).text, /invented/);
  assert.deepEqual((await g.served()).map((s) => s.status), [503, 200]);
});
