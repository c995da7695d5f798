// @google/genai (npm) against chaos.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, FunctionCallingConfigMode, GoogleGenAI } from "@google/genai";
import { always, chaos, city, failure, isCity, once, overloaded, rateLimited, weather } from "./chaos.mjs";

const connect = (provider, httpOptions) => new GoogleGenAI({ apiKey: "of-the-test", httpOptions: { baseUrl: provider.url, ...httpOptions } });
const question = { model: "gemini-practice", contents: "Hello?" };
const lookup = { name: "lookup", parametersJsonSchema: weather };

test("whole and streamed, with thoughts", async (t) => {
  const ai = connect(await chaos(t));
  const config = { thinkingConfig: { includeThoughts: true } };
  const whole = await ai.models.generateContent({ ...question, config });
  assert.match(whole.text, /^This answer is invented/);
  assert.equal(whole.candidates[0].content.parts[0].thought, true);
  let text = "", pieces = 0;
  for await (const chunk of await ai.models.generateContentStream({ ...question, config })) {
    text += chunk.text ?? "";
    pieces++;
  }
  assert.match(text, /^This answer is invented/);
  assert.ok(pieces > 3);
});

test("a chat with a loop of tools", async (t) => {
  const provider = await chaos(t, once({ tool: "lookup" }));
  const chat = connect(provider).chats.create({ model: "gemini-practice", config: { tools: [{ functionDeclarations: [lookup] }] } });
  const [call] = (await chat.sendMessage({ message: "Weather?" })).functionCalls;
  assert.equal(typeof call.args.city, "string");
  const done = await chat.sendMessage({ message: { functionResponse: { id: call.id, name: call.name, response: { output: "sunny" } } } });
  assert.match(done.text, /invented/);
});

test("automatic function calling", async (t) => {
  const provider = await chaos(t, once({ tool: "lookup" }));
  const asked = [];
  const tool = {
    tool: async () => ({ functionDeclarations: [lookup] }),
    callTool: async (calls) => calls.map((c) => (asked.push(c.args), { functionResponse: { id: c.id, name: c.name, response: { output: "sunny" } } })),
  };
  const done = await connect(provider).models.generateContent({ ...question, config: { tools: [tool] } });
  assert.match(done.text, /invented/);
  await provider.reset(); // the plan begins again
  let text = "";
  const config = { tools: [tool], thinkingConfig: { includeThoughts: true } };
  for await (const chunk of await connect(provider).models.generateContentStream({ ...question, config })) text += chunk.text ?? "";
  assert.match(text, /invented/);
  assert.equal(asked.length, 2);
});

test("a tool that must be called", async (t) => {
  const done = await connect(await chaos(t)).models.generateContent({
    ...question, config: { tools: [{ functionDeclarations: [lookup] }], toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY } } },
  });
  assert.equal(done.functionCalls[0].name, "lookup");
});

test("structured output", async (t) => {
  const ai = connect(await chaos(t));
  const done = await ai.models.generateContent({ ...question, config: { responseMimeType: "application/json", responseJsonSchema: city } });
  isCity(JSON.parse(done.text));
  const own = { type: "OBJECT", properties: { name: { type: "STRING" }, population: { type: "INTEGER", minimum: 1 } }, required: ["name", "population"] };
  isCity(JSON.parse((await ai.models.generateContent({ ...question, config: { responseMimeType: "application/json", responseSchema: own } })).text));
  const one = await ai.models.generateContent({ ...question, config: { responseMimeType: "text/x.enum", responseSchema: { type: "STRING", enum: ["red", "green"] } } });
  assert.match(one.text, /^(red|green)$/);
});

test("models, tokens and embeddings", async (t) => {
  const ai = connect(await chaos(t));
  const names = [];
  for await (const m of await ai.models.list({ config: { pageSize: 2 } })) names.push(m.name);
  assert.deepEqual(names, ["models/practice", "models/practice-small", "models/practice-embedding"]);
  assert.equal((await ai.models.get({ model: "gemini-mine" })).name, "models/gemini-mine");
  assert.ok((await ai.models.countTokens(question)).totalTokens > 3);
  const e = await ai.models.embedContent({ model: "gemini-embedding-001", contents: ["one", "two"], config: { outputDimensionality: 8 } });
  assert.deepEqual(e.embeddings.map((v) => v.values.length), [8, 8]);
});

test("failures: what the client makes of them", async (t) => {
  await t.test("an overload is an ApiError at once", async (t) => {
    const provider = await chaos(t, always(overloaded));
    const err = await failure(() => connect(provider).models.generateContent(question));
    assert.equal(err.status, 503);
    assert.equal((await provider.requests()).length, 1);
  });
  await t.test("a rate limit is an ApiError at once, whose message has the wait", async (t) => {
    const provider = await chaos(t, always(rateLimited));
    const err = await failure(() => connect(provider).models.generateContent(question));
    assert.ok(err instanceof ApiError, String(err));
    assert.equal(err.status, 429);
    assert.match(err.message, /"retryDelay":"1s"/);
    assert.equal((await provider.requests()).length, 1);
  });
  await t.test("with retryOptions it is asked again, without regard to the wait", async (t) => {
    const provider = await chaos(t, once(overloaded));
    await connect(provider, { retryOptions: { attempts: 2 } }).models.generateContent(question);
    assert.deepEqual((await provider.requests()).map((r) => r.status), [503, 200]);
  });
  await t.test("a reset throws", async (t) => {
    const provider = await chaos(t, always("reset"));
    const err = await failure(() => connect(provider).models.generateContent(question));
    assert.match(String(err), /fetch failed/);
    assert.equal((await provider.requests()).length, 1);
  });
  await t.test("a stream that is cut throws", async (t) => {
    const ai = connect(await chaos(t, always("cut")));
    await failure(async () => {
      for await (const _ of await ai.models.generateContentStream(question));
    });
  });
  await t.test("a stream that ends early without an error is not noticed", async (t) => {
    const ai = connect(await chaos(t, always({ kind: "cut", end: "clean" })));
    let finish;
    for await (const chunk of await ai.models.generateContentStream(question)) finish ??= chunk.candidates[0].finishReason;
    assert.equal(finish, undefined);
  });
  await t.test("an error in a stream throws an ApiError", async (t) => {
    const ai = connect(await chaos(t, always({ kind: "stream_error", error: "overloaded" })));
    const err = await failure(async () => {
      for await (const _ of await ai.models.generateContentStream(question));
    });
    assert.ok(err instanceof ApiError, String(err));
  });
});
