// Package gemini is the adapter for the Gemini API of Google.
//
// A [Model] is one model of one server: an [llm.Streamer] that sends a request to
// the API's method generateContent or streamGenerateContent, and returns every
// failure as a [*failure.Error]. A request is sent once, and again only if the
// server refuses a part that the request can do without; the next one is without
// it. The adapter uses Google's SDK with its retries, reconnections and automatic
// continuation switched off, because package [llmcall/retry] makes the attempts.
//
// Importing the package registers the provider "gemini" with [provider.Open];
// [New] makes a model directly:
//
//	model, err := gemini.New("gemini-3.5-flash-lite", gemini.Options{})
//
// The adapter supports text, system prompts, structured output, functions and
// their results, images, thoughts and their signatures, usage with cached tokens
// and thoughts, and streaming. Other fields of the API go into
// [llm.Request.Extra].
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
	"net/url"
	"strings"

	"google.golang.org/genai"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// The environment variables that supply [Options.APIKey] and [Options.BaseURL].
// SecondKeyVariable is read if KeyVariable is not set: it may hold the key of any of
// Google's APIs. The adapter uses no others: not GOOGLE_GENAI_USE_VERTEXAI,
// GOOGLE_GENAI_USE_ENTERPRISE and GOOGLE_CLOUD_…. Proxies are those of
// [http.ProxyFromEnvironment]. If both keys are set, the SDK logs, by package log,
// that it uses GOOGLE_API_KEY, as its own client would; here it does not.
const (
	KeyVariable       = "GEMINI_API_KEY"
	SecondKeyVariable = "GOOGLE_API_KEY"
	BaseURLVariable   = "GOOGLE_GEMINI_BASE_URL"
)

// DefaultBaseURL is the address of the Gemini API.
const DefaultBaseURL = "https://generativelanguage.googleapis.com"

// DefaultModel is the model to use if the user names none: the newest stable
// Flash-Lite, "our fastest, most cost-effective 3.5 model for
// high-throughput execution"
// (https://ai.google.dev/gemini-api/docs/models, November 2026).
const DefaultModel = "gemini-3.5-flash-lite"

// placeholder is the key sent to a server of one's own that needs none:
// without a key the SDK would send the one in the environment.
const placeholder = "none"

// apiVersion is part of the address. v1 lacks half of the fields used here.
const apiVersion = "v1beta"

// Options says how to reach the server. The zero value is the Gemini API, with
// the key in the environment.
type Options struct {
	// APIKey is sent in the header x-goog-api-key, to the host of the base URL only,
	// and never as a part of an address. Default: $GEMINI_API_KEY, else
	// $GOOGLE_API_KEY. It may be missing only if the base URL is on this machine or in
	// a private network; see [provider.Options.APIKey].
	APIKey string
	// BaseURL is the address to which "/v1beta/models/…" is appended: http or https,
	// without user, query and fragment. Default: $GOOGLE_GEMINI_BASE_URL, else
	// [DefaultBaseURL].
	BaseURL string
	// HTTPClient sends the requests; see [provider.Options.HTTPClient]. The SDK sends
	// the context's deadline to the server, in x-server-timeout.
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: "gemini/" and the model.
	Name string
	// Endpoint is a name under which calls share a circuit breaker, a pacer and a
	// retry budget; see [provider.Options.Endpoint].
	Endpoint string
	// AllowPlainHTTP allows the key to be sent over plain http to a host on the
	// internet; see [provider.Options.AllowPlainHTTP].
	AllowPlainHTTP bool
}

// Model is one model of one server. It is safe for concurrent use.
type Model struct {
	endpoint *wire.Endpoint
	models   *genai.Models
	old      bool // of a generation before Gemini 3
	lacks    *lacks
	direct   *wire.Direct
}

