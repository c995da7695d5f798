// Package front writes the answers of package llm in the protocols of OpenAI (chat
// completions and responses), Anthropic (messages) and Gemini (generateContent): in one
// piece ([Whole]), or as they come ([Stream]).
//
// A text is a text, and a call of a tool is a call, in every protocol. The rest:
//
//   - What a provider says in its own form alone ([llm.Reasoning]: thoughts, the work of its
//     own tools) is written as it is in its own protocol. In another, the text of thoughts is
//     written as that protocol's thoughts, unsigned, if the client asked for some; in chat
//     completions always, as reasoning_content.
//   - The signature of a call is in the call where there is a place for it (Gemini), else in
//     its identifier: ID + "__sig_" + base64url(signature). Package body takes it out again.
//   - Arguments that are not a JSON object can't be written by Anthropic and Gemini: the
//     first get an object with the text, the others say MALFORMED_FUNCTION_CALL.
//   - The provider's own word for why it stopped is written as it is, in any protocol.
//
// An error within a stream is the protocol's own, and no clean end follows. While an answer
// is awaited, [Stream.KeepAlive] writes what every client ignores.
package front
