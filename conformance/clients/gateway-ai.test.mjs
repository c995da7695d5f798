// ai (npm) with its providers for OpenAI, Anthropic and Gemini before a gateway whose
// provider is chaos.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogle } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { AISDKError, APICallError, Output, RetryError, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { always, failure, isCity, once, overloaded } from "./chaos.mjs";
import { arrived, checkHeaders, gateway, lateFailures, leaves, pixel, refuses, secret, silences, tells, upstreams } from "./gateway.mjs";

const key = { apiKey: secret };
// forms are the protocols of the client's providers, and how they are connected.
const forms = {
  "openai (responses)": ["openai-responses", (g, model) => createOpenAI({ ...key, baseURL: g.url + "/v1" })(model)],
  "openai (chat)": ["openai", (g, model) => createOpenAI({ ...key, baseURL: g.url + "/v1" }).chat(model)],
  anthropic: ["anthropic", (g, model) => createAnthropic({ ...key, baseURL: g.url + "/v1" })(model)],
  google: ["gemini", (g, model) => createGoogle({ ...key, baseURL: g.url + "/v1beta" })(model)],
};
// reasoning asks each of them for thoughts.
const reasoning = {
  openai: { reasoningSummary: "auto", store: false, include: ["reasoning.encrypted_content"] },
  anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } },
  google: { thinkingConfig: { includeThoughts: true } },
};
const lookup = (execute) => ({ lookup: tool({ description: "the weather", inputSchema: z.object({ city: z.string() }), execute }) });

function isRefusal(err, r) {
  assert.ok(APICallError.isInstance(err), String(err.stack));
  assert.equal(err.statusCode, r.status);
  if (r.message) assert.match(err.message, r.message);
  checkHeaders(new Headers(err.responseHeaders), r);
  // It goes by the status alone.
  assert.equal(err.isRetryable, r.status === 429 || r.status >= 500);
}

// pieces yields the pieces of a text, and null at its end. What is in the stream as an error
// is thrown.
async function* pieces(model, prompt, abortSignal) {
  for await (const part of streamText({ model, prompt, abortSignal, maxRetries: 0, onError() {} }).fullStream) {
    if (part.type === "text-delta") yield part.text;
    if (part.type === "error") throw part.error;
    if (part.type === "abort") throw new Error("aborted");
    if (part.type === "finish") yield null;
  }
}

// answerBy returns a function that asks for the text of an answer.
const answerBy = (connect) => async (g, { model, prompt, stream }, abortSignal) => {
  if (!stream) return (await generateText({ model: connect(g, model), prompt, abortSignal, maxRetries: 0 })).text;
  let text = "";
  for await (const piece of pieces(connect(g, model), prompt, abortSignal)) text += piece ?? "";
  return text;
};

for (const [form, [own, connect]] of Object.entries(forms)) {
  for (const [name, { protocol, model }] of Object.entries(upstreams)) {
    test(`${form} by ${name}`, async (t) => {
      await t.test("whole and streamed", async (t) => {
        const its = connect(await gateway(t), model);
        const whole = await generateText({ model: its, system: "Be brief.", prompt: "Hello?" });
        tells(new Headers(whole.response.headers), model);
        assert.match(whole.text, /invented/);
        assert.equal(whole.finishReason, "stop");
        assert.ok(whole.usage.inputTokens > 3 && whole.usage.outputTokens > 10, JSON.stringify(whole.usage));
        const stream = streamText({ model: its, prompt: "Hello?" });
        let count = 0;
        for await (const _ of stream.textStream) count++;
        assert.match(await stream.text, /invented/);
        assert.ok(count > 3, `${count} pieces`);
        assert.equal(await stream.finishReason, "stop");
        assert.ok((await stream.usage).outputTokens > 10, JSON.stringify(await stream.usage));
      });

      await t.test("an answer that its limit has cut off", async (t) => {
        const its = connect(await gateway(t, always("length")), model);
        assert.equal((await generateText({ model: its, prompt: "Hello?" })).finishReason, "length");
        assert.equal(await streamText({ model: its, prompt: "Hello?" }).finishReason, "length");
      });

      for (const streamed of [false, true]) {
        await t.test(`a loop of tools, with thoughts, ${streamed ? "streamed" : "whole"}`, async (t) => {
          const g = await gateway(t, once({ tool: "lookup" }));
          const asked = [];
          const options = {
            model: connect(g, model), prompt: "Weather?", stopWhen: isStepCount(5), tools: lookup(async (a) => (asked.push(a), "sunny")),
            providerOptions: form === "openai (chat)" ? {} : reasoning,
          };
          const result = streamed ? streamText(options) : await generateText(options);
          assert.match(await result.text, /invented/);
          assert.equal((await result.steps).length, 2);
          assert.equal(typeof asked[0].city, "string");
          assert.match(JSON.stringify((await g.asked())[1]), /sunny/);
        });
      }

      await t.test("a tool that must be called", async (t) => {
        const its = connect(await gateway(t), model);
        for (const toolChoice of ["required", { type: "tool", toolName: "lookup" }]) {
          const done = await generateText({ model: its, prompt: "Hello?", tools: lookup(), toolChoice });
          assert.equal(done.toolCalls[0].toolName, "lookup");
        }
      });

      await t.test("structured output, whole and streamed", async (t) => {
        const its = connect(await gateway(t), model);
        const output = Output.object({ schema: z.object({ name: z.string(), population: z.int().min(1) }) });
        isCity((await generateText({ model: its, prompt: "A city?", output })).output);
        isCity(await streamText({ model: its, prompt: "A city?", output }).output);
      });

      await t.test("a picture", async (t) => {
        const g = await gateway(t);
        const content = [{ type: "text", text: "What is this?" }, { type: "file", mediaType: "image/png", data: Buffer.from(pixel, "base64") }];
        assert.match((await generateText({ model: connect(g, model), messages: [{ role: "user", content }] })).text, /invented/);
        assert.ok(JSON.stringify(await g.asked()).includes(pixel));
      });
    });

    test(`${form} by ${name}: refusals are APICallErrors with their status`, (t) => refuses(t, { protocol, model }, answerBy(connect), isRefusal, own));

    test(`${form} by ${name}: an abort reaches the provider`, async (t) => {
      await t.test("in mid-stream", (t) => leaves(t, always({ kind: "drip", chunk_delay: 0.05 }), {}, async (g, signal, abort) => {
        for await (const _ of pieces(connect(g, model), "Hello?", signal)) abort();
      }));
      for (const stream of [false, true]) {
        await t.test(`before the first byte, ${stream ? "streamed" : "whole"}`, (t) => leaves(t, always("hang"), {}, async (g, signal, abort) => {
          const asked = answerBy(connect)(g, { model, prompt: "Hello?", stream }, signal);
          await arrived(g);
          abort();
          await asked;
        }));
      }
    });

    test(`${form} by ${name}: a failure within a stream is an error part, and no end`, async (t) => {
      for (const [what, plan, config, asked] of lateFailures(model)) {
        await t.test(what, async (t) => {
          const got = [];
          const err = await failure(async () => {
            for await (const piece of pieces(connect(await gateway(t, plan, config), asked), "Hello?")) got.push(piece);
          });
          assert.ok(got.length > 0 && !got.includes(null), String(got));
          assert.ok(AISDKError.isInstance(err), String(err.stack));
        });
      }
    });
  }
}

