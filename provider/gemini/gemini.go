// Package gemini is the adapter for Google Gemini, the generateContent and
// streamGenerateContent methods of the Gemini API. It uses the official SDK with
// its retries, reconnections and automatic continuation switched off, because
// package retry makes the attempts. Importing it registers "gemini" with package
// provider.
//
// It supports text, system prompts, structured output, functions and their
// results, images, thoughts and their signatures, usage with cached tokens and
// thoughts, and streaming. Everything else that the API offers goes through
// Extra of [llm.Request].
//
// Sources, as of November 2026: https://ai.google.dev/api/generate-content for
// the fields, the finish reasons and the limit of 5 stop sequences;
// https://ai.google.dev/gemini-api/docs/structured-output,
// https://ai.google.dev/gemini-api/docs/function-calling,
// https://ai.google.dev/gemini-api/docs/thought-signatures and
// https://ai.google.dev/gemini-api/docs/file-input-methods for their subjects.
package gemini

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync/atomic"

	"google.golang.org/genai"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// The environment variables that the zero [Options] read. No other is used: not
// GOOGLE_API_KEY, which the SDK's own client would prefer, nor
// GOOGLE_GENAI_USE_VERTEXAI, GOOGLE_GENAI_USE_ENTERPRISE and GOOGLE_CLOUD_….
// (A proxy is found as net/http finds it, see [http.ProxyFromEnvironment].) The
// SDK looks at its variables nevertheless, and if both keys are set it logs, by
// package log, that it uses GOOGLE_API_KEY: here it does not.
const (
	KeyVariable     = "GEMINI_API_KEY"
	BaseURLVariable = "GOOGLE_GEMINI_BASE_URL"
)

// DefaultBaseURL is the address of the Gemini API.
const DefaultBaseURL = "https://generativelanguage.googleapis.com"

// DefaultModel is the model to use when none is named: the newest stable
// Flash-Lite, "our fastest, most cost-effective 3.5 model for
// high-throughput execution"
// (https://ai.google.dev/gemini-api/docs/models, November 2026).
const DefaultModel = "gemini-3.5-flash-lite"

// placeholder is sent as the key to a server on this machine that needs none:
// without one the SDK would send the key of the environment.
const placeholder = "none"

// apiVersion is part of the address. v1 lacks half of what is used here.
const apiVersion = "v1beta"

// Options says how to reach the server. The zero value is the Gemini API, with
// the key in the environment.
type Options struct {
	// APIKey is sent in the header x-goog-api-key to the host of the base URL and
	// to no other; it is never part of an address. Default: $GEMINI_API_KEY. It may be
	// missing only if the base URL is on a loopback address.
	APIKey string
	// BaseURL is the address that "/v1beta/models/…" is added to: http or https,
	// without user, query and fragment. Default: $GOOGLE_GEMINI_BASE_URL, else
	// DefaultBaseURL.
	BaseURL string
	// HTTPClient sends the requests; see [provider.Options]. (The SDK sends the
	// deadline of the context to the server, in x-server-timeout.)
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: "gemini/" and the model.
	Name string
	// Endpoint names what the model's calls share with others; see
	// [provider.Options].
	Endpoint string
	// AllowPlainHTTP permits sending the key over plain http to a host on the
	// internet; see [provider.Options].
	AllowPlainHTTP bool
}

// Model is one model of one server. It is safe for concurrent use.
type Model struct {
	endpoint *wire.Endpoint
	models   *genai.Models
	old      bool // of a generation before Gemini 3
	refused  *refused
}

