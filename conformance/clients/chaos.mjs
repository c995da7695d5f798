// What the tests of all clients share. clients_test.go runs a server that starts
// a provider of package chaos for whoever asks it to.
import assert from "node:assert/strict";

export const control = process.env.LLMCALL_CHAOS;

// chaos starts a provider that follows a plan (as in a plan file) and ends with the test t.
export async function chaos(t, plan = {}) {
  const started = await fetch(control, { method: "POST", body: JSON.stringify(plan) });
  assert.equal(started.status, 200, await started.clone().text());
  const { url, id } = await started.json();
  t.after(() => fetch(`${control}/${id}`, { method: "DELETE" }));
  return {
    url,
    // requests returns what arrived so far: path, status, the number of messages, when, in
    // milliseconds, and the body.
    requests: async () => (await fetch(`${control}/${id}`)).json(),
    // reset makes the provider forget all.
    reset: () => fetch(`${control}/${id}`, { method: "PUT" }),
  };
}

// failure returns what a client throws.
export async function failure(f) {
  let thrown;
  try {
    await f();
  } catch (err) {
    thrown = err;
  }
  assert.ok(thrown, "nothing was thrown");
  return thrown;
}

// waited says how long after the first request the second one came.
export async function waited(provider) {
  const [first, second] = await provider.requests();
  return second.at - first.at;
}

export const once = (...steps) => ({ steps });
export const always = (step) => ({ steps: [step], repeat: true });

export const rateLimited = { kind: "status", error: "rate_limit" };
export const overloaded = { kind: "status", error: "overloaded" };

// city is a schema that all clients are asked for, in JSON Schema.
export const city = {
  type: "object",
  properties: { name: { type: "string" }, population: { type: "integer", minimum: 1 } },
  required: ["name", "population"],
  additionalProperties: false,
};

export function isCity(value) {
  assert.equal(typeof value.name, "string");
  assert.ok(Number.isInteger(value.population) && value.population >= 1, JSON.stringify(value));
}

export const weather = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