test("a header asks for the whole trace, and a stream has the trace's identifier", async (t) => {
  const g = await gateway(t);
  const headers = { "X-Llmcall-Trace": "1" };
  for (const [, connect] of Object.values(forms)) {
    for (const { model } of Object.values(upstreams)) {
      const whole = await generateText({ model: connect(g, model), prompt: "Hello?", headers, maxOutputTokens: 1000, include: { responseBody: true } });
      assert.equal(whole.response.body.llmcall.attempts[0].model, model);
      const stream = streamText({ model: connect(g, model), prompt: "Hello?", headers, maxOutputTokens: 1000 });
      assert.match(await stream.text, /invented/);
      assert.ok((await stream.response).headers["x-llmcall-trace-id"].length >= 16);
    }
  }
});

test("fields that the gateway does not know pass", async (t) => {
  const answer = {
    id: "c1", object: "chat.completion", created: 1, model: "m-2026", brand_new: { a: [1, 2] },
    choices: [{ index: 0, message: { role: "assistant", content: "Hi", new: 1 }, finish_reason: "stop" }], usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 },
  };
  const g = await gateway(t, always({ kind: "status", status: 200, body: JSON.stringify(answer) }));
  const done = await generateText({ model: forms["openai (chat)"][1](g, upstreams.chat.model), prompt: "Hello?", include: { responseBody: true }, providerOptions: { openai: { logitBias: { 50256: -100 }, user: "me" } } });
  assert.deepEqual([done.text, done.response.body], ["Hi", answer]);
  const [asked] = await g.asked();
  assert.deepEqual([asked.logit_bias, asked.user], [{ 50256: -100 }, "me"]);
});

for (const [form, [, connect]] of Object.entries(forms)) {
  silences(form, answerBy(connect), (err) => assert.ok(AISDKError.isInstance(err), String(err.stack)));
}

test("what may pass is asked again when the gateway says", { concurrency: true }, (t) => Promise.all(Object.entries(forms).map(([form, [, connect]]) => t.test(form, async (t) => {
  const g = await gateway(t, once({ ...overloaded, retry_after: "3" }));
  await generateText({ model: connect(g, upstreams.chat.model), prompt: "Hello?" });
  const [first, second] = await g.requests();
  assert.ok(second.at - first.at >= 2950, `after ${second.at - first.at} ms`); // its own backoff begins with two seconds
}))));

test("what does not pass is a RetryError, and the gateway's refusal is its last error", async (t) => {
  const g = await gateway(t, always({ ...overloaded, retry_after: "1" }));
  const err = await failure(() => generateText({ model: forms.anthropic[1](g, upstreams.claude.model), prompt: "Hello?", maxRetries: 1 }));
  assert.ok(RetryError.isInstance(err), String(err));
  assert.deepEqual([err.lastError.statusCode, (await g.served()).length], [503, 2]);
});