// refused is what the server said that it does not support. It is remembered, so
// that the next request is sent in another form.
type refused struct {
	json          atomic.Bool // answers in JSON
	jsonWithTools atomic.Bool // answers in JSON together with tools
}

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New makes a [Model] of the model that the server calls by this name
// ("gemini-3.5-flash-lite", "models/…" or "tunedModels/…"). It makes no request.
// An error names the field of Options, or the environment variable, that is
// missing or invalid.
func New(model string, opts Options) (*Model, error) {
	served, key, err := wire.New(wire.Config{
		Protocol: classify.Gemini, Provider: classify.Gemini, Model: model, Example: DefaultModel, Name: opts.Name,
		BaseURL: opts.BaseURL, BaseURLVariable: BaseURLVariable, DefaultBaseURL: DefaultBaseURL,
		APIKey: opts.APIKey, KeyVariables: []string{KeyVariable}, Share: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
	})
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(model, `?&#%\`) || strings.Contains(model, "..") {
		return nil, fmt.Errorf("gemini: model %q: must be a name that can be part of an address, such as %s", model, DefaultModel)
	}
	client, err := genai.NewClient(context.Background(), &genai.ClientConfig{ // the context is for credentials of Vertex AI
		APIKey: cmp.Or(key, placeholder), Backend: genai.BackendGeminiAPI, HTTPClient: courier(wire.Client(opts.HTTPClient)),
		HTTPOptions: genai.HTTPOptions{BaseURL: served.Base.String(), APIVersion: apiVersion},
	})
	if err != nil {
		return nil, fmt.Errorf("gemini: %s", served.Hide(err.Error())) // not wrapped: the SDK prints its configuration, the key in it
	}
	return &Model{endpoint: served, models: client.Models, old: beforeGemini3(model), refused: &refused{}}, nil
}

// beforeGemini3 reports whether a model is of a generation that does not support
// answers in JSON together with functions, and needs no thought signatures. A
// name without a number ("gemini-flash-latest") is that of a new model.
func beforeGemini3(model string) bool {
	name := strings.TrimPrefix(model, "models/")
	return strings.HasPrefix(name, "gemini-1") || strings.HasPrefix(name, "gemini-2") || strings.HasPrefix(name, "gemma-")
}

// Name returns "provider/model".
func (m *Model) Name() string { return m.endpoint.Name }

// EndpointKey says which calls share a circuit breaker, a pacer and a retry
// budget with this model's; see [provider.Options].
func (m *Model) EndpointKey() endpoint.Key { return m.endpoint.Key() }

// Complete sends the request once. Invalid UTF-8 in its texts is replaced by
// U+FFFD, as encoding/json does.
//
// System messages are sent together as the system instruction. Consecutive turns
// of the same role are sent as one; tool results have the user's role. The result
// of a failed tool is sent under the name "error". An image with a URL is fetched
// by Google, which accepts public and signed https addresses (not with Gemini
// 2.0).
//
// A Schema is sent unchanged as responseJsonSchema: Gemini supports a part of
// JSON Schema and ignores the rest. Models before Gemini 3 accept no schema
// together with tools, and some models none at all: for these the schema is part
// of the system instruction, and the model may violate it. This is known by the
// model's name, or from an answer of the server that refused it: that call fails,
// later ones ask the other way.
//
// An answer has [llm.Reasoning] for whatever is neither text nor a function call:
// thoughts (if Extra asks for them), the signature of a text, code that was run,
// an image that was made. It is sent back to Gemini unchanged, and so are the
// signatures of calls; for calls made by another provider's model, Gemini 3 is
// told not to look for one. A call without an ID, as made by models before
// Gemini 3, gets one here, and is sent back without it.
//
// Extra must not hold model, contents or stream. The fields of its
// generationConfig are merged with those set here:
// {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}.
//
// Every error is a [*failure.Error]. If the server responded, it wraps the SDK's
// genai.APIError, without the key. If the answer was withheld, or the prompt was
// blocked, it is of kind ContentFiltered, and its Code is Gemini's reason. A
// malformed function call is an error of kind Transient. An answer that was cut
// off at the token limit is a Response. If ctx ended before the answer was
// complete, the error wraps ctx.Err().
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	d, err := m.send(ctx, req, false)
	if err != nil {
		return nil, err
	}
	return whole(&d.Exchange)
}

// whole reads an answer that came in one piece.
func whole(x *wire.Exchange) (*llm.Response, error) {
	chunks, err := wholeChunks(x)
	if err != nil {
		return nil, err
	}
	var answer llm.Assembly
	for _, chunk := range chunks {
		answer.Add(chunk)
	}
	return answer.Response(), nil
}

// wholeChunks reads an answer that came in one piece, as the stream of one event
// that it is.
func wholeChunks(x *wire.Exchange) ([]llm.Chunk, error) {
	r := reader{x: x}
	chunks, err := r.read(x.Body)
	if err != nil {
		return nil, err
	}
	if !r.answered {
		return nil, x.Garbled(errNoCandidates)
	}
	return append(chunks, r.end()...), nil
}

// Stream sends the request once, and yields the answer as it arrives; see
// [Model.Complete]. A stream without a finish reason ends without a Finish. An
// error within a stream is classified by its own code. The connection is closed
// when the loop is left.
func (m *Model) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		d, err := m.send(ctx, req, true)
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		defer d.answer.Close()
		for chunk, err := range d.relay(ctx) {
			if !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}
