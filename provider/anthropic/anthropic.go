// Package anthropic is the adapter for Anthropic's Messages API and for any
// server that speaks its protocol.
//
// A [Model] is one model of one server: an [llm.Streamer] that sends a request by
// Anthropic's SDK and returns every failure as a [*failure.Error]. A request is
// sent once, and again only if the server refuses the way in which it asks for a
// schema; the next one asks in another way. The SDK's own retries are switched off,
// because package [llmcall/retry] makes them.
//
// Importing the package registers the provider "anthropic" with
// [provider.Open]; [New] makes a model directly:
//
//	model, err := anthropic.New("claude-haiku-5-5", anthropic.Options{})
//
// The adapter supports text, system messages, images, tools, structured output
// (see [Model.Complete]), thinking and streaming. Thinking is returned as
// [llm.Reasoning] and sent back unchanged. Fields that only Anthropic has go into
// [llm.Request.Extra], for example {"thinking": {"type": "adaptive"}}. Citations
// are left out of the answer.
//
// Sources: https://platform.claude.com/docs/en/api/messages for the protocol,
// https://platform.claude.com/docs/en/api/errors for its errors.
package anthropic

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// The environment variables that supply [Options.APIKey] and [Options.BaseURL].
// The adapter reads no others: not ANTHROPIC_AUTH_TOKEN, ANTHROPIC_PROFILE,
// ANTHROPIC_CUSTOM_HEADERS and the rest that the SDK's own client would use, nor
// ANTHROPIC_OPEN_TELEMETRY and the like, because the SDK's spans, which may
// contain the prompt, are switched off. Proxies are those of
// [http.ProxyFromEnvironment].
const (
	KeyVariable     = "ANTHROPIC_API_KEY"
	BaseURLVariable = "ANTHROPIC_BASE_URL"
)

// DefaultBaseURL is the address of Anthropic's API.
const DefaultBaseURL = "https://api.anthropic.com"

// DefaultModel is the model to use if the user names none: the small one, which
// Anthropic recommends for high volumes
// (https://platform.claude.com/docs/en/about-claude/models/overview).
const DefaultModel = "claude-haiku-5-5"

// DefaultMaxTokens is the limit of a request whose [llm.Request.MaxTokens] is 0,
// in tokens; the API requires a limit. Every model since Claude 4 accepts it, it
// leaves room for thinking, which counts as output, and it is below the 21,333
// tokens above which the SDK expects an answer to take more than ten minutes
// (its CalculateNonStreamingTimeout). Older models, and models of other vendors,
// get 4,096.
const DefaultMaxTokens = 16_000

// olderMaxTokens is the most that every Claude 3 model accepts
// (https://platform.claude.com/docs/en/about-claude/models/overview). It leaves
// room for the prompt if a server counts both against a small window.
const olderMaxTokens = 4096

// placeholder is the key sent to a server on this machine that needs none: some
// require the header.
const placeholder = "none"

// Options says how to reach the server. The zero value is Anthropic's API, with
// the key in the environment.
type Options struct {
	// APIKey is sent as x-api-key, to the host of the base URL only. Default:
	// $ANTHROPIC_API_KEY. It may be missing only if the base URL is on this
	// machine or in a private network; see [provider.Options.APIKey].
	APIKey string
	// BaseURL is the address to which "/v1/messages" is appended: http or https,
	// without user, query and fragment. Default: $ANTHROPIC_BASE_URL, else
	// [DefaultBaseURL].
	BaseURL string
	// HTTPClient sends the requests; see [provider.Options.HTTPClient]. Unless an
	// answer is streamed, its header arrives only when the whole answer is ready.
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: "anthropic/" and the model.
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
	lacks    *wire.Lacks
	direct   *wire.Direct
	messages sdk.MessageService
}

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New returns a [Model] for the model that the server knows as model
// ("claude-haiku-5-5"). It makes no request. The error names the field of
// [Options], or the environment variable, that is missing or invalid.
func New(model string, opts Options) (*Model, error) {
	served, key, err := wire.New(wire.Config{
		Protocol: classify.Anthropic, Provider: classify.Anthropic, Model: model, Example: DefaultModel, Name: opts.Name,
		BaseURL: opts.BaseURL, BaseURLVariable: BaseURLVariable, DefaultBaseURL: DefaultBaseURL,
		APIKey: opts.APIKey, KeyVariables: []string{KeyVariable}, Share: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
	})
	if err != nil {
		return nil, err
	}
	client, lacks := wire.Client(opts.HTTPClient), new(wire.Lacks)
	return &Model{
		endpoint: served,
		lacks:    lacks,
		direct: &wire.Direct{
			Endpoint: served, Protocol: wire.Messages, Client: client, Whole: served.At("v1", "messages"), Lacks: lacks, Clean: apiError,
			Sign: func(header http.Header) { header["X-Api-Key"] = []string{cmp.Or(key, placeholder)} },
		},
		// Unlike the SDK's Client, the service reads the environment only for its
		// spans, which are off.
		messages: sdk.NewMessageService(
			option.WithBaseURL(served.Base.String()),
			option.WithAPIKey(cmp.Or(key, placeholder)),
			option.WithHTTPClient(client),
			option.WithMaxRetries(0),
			option.WithoutOpenTelemetry(),
			// By default the SDK limits every call to ten minutes and refuses one that
			// may take longer. Here the context is the limit.
			option.WithRequestTimeout(math.MaxInt64),
			option.WithHeaderDel("X-Stainless-Timeout"),
		),
	}, nil
}

