// ai (npm) with its providers for OpenAI, Anthropic and Gemini against chaos.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogle } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, Output, RetryError, embedMany, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { always, chaos, failure, isCity, once, overloaded, rateLimited, waited } from "./chaos.mjs";

const key = { apiKey: "of-the-test" };
const providers = {
  "openai (responses)": (p) => createOpenAI({ ...key, baseURL: p.url + "/v1" })("gpt-5-practice"),
  "openai (chat)": (p) => createOpenAI({ ...key, baseURL: p.url + "/v1" }).chat("gpt-4o-practice"),
  anthropic: (p) => createAnthropic({ ...key, baseURL: p.url + "/v1" })("claude-practice"),
  google: (p) => createGoogle({ ...key, baseURL: p.url + "/v1beta" })("gemini-practice"),
};
const reasoning = {
  openai: { reasoningSummary: "auto", store: false, include: ["reasoning.encrypted_content"] },
  anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } },
  google: { thinkingConfig: { includeThoughts: true } },
};

for (const [name, model] of Object.entries(providers)) {
  test(name, async (t) => {
    await t.test("whole and streamed", async (t) => {
      const p = await chaos(t);
      const whole = await generateText({ model: model(p), prompt: "Hello?" });
      assert.match(whole.text, /invented/);
      assert.equal(whole.finishReason, "stop");
      assert.ok(whole.usage.inputTokens > 3 && whole.usage.outputTokens > 10, JSON.stringify(whole.usage));
      const stream = streamText({ model: model(p), prompt: "Hello?" });
      let pieces = 0;
      for await (const _ of stream.textStream) pieces++;
      assert.match(await stream.text, /invented/);
      assert.ok(pieces > 3, `${pieces} pieces`);
    });

    if (name !== "openai (chat)") {
      await t.test("reasoning, and a loop of tools with it", async (t) => {
        const p = await chaos(t, once({}, { tool: "lookup" }));
        const whole = await generateText({ model: model(p), prompt: "Hello?", providerOptions: reasoning });
        assert.match(whole.reasoningText, /^This thought is invented/);
        const looped = await generateText({
          model: model(p), prompt: "Weather?", providerOptions: reasoning, stopWhen: isStepCount(5),
          tools: { lookup: tool({ inputSchema: z.object({ city: z.string() }), execute: async () => "sunny" }) },
        });
        assert.match(looped.text, /invented/);
        assert.equal(looped.steps.length, 2);
      });
    }

    for (const streamed of [false, true]) {
      await t.test(`a loop of tools, ${streamed ? "streamed" : "whole"}`, async (t) => {
        const p = await chaos(t, once({ tool: "lookup" }));
        const asked = [];
        const options = {
          model: model(p), prompt: "Weather?", stopWhen: isStepCount(5),
          tools: { lookup: tool({ inputSchema: z.object({ city: z.string() }), execute: async (a) => (asked.push(a), "sunny") }) },
        };
        const result = streamed ? streamText(options) : await generateText(options);
        assert.match(await result.text, /invented/);
        assert.equal((await result.steps).length, 2);
        assert.equal(typeof asked[0].city, "string");
      });
    }

    await t.test("structured output", async (t) => {
      const output = Output.object({ schema: z.object({ name: z.string(), population: z.int().min(1) }) });
      isCity((await generateText({ model: model(await chaos(t)), prompt: "A city?", output })).output);
    });

    await t.test("a rate limit is asked again; the wait is obeyed where it is in a header", async (t) => {
      // Its own backoff begins with two seconds. Gemini says the wait in the body.
      const p = await chaos(t, once({ ...rateLimited, retry_after: name === "google" ? "9" : "3" }));
      await generateText({ model: model(p), prompt: "Hello?" });
      const ms = await waited(p);
      assert.ok(name === "google" ? ms < 8000 : ms >= 2950, `waited ${ms} ms`);
    });

    await t.test("overloads without end are a RetryError", async (t) => {
      const p = await chaos(t, always({ ...overloaded, retry_after_ms: "20" }));
      const err = await failure(() => generateText({ model: model(p), prompt: "Hello?", maxRetries: 1 }));
      assert.ok(RetryError.isInstance(err) && APICallError.isInstance(err.lastError), String(err));
      assert.equal(err.lastError.statusCode, name === "anthropic" ? 529 : 503);
      assert.equal((await p.requests()).length, 2);
    });

    await t.test("a reset is asked again", async (t) => {
      const p = await chaos(t, once("reset"));
      assert.match((await generateText({ model: model(p), prompt: "Hello?" })).text, /invented/);
    });

    await t.test("a stream that is cut throws, one with an error has an error part", async (t) => {
      const kinds = async (p) => {
        const kinds = [];
        for await (const part of streamText({ model: model(p), prompt: "Hello?", onError() {} }).fullStream) kinds.push(part.type);
        return kinds;
      };
      const p = await chaos(t, always("cut"));
      const err = await failure(() => kinds(p));
      assert.ok(APICallError.isInstance(err) && err.isRetryable, String(err));
      assert.equal((await p.requests()).length, 1);
      const parts = await kinds(await chaos(t, always({ kind: "stream_error", error: "overloaded" })));
      assert.ok(parts.includes("error"), String(parts));
    });

    await t.test("a stream that ends early without an error has no reason to stop", async (t) => {
      const stream = streamText({ model: model(await chaos(t, always({ kind: "cut", end: "clean" }))), prompt: "Hello?", maxRetries: 0, onError() {} });
      const kinds = [];
      for await (const part of stream.fullStream) kinds.push(part.type === "finish" ? part.finishReason : part.type);
      assert.ok(!kinds.includes("stop"), String(kinds));
    });
  });
}

test("embeddings", async (t) => {
  const p = await chaos(t);
  for (const model of [
    createOpenAI({ ...key, baseURL: p.url + "/v1" }).embeddingModel("practice-embedding"),
    createGoogle({ ...key, baseURL: p.url + "/v1beta" }).embeddingModel("practice-embedding"),
  ]) {
    const { embeddings } = await embedMany({ model, values: ["one", "two"] });
    assert.equal(embeddings.length, 2);
    assert.ok(embeddings[0].length > 1000);
  }
});
