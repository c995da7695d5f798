// What the tests of all clients before a gateway share.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { always, control, failure, overloaded, rateLimited } from "./chaos.mjs";

// upstreams are the names that the gateway has for the provider, one for each protocol that
// it is asked in, and a model there.
export const upstreams = {
  chat: { protocol: "openai", model: "chat/gpt-6-luna" },
  responses: { protocol: "openai-responses", model: "responses/gpt-6-luna" },
  claude: { protocol: "anthropic", model: "claude/claude-practice" },
  google: { protocol: "gemini", model: "google/gemini-practice" },
};

const providers = Object.fromEntries(Object.entries(upstreams).map(([name, { protocol }]) => [
  name, { protocol, base_url: protocol.startsWith("openai") ? "{up}/v1" : "{up}", keys: ["none"] },
]));

// gateway starts a provider that follows a plan, and a gateway before it. Both end with the
// test t. By default the gateway serves all names of models as they are, and asks once.
export async function gateway(t, plan = {}, config = {}) {
  const whole = { providers, routes: { "*": { max_attempts: 1 } }, ...config };
  const started = await fetch(control + "/gateway", { method: "POST", body: JSON.stringify({ plan, config: whole }) });
  assert.equal(started.status, 200, await started.clone().text());
  const { url, id } = await started.json();
  t.after(() => fetch(`${control}/${id}`, { method: "DELETE" }));
  const about = async (what) => (await fetch(`${control}/${id}${what}`)).json();
  return {
    url,
    // requests returns what has arrived at the provider.
    requests: () => about(""),
    // asked returns the bodies that have arrived there.
    asked: async () => (await about("")).map((r) => JSON.parse(r.body)),
    // reset makes the provider forget all.
    reset: () => fetch(`${control}/${id}`, { method: "PUT" }),
    // served returns what the gateway says of the requests that have ended.
    served: () => about("/served"),
    // left returns how long after a time in milliseconds the provider saw that it is no
    // longer awaited.
    left: async (since) => {
      for (let tries = 0; tries < 200; tries++) {
        const [at] = await about("/left");
        if (at !== undefined) return at - since;
        await sleep(10);
      }
      assert.fail("the provider was not left");
    },
  };
}

// leaves tests that the provider sees within 100 ms that the client went away. start begins
// a request whose signal is given, and calls reading when it is to be aborted. Of three
// times the best one counts: the machine may be busy.
export async function leaves(t, plan, config, start) {
  const times = [];
  for (let i = 0; i < 3 && !times.some((ms) => ms <= 100); i++) {
    const g = await gateway(t, plan, config);
    const abort = new AbortController();
    let at;
    const reading = () => {
      at ??= Date.now();
      abort.abort();
    };
    await start(g, abort.signal, reading).catch(() => {}); // each client says it in its own way
    assert.ok(at, "nothing was aborted");
    times.push(await g.left(at));
  }
  assert.ok(times.some((ms) => ms <= 100), `the provider saw it after ${times} ms`);
}

// arrived waits for the first request at the provider.
export async function arrived(g) {
  while ((await g.requests()).length === 0) await sleep(5);
}

// pixel is the smallest PNG, in base64.
export const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

// tells tests the headers that tell the story of an answer.
export function tells(headers, model) {
  assert.equal(headers.get("x-llmcall-attempts"), "1");
  assert.equal(headers.get("x-llmcall-model"), model);
  assert.ok(headers.get("x-llmcall-trace-id").length >= 16);
}

// secret is the key of a client that the gateway knows, and its hash.
export const secret = "llmcall_practice";
const sha256 = "7fea9a5caa43d317e0015013ef304f50aa415a3484d92a267ad6c4becee53db0";

// refusals are why a client gets no answer: what the provider does, the configuration, the
// model that is asked for instead of that of the upstream, and then the status, the header
// X-Llmcall-Error, the code that OpenAI has in its own words if that is another, which
// provider's own words are an answer with status 200, and whether the clients are told not
// to ask again.
export const refusals = {
  "an unknown provider": { model: () => "nobody/m", status: 404, code: "model_not_found", final: true },
  "a model that is no route": { model: () => "suport", config: (m) => ({ routes: { support: { models: [m] } } }), status: 404, code: "model_not_found", final: true, message: /support/ },
  "an unknown key": { config: () => ({ clients: [{ name: "web", sha256: "0".repeat(64) }] }), status: 401, code: "invalid_api_key", final: true },
  "a route of others": { config: (m) => ({ clients: [{ name: "web", sha256, routes: ["mine"] }], routes: { "*": {}, mine: { models: [m] } } }), status: 404, code: "model_not_found", final: true, message: /web/ },
  "a limit of the client's": { before: 1, config: () => ({ clients: [{ name: "web", sha256, requests_per_minute: 1 }] }), status: 429, code: "client_limit", limit: "requests_per_minute", after: true },
  "a request that is too large": { config: () => ({ max_body: 1024 }), size: 2000, status: 413, code: "request_too_large", final: true },
  "a rate limit of the provider's": { plan: always({ ...rateLimited, retry_after: "300" }), status: 429, code: "provider_rate_limited", after: true },
  "an overload": { plan: always(overloaded), status: 503, code: "provider_overloaded", after: true },
  "a provider that fails": { plan: always({ kind: "status", error: "server_error" }), status: 503, after: true },
  "a provider that is not reached": { plan: always("reset"), status: 503, after: true },
  "a page instead of an answer": { plan: always({ kind: "status", status: 200, code: "html" }), status: 503, after: true },
  "an empty answer": { plan: always("empty"), status: 422, final: true },
  "a provider that hangs": { plan: always("hang"), config: () => ({ routes: { "*": { max_attempts: 1, attempt_timeout: 0.1 } } }), status: 504, code: "provider_timeout", after: true },
  "a key that the provider refuses": { plan: always({ kind: "status", error: "bad_key" }), status: 503, code: "provider_unauthorized", final: true },
  "no money at the provider": { plan: always({ kind: "status", error: "billing" }), status: 503, code: "provider_quota_exhausted", after: true },
  "a model that the provider does not know": { plan: always({ kind: "status", error: "model_not_found" }), status: 404, code: "model_not_found", final: true },
  "a request that the provider refuses": { plan: always({ kind: "status", error: "invalid_request" }), status: 400, code: "invalid_request", openai: null, final: true },
  "too long a context": { plan: always({ kind: "status", error: "context_too_long" }), status: 400, code: "context_length_exceeded", final: true },
  "a refused content": { plan: always({ kind: "status", error: "content_filter" }), status: 400, code: "content_filter", openai: "content_policy_violation", answers: "gemini", final: true },
  "an answer that is never valid": {
    plan: always({ answer: "no" }), model: () => "support", config: (m) => ({ routes: { support: { models: [m], checks: ["json"], max_attempts: 2, initial_delay: 0 } } }),
    status: 422, code: "no_valid_answer", final: true,
  },
};