// Name returns "provider/model".
func (m *Model) Name() string { return m.endpoint.Name }

// Protocol returns "anthropic".
func (m *Model) Protocol() string { return wire.Messages }

// EndpointKey returns the key under which the model's calls share a circuit
// breaker, a pacer and a retry budget; see [provider.Options.Endpoint].
func (m *Model) EndpointKey() endpoint.Key { return m.endpoint.Key() }

// Lacks names the settings of a request that the API does not have, as in its JSON:
// [llm.Request.Seed]. A request with one is refused; a call of llmcall leaves it out where
// the model is an alternative to another one, for which it was meant.
func (m *Model) Lacks() []string { return []string{"seed"} }

// Complete sends the request once, and again in another way if the server refuses how it
// asks for the Schema. Invalid UTF-8 in the request's texts is replaced by U+FFFD, as
// encoding/json does.
//
// System messages are joined by empty lines and sent as the system prompt.
// Consecutive messages of the same role become one turn, in which tool results
// come first. Blank text, and thinking that is not followed by anything, is left
// out, because the API would refuse it; a turn of which nothing is left says "(no text)".
// A call without a result gets one that says so. Arguments of a tool call that are not a
// JSON object are sent as {"INVALID_JSON": "…"}, as Anthropic advises. A Seed is
// an error: the API does not support it. Two things are sent unchanged although
// newer models refuse them, with an error that says so: a Temperature other than
// 1 (since Claude Opus 4.7), and a last message that begins the answer (since
// Claude 4.6).
//
// Extra must not contain stream, model or messages. If Extra has an output_config
// without a format, the format for Schema is added to it.
//
// A Schema is requested in the first of these ways that the model supports,
// judging by its name and by what the server has refused with an error that says so:
//
//   - By output_config.format, since Claude 4.5. The API supports a part of JSON
//     Schema: objects are closed, and keywords that it does not support (lengths,
//     ranges, unusual formats) are moved into the description, as Anthropic's SDKs
//     do. The answer may violate these, so check it against the whole schema.
//   - By a tool whose input is the answer, which is returned as text, where the API
//     allows a forced call: before Claude 5, without thinking, and on servers of
//     other vendors. If the request has tools of its own, the model must call one
//     of all these.
//   - By instructions in the system prompt, for example for a recursive schema.
//
// Every error is a [*failure.Error]. If the server responded, it wraps the SDK's
// *anthropic.Error, without the key, the prompt and cookies, and with the first
// MiB of the response's body. If the model refused to answer, the kind is
// [failure.ContentFiltered]. If ctx ended before the answer was complete, the
// error wraps ctx.Err(). An answer that was cut off, at the token limit or at the
// end of the context window, is a response with [llm.FinishLength]; one that the
// provider paused (pause_turn) is a response with [llm.FinishPaused].
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	if own := m.direct.Takes(ctx); own != nil {
		return m.direct.Complete(ctx, own, req, dialect{})
	}
	x, p, err := m.exchange(ctx, req, false, func(params sdk.MessageNewParams, record option.RequestOption) error {
		// The exchange has the body too; with bytes as the target the SDK does not check
		// the Content-Type.
		_, err := m.messages.New(ctx, params, record, option.WithResponseBodyInto(new([]byte)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return x.Answer(dialect{p.tool})
}

// exchange sends the request, and sends it again by another plan if the server refuses how
// it asks for the schema. It returns an exchange with a success, and its plan.
func (m *Model) exchange(
	ctx context.Context, req *llm.Request, streamed bool, send func(sdk.MessageNewParams, option.RequestOption) error,
) (x *wire.Exchange, p plan, err error) {
	steps := m.lacks.For(wire.SchemaOf(req))
	err = steps.Send(ctx, m.endpoint, func() (wire.Try, error) {
		params, planned, err := m.params(req, steps)
		p = planned
		return wire.Try{Asked: p.asked, Note: p.note, Send: func() error {
			x = &wire.Exchange{Endpoint: m.endpoint, Speaks: wire.Messages, Stream: streamed, Structured: req.Schema != nil}
			return x.Failed(ctx, send(params, option.WithMiddleware(x.Record)), apiError)
		}}, err
	})
	return x, p, err
}

// apiError returns the SDK's error without the key and the prompt, which the SDK
// keeps in it for DumpRequest. If the SDK made none, as for a redirect or a request without
// the SDK, apiError makes one.
func apiError(x *wire.Exchange, err error) error {
	var api *sdk.Error
	if !errors.As(err, &api) {
		api = new(sdk.Error)
		_ = api.UnmarshalJSON(x.Body) // what can't be read is in the response
		api.StatusCode, api.RequestID = x.Status, x.Response.Header.Get("Request-Id")
	}
	api.Response = x.KeptResponse()
	api.Request = api.Response.Request
	api.RequestID = x.Endpoint.Hide(api.RequestID)
	api.WorkspaceID = x.Endpoint.Hide(api.WorkspaceID)
	return api
}
