// Package gateway is the dependable call as an HTTP service: a program in any language
// changes the base URL of its SDK, and gets valid answers or a clear error.
//
// A [Gateway] speaks four protocols to its clients: OpenAI's chat completions and
// responses, Anthropic's messages, and Gemini's generateContent. What a client calls a
// model is a route of the configuration ([Config]): models in order of preference, checks,
// stages, limits, money, as in the file of package llmcall. The route "*" is for the names
// of models as they are, "provider/model". Each request becomes a call of an
// [llmcall.Client], so that the loop of attempts, the circuit breaker, the pacer and the
// accounts are those of the library, and all routes share the endpoints of one registry.
//
// A request goes to a model that speaks the client's protocol as it is, but for the name
// of the model, and the answer comes back as it is, so that fields which llmcall does not
// know pass. For a model with another protocol it is translated. What can't be translated
// is an error that names the field; what the answer does not depend on is left out, and
// the header X-Llmcall-Warnings says so.
//
// With checks, a stream is held until the answer is valid ([Hold]), or passed on as it
// comes, and told at its end whether it was valid ([Pass]). While the client hears
// nothing, it gets a comment or a ping every ten seconds, so that proxies keep the
// connection.
//
// A Gateway is an [net/http.Handler] for programs of their own; the command
// `llmcall serve` listens, reloads its file, and ends in good order.
package gateway