// refuses runs a test for each of the refusals. ask asks, and throws what the client
// throws; check tests that. form is the protocol of the client.
export async function refuses(t, { protocol, model }, ask, check, form) {
  for (const [name, r] of Object.entries(refusals)) {
    for (const stream of [false, true]) {
      if (r.answers === form && form === protocol && !stream) continue;
      await t.test(`${name}, ${stream ? "streamed" : "whole"}`, async (t) => {
        const g = await gateway(t, r.plan, r.config?.(model));
        const prompt = "Hello?".padEnd(r.size ?? 0, "?");
        for (let i = 0; i < (r.before ?? 0); i++) await ask(g, { model, prompt, stream });
        // What is final must not be asked again by itself, so the client may.
        let thrown;
        await ask(g, { model: r.model?.() ?? model, prompt, stream, retries: r.final ? 2 : 0 }).catch((err) => (thrown = err));
        assert.ok(thrown, "nothing was thrown");
        check(thrown, r, form === protocol);
        const served = (await g.served()).slice(r.before ?? 0);
        if (r.status !== 401) { // nobody is served without a key
          assert.deepEqual(served.map((s) => s.status), [r.status]);
          if (r.code) assert.equal(served[0].code, r.code);
        }
      });
    }
  }
}

// checkHeaders tests the headers of a refusal.
export function checkHeaders(headers, r) {
  if (r.code) assert.equal(headers.get("x-llmcall-error"), r.code);
  assert.equal(headers.get("x-should-retry"), r.final ? "false" : null);
  assert.equal(headers.get("x-llmcall-limit"), r.limit ?? null);
  assert.equal(headers.get("retry-after") !== null, Boolean(r.after), `Retry-After: ${headers.get("retry-after")}`);
}

// lateFailures are what happens within a stream: the client has read a part of an answer,
// and must not see an end of it. For a model they are a plan, a configuration and the model
// that is asked for.
export const lateFailures = (model) => Object.entries({
  "an error": [always({ kind: "stream_error", error: "overloaded" })],
  "a cut": [always("cut")],
  "an end that looks clean": [always({ kind: "cut", end: "clean" })],
  "an answer that takes too long": [always({ kind: "drip", chunk_delay: 0.1 }), { routes: { "*": { max_attempts: 1, attempt_timeout: 0.8 } } }],
  "an answer that is passed on, and was not valid": [always({ answer: '{"city": "Berlin", "river": "Spree' }), { routes: { support: { models: [model], checks: ["json"], stream: "pass", max_attempts: 1 } } }, "support"],
}).map(([what, [plan, config, asked = model]]) => [what, plan, config, asked]);

// silences tests that a client bears the signs of life that keep a stream open while nothing
// is said: the answer comes after them, and a failure is an error of the client's, although
// the status was 200. ask is that of refuses.
export function silences(form, ask, isError) {
  const slow = { kind: "slow", delay: 10.3 }; // they begin after 10 s
  test(`${form}: after a long silence`, { concurrency: true }, (t) => Promise.all([
    t.test("comes the answer", async (t) => {
      const g = await gateway(t, always(slow));
      assert.match(await ask(g, { model: upstreams.chat.model, prompt: "Hello?", stream: true }), /invented/);
    }),
    t.test("comes an error, and no end", async (t) => {
      const routes = { support: { models: [upstreams.chat.model], checks: ["json"], max_attempts: 1 } };
      const g = await gateway(t, always({ ...slow, answer: "no" }), { routes });
      isError(await failure(() => ask(g, { model: "support", prompt: "Hello?", stream: true })));
      assert.deepEqual((await g.served()).map((s) => [s.status, s.code]), [[200, "no_valid_answer"]]);
    }),
  ]));
}
