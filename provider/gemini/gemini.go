// Package gemini is the adapter for Google Gemini, the generateContent and
// streamGenerateContent methods of the Gemini API, on the official SDK with its
// retries, its reconnections and its automatic continuation switched off: one
// loop, above, owns them.
//
// It supports text, system prompts, structured output, functions and their
// results, pictures, thoughts and their signatures, usage with cached tokens and
// thoughts, and streaming. What the API has beside that goes through
// llm.Request.Extra.
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

// The environment variables that the zero Options read. No other is honored:
// not GOOGLE_API_KEY, which the SDK's own client would prefer, nor
// GOOGLE_GENAI_USE_VERTEXAI, GOOGLE_GENAI_USE_ENTERPRISE and GOOGLE_CLOUD_….
// (A proxy is found as net/http finds it, see http.ProxyFromEnvironment.) The
// SDK looks at its variables all the same, and where both keys are set it logs,
// by package log, that it uses GOOGLE_API_KEY: here it does not.
const (
	KeyVariable     = "GEMINI_API_KEY"
	BaseURLVariable = "GOOGLE_GEMINI_BASE_URL"
)

// DefaultBaseURL is the Gemini API's own address.
const DefaultBaseURL = "https://generativelanguage.googleapis.com"

// DefaultModel is the small model to use when nobody named one: the newest
// Flash-Lite that is stable, "our fastest, most cost-effective 3.5 model for
// high-throughput execution"
// (https://ai.google.dev/gemini-api/docs/models, November 2026).
const DefaultModel = "gemini-3.5-flash-lite"

// placeholder is the key sent to a server on this machine when none is given:
// without a key the SDK would send that of the environment.
const placeholder = "none"

// apiVersion is part of the address. v1 lacks half of what is used here.
const apiVersion = "v1beta"

// Options says how to reach the server. The zero value is the Gemini API, with
// the key in the environment.
type Options struct {
	// APIKey is sent in the header x-goog-api-key to the base URL's host and to no
	// other; it never stands in an address. Default: $GEMINI_API_KEY. It may be
	// missing only if the base URL is on a loopback address.
	APIKey string
	// BaseURL is what "/v1beta/models/…" is added to: an http or https address
	// without user, query and fragment. Default: $GOOGLE_GEMINI_BASE_URL, else
	// DefaultBaseURL.
	BaseURL string
	// HTTPClient sends the requests. A redirect is followed only within the base
	// URL's origin and only if it keeps the method, whatever the client's
	// CheckRedirect says. Default: a client that all models share and that waits at
	// most 10 minutes for the header of a response; the context given to Complete
	// bounds everything. (The SDK tells the server the context's deadline, in
	// x-server-timeout.)
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: "gemini/" and the model.
	Name string
	// Endpoint is the name of what the model's calls share with others: a circuit
	// breaker, a pacer and a retry budget. It is shown in logs. Give one where the
	// credential is not APIKey but one that HTTPClient adds. Default: calls share
	// these by Name, address and API key.
	Endpoint string
	// AllowPlainHTTP lets the key go over plain http to a host of the internet.
	// Default: it goes so only to this machine and to private networks, which are
	// private addresses and names such as "vllm", "gpu.local" and "llm.internal";
	// New refuses any other, since everybody on the way could read the key.
	AllowPlainHTTP bool
}

// Model is one model of one server. It is safe for use from many goroutines.
type Model struct {
	endpoint *wire.Endpoint
	models   *genai.Models
	old      bool // of a generation before Gemini 3
	refused  *refused
}

// refused is what the server said that it does not take. It is remembered, so
// that the next request goes out in another form.
type refused struct {
	json          atomic.Bool // answers in JSON
	jsonWithTools atomic.Bool // answers in JSON beside tools
}

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New makes a Model of the model that the server calls by this name
// ("gemini-3.5-flash-lite", "models/…" or "tunedModels/…"). It makes no call. An
// error names the field of Options, or the environment variable, that is missing
// or wrong.
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

// beforeGemini3 reports whether a model is of a generation that takes no answers
// in JSON beside functions, and asks for no thought signatures. A name that says
// nothing ("gemini-flash-latest") is a new model's.
func beforeGemini3(model string) bool {
	name := strings.TrimPrefix(model, "models/")
	return strings.HasPrefix(name, "gemini-1") || strings.HasPrefix(name, "gemini-2") || strings.HasPrefix(name, "gemma-")
}

// Name returns "provider/model".
func (m *Model) Name() string { return m.endpoint.Name }

// EndpointKey says which calls share a circuit breaker, a pacer and a retry
// budget with the model's: those to the model of the same full name at the same
// address with the same API key, or of the same Options.Endpoint.
func (m *Model) EndpointKey() endpoint.Key { return m.endpoint.Key() }

// Complete sends the request, once. Text that is no valid UTF-8 is sent with
// U+FFFD in the place of what is wrong, as encoding/json does.
//
// System messages go out together, wherever they stand, as the system
// instruction. Turns of the same role that follow each other are sent as one;
// the results of tools are of the user's role. A failed tool's result is sent
// under the name "error". A picture with a URL is fetched by Google, which
// takes public and signed https addresses (not with Gemini 2.0).
//
// A Schema goes out as responseJsonSchema, as it is: Gemini takes a part of JSON
// Schema and passes over the rest. Models before Gemini 3 take no schema beside
// tools, and some models none at all: there the schema stands in the system
// instruction, and the model may break it. This is known by the model's name, or
// from an answer of the server that refused it: that call fails, the next ones
// ask in the other way.
//
// Reasoning comes back in an answer for whatever is neither text nor the call of
// a function: thoughts (where Extra asks for them), the signature of a text, code
// that was run, a picture that was made. It goes back to Gemini as it came, and
// so do the signatures of calls; for calls that another provider's model made,
// Gemini 3 is told not to look for one. A call without an ID, as models before
// Gemini 3 make them, gets one here, and is sent back without.
//
// Extra may not hold model, contents or stream. The fields of its
// generationConfig are put in one by one, beside those set here:
// {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}.
//
// Every error is a *failure.Error. One that the server answered with wraps the
// SDK's genai.APIError, without the key. An answer that was withheld, or to a
// prompt that was blocked, is an error of kind ContentFiltered, whose Code is
// Gemini's reason. A call of a function that was malformed is an error of kind
// Transient. An answer that was cut off at the token limit is a Response. When
// ctx ended before the answer was there, the error wraps ctx.Err().
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

// Stream sends the request, once, and yields the answer as it comes; see
// Complete. A stream that ends without a finish reason ends without a Finish. An
// error within a stream is of the kind that its own code says. The connection is
// closed when the loop is left.
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
