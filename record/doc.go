// Package record writes down what models answer, and answers the same again without a
// network or a key.
//
// A recording is one request and what came of it: an answer with its usage, or a failure
// with its kind. Each is a YAML file of its own, whose name begins with the time, so that a
// directory listing is in order. People can read the files, and edit them: what is under
// "answer" is what a replay answers.
//
//	recorded, err := record.Model(model, "testdata/calls") // asks the model, and writes
//	...
//	player, err := record.Open("testdata/calls")
//	replayed := player.Model("openai/gpt-6-luna") // asks nobody
//
// There are two levels. [Model] records an [llm.Model]: requests and answers in the words of
// package llm, the same for all providers. [Transport] records what an HTTP client sends and
// receives, byte for byte, for programs that keep an SDK: set it as the Transport of the
// SDK's http.Client, or as Base of [llmcall/transport.Config] to record each attempt.
// Streams keep their pieces, and when each came ([Player.Speed]). [New] makes a [Recorder]
// with settings of its own.
//
// # What a request is matched by
//
// A replay answers a request with the first recording of an equal request that it has not
// used yet: a question asked three times gets its three answers in their order. Two requests
// to a model are equal if these are:
//
//   - the model's full name;
//   - the messages with all their parts, the tools, the schema;
//   - the settings: max_tokens, temperature, stop, seed, and the provider's own (extra).
//
// In JSON (schemas, arguments of tool calls, extra) neither the order of an object's keys nor
// white space counts, and 1.0 is 1. Whether the answer is streamed does not count: a recorded
// stream is also replayed whole, and a whole answer as a stream of one piece. Time, address
// and key do not count.
//
// Two HTTP requests are equal if their method, address, query and body are. In a body that is
// JSON, neither the order of keys nor white space counts; any other body counts by its
// bytes. Headers, and parameters of the query that hold a credential (key, api_key,
// access_token, X-Amz-…), do not count.
//
// A request without a recording fails with a *[MissingError], which names the nearest
// recorded one, with a diff. Its kind is [failure.InvalidRequest]: it is not tried again.
//
// # Failures
//
// A failure is replayed with its kind, status, code, text and told wait, so that a replayed
// call makes the same attempts as the recorded one. An attempt that was ended by a time limit,
// its own or that of its call, is replayed as [failure.AttemptTimeout]. What its caller cancelled is written, and is not
// replayed, since nobody answered; a stream that its caller left is replayed as far as it was
// read.
//
// # Keys
//
// No recording holds a key. Of headers only a list of harmless ones is written; parameters of
// an address that hold a credential, and a user in it, are left out. Before a file is written,
// its text and all texts in it are searched for the keys that the process knows (the
// environment variables of the registered providers and all whose names end in _API_KEY,
// [Config.Keys], the credentials of the request itself), and for whatever has the form of a
// key ([validate.NoSecrets]). A file in which one is found is not written, and the
// [SecretError] is reported. What is not found: keys of fewer than 8 bytes, and a key that is
// encoded once more within a text, as by Base64.
//
// # Format
//
// Each file names the version of its format ("recording: 1"). This version reads format 1, and
// later ones will. [Read] and [All] read recordings for other purposes; [Plan] makes of them a
// plan for package chaos.
package record