// lacks is what the model has refused: some of it only beside tools.
type lacks struct{ alone, withTools wire.Lacks }

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New returns a [Model] for the model that the server knows as model
// ("gemini-3.5-flash-lite", "models/…" or "tunedModels/…"). It makes no request.
// The error names the field of [Options], or the environment variable, that is
// missing or invalid.
func New(model string, opts Options) (*Model, error) {
	served, key, err := wire.New(wire.Config{
		Protocol: classify.Gemini, Provider: classify.Gemini, Model: model, Example: DefaultModel, Name: opts.Name,
		BaseURL: opts.BaseURL, BaseURLVariable: BaseURLVariable, DefaultBaseURL: DefaultBaseURL,
		APIKey: opts.APIKey, KeyVariables: []string{KeyVariable, SecondKeyVariable}, Share: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
	})
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(model, `?&#%\`) || strings.Contains(model, "..") {
		return nil, fmt.Errorf("gemini: model must be a name that can be part of an address, such as %s, got %q", DefaultModel, model)
	}
	sender, lacking := wire.Client(opts.HTTPClient), new(lacks)
	client, err := genai.NewClient(context.Background(), &genai.ClientConfig{ // the context is for Vertex AI's credentials only
		APIKey: cmp.Or(key, placeholder), Backend: genai.BackendGeminiAPI, HTTPClient: courier(sender),
		HTTPOptions: genai.HTTPOptions{BaseURL: served.Base.String(), APIVersion: apiVersion},
	})
	if err != nil {
		return nil, fmt.Errorf("gemini: %s", served.Hide(err.Error())) // not wrapped: the SDK's error prints its configuration with the key
	}
	direct := &wire.Direct{
		Endpoint: served, Protocol: wire.Gemini, Client: sender, Lacks: &lacking.alone, Clean: apiError, Explain: explain,
		Whole: methodAddress(served, ":generateContent"), Streamed: methodAddress(served, ":streamGenerateContent"),
		Sign: func(header http.Header) { header["X-Goog-Api-Key"] = []string{cmp.Or(key, placeholder)} },
	}
	direct.Streamed.RawQuery = "alt=sse"
	return &Model{endpoint: served, models: client.Models, old: beforeGemini3(model), lacks: lacking, direct: direct}, nil
}

// methodAddress returns the address of a method of the model.
func methodAddress(served *wire.Endpoint, method string) *url.URL {
	model := served.Model
	if !strings.HasPrefix(model, "models/") && !strings.HasPrefix(model, "tunedModels/") {
		model = "models/" + model
	}
	return served.At(apiVersion, model+method)
}

// beforeGemini3 reports whether a model is of a generation that does not support
// answers in JSON together with functions, and needs no thought signatures. A
// name without a number ("gemini-flash-latest") counts as new.
func beforeGemini3(model string) bool {
	name := strings.TrimPrefix(model, "models/")
	return strings.HasPrefix(name, "gemini-1") || strings.HasPrefix(name, "gemini-2") || strings.HasPrefix(name, "gemma-")
}

// Name returns "provider/model".
func (m *Model) Name() string { return m.endpoint.Name }

// Protocol returns "gemini".
func (m *Model) Protocol() string { return wire.Gemini }

// EndpointKey returns the key under which the model's calls share a circuit
// breaker, a pacer and a retry budget; see [provider.Options.Endpoint].
func (m *Model) EndpointKey() endpoint.Key { return m.endpoint.Key() }

// Complete sends the request once, and again without each part that the server refuses
// and that the request can do without: the Schema, or the system instruction. Invalid
// UTF-8 in the request's texts is replaced by U+FFFD, as encoding/json does.
//
// System messages are sent together as the system instruction. Consecutive
// messages of the same role are sent as one turn; tool results have the user's
// role. The result of a failed tool is sent under the name "error". An image with
// a URL is fetched by Google, which accepts public and signed https addresses
// (not with Gemini 2.0).
//
// A Schema is sent unchanged as responseJsonSchema. Gemini supports a part of JSON
// Schema and ignores the rest. Models before Gemini 3 accept no schema together
// with tools, and some models none at all. For these the schema becomes a part of
// the system instruction, or of the user's first message if there is none, and the model
// may violate it. The adapter knows such a model by its name, or from the server's
// refusal, which it remembers.
//
// Whatever is neither text nor a function call is an [llm.Reasoning] in the
// answer: thoughts (if Extra asks for them), the signature of a text, code that
// was run, an image that was generated. It is sent back to Gemini unchanged, as
// are the signatures of calls. For calls made by another provider's model, Gemini
// 3 is told not to expect one. A call without an ID, as models before Gemini 3
// make, gets one here, and is sent back without it.
//
// Extra must not contain model, contents or stream. The fields of its
// generationConfig are merged with those set here:
// {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}.
//
// Every error is a [*failure.Error]. If the server responded, it wraps the SDK's
// [genai.APIError], without the key. If the answer was withheld, or the prompt was
// blocked, the kind is [failure.ContentFiltered] and the Code is Gemini's reason.
// A function call that is malformed or of an unknown function is
// [failure.InvalidAnswer], with what Gemini says of it as Written. If ctx ended before the answer
// was complete, the error wraps ctx.Err(). An answer that was cut off at the token
// limit is a response with [llm.FinishLength].
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	if own := m.direct.Takes(ctx); own != nil {
		return m.direct.Complete(ctx, own, req, dialect{})
	}
	d, err := m.send(ctx, req, false)
	if err != nil {
		return nil, err
	}
	return d.Answer(dialect{})
}

// Stream sends the request and yields the answer as it arrives. Requests and
// errors are those of [Model.Complete]. A stream that ends without a finish reason
// yields no [llm.Chunk.Finish]. An error within a stream is classified by its own
// code. Leaving the loop closes the connection.
func (m *Model) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	if own := m.direct.Takes(ctx); own != nil {
		return m.direct.Stream(ctx, own, req, dialect{})
	}
	return func(yield func(llm.Chunk, error) bool) {
		d, err := m.send(ctx, req, true)
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		d.Relay(ctx, dialect{}, yield)
	}
}
