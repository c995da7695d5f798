// Package anthropic is the adapter for Anthropic's Messages API, and for any
// server that speaks its protocol. It uses the official SDK with its retries
// switched off, because package retry makes them. Importing it registers
// "anthropic" with package provider.
//
// It supports text, system messages, images, tools, structured output (see
// [Model.Complete]), thinking, which is returned as [llm.Reasoning] and sent back
// unchanged, and streaming. Fields that only Anthropic has go into Request.Extra,
// for example {"thinking": {"type": "adaptive"}}. Citations are left out of the
// answer.
//
// $ANTHROPIC_API_KEY and $ANTHROPIC_BASE_URL are read, and nothing else; see
// [KeyVariable]. The protocol is documented at
// https://platform.claude.com/docs/en/api/messages, its errors those of
// https://platform.claude.com/docs/en/api/errors.
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

// The environment variables that the zero [Options] read. No other is read: not
// ANTHROPIC_AUTH_TOKEN, ANTHROPIC_PROFILE, ANTHROPIC_CUSTOM_HEADERS and the rest
// that the SDK's own client would use, nor ANTHROPIC_OPEN_TELEMETRY and the like,
// since the SDK's spans, which may hold the prompt, are switched off. (A proxy is
// found as net/http finds it, see [http.ProxyFromEnvironment].)
const (
	KeyVariable     = "ANTHROPIC_API_KEY"
	BaseURLVariable = "ANTHROPIC_BASE_URL"
)

// DefaultBaseURL is the address of Anthropic.
const DefaultBaseURL = "https://api.anthropic.com"

// DefaultModel is the model to use when none is named: the small one, which
// Anthropic recommends for high volumes
// (https://platform.claude.com/docs/en/about-claude/models/overview).
const DefaultModel = "claude-haiku-5-5"

// DefaultMaxTokens is the limit of a request without MaxTokens, since the API
// requires one. Every model since Claude 4 accepts it, it leaves room for
// thinking, which counts, and it is below the 21,333 tokens above which the SDK
// expects an answer to take more than ten minutes
// (anthropic.CalculateNonStreamingTimeout). Older models, and models that are not
// Anthropic's, get 4,096.
const DefaultMaxTokens = 16_000

// olderMaxTokens is the most that every Claude 3 model accepts
// (https://platform.claude.com/docs/en/about-claude/models/overview), and leaves
// room for the prompt if a server counts both against a small window.
const olderMaxTokens = 4096

// placeholder is sent as the key to a server on this machine that needs none:
// some require the header.
const placeholder = "none"

// Options says how to reach the server. The zero value is Anthropic, with the
// key in the environment.
type Options struct {
	// APIKey is sent as x-api-key to the host of the base URL and to no other.
	// Default: $ANTHROPIC_API_KEY. It may be missing only if the base URL is on a
	// loopback address.
	APIKey string
	// BaseURL is the address that "/v1/messages" is added to: http or https,
	// without user, query and fragment. Default: $ANTHROPIC_BASE_URL, else
	// DefaultBaseURL.
	BaseURL string
	// HTTPClient sends the requests; see [provider.Options]. The header of a response
	// arrives only with the whole answer, unless it is streamed.
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: "anthropic/" and the model.
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
	refusals *refusals
	messages sdk.MessageService
}

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New makes a [Model] of the model that the server calls by this name
// ("claude-haiku-5-5"). It makes no request. An error names the field of Options,
// or the environment variable, that is missing or invalid.
func New(model string, opts Options) (*Model, error) {
	served, key, err := wire.New(wire.Config{
		Protocol: classify.Anthropic, Provider: classify.Anthropic, Model: model, Example: DefaultModel, Name: opts.Name,
		BaseURL: opts.BaseURL, BaseURLVariable: BaseURLVariable, DefaultBaseURL: DefaultBaseURL,
		APIKey: opts.APIKey, KeyVariables: []string{KeyVariable}, Share: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
	})
	if err != nil {
		return nil, err
	}
	return &Model{
		endpoint: served,
		refusals: new(refusals),
		// The service alone, without the SDK's Client, reads no environment but
		// for its spans, which are off.
		messages: sdk.NewMessageService(
			option.WithBaseURL(served.Base.String()),
			option.WithAPIKey(cmp.Or(key, placeholder)),
			option.WithHTTPClient(wire.Client(opts.HTTPClient)),
			option.WithMaxRetries(0),
			option.WithoutOpenTelemetry(),
			// Without a time-out of one's own the SDK limits every call to ten
			// minutes, and refuses one that may take longer. The context is the limit.
			option.WithRequestTimeout(math.MaxInt64),
			option.WithHeaderDel("X-Stainless-Timeout"),
		),
	}, nil
}

// Name returns "provider/model".
func (m *Model) Name() string { return m.endpoint.Name }

// EndpointKey says which calls share a circuit breaker, a pacer and a retry
// budget with this model's; see [provider.Options].
func (m *Model) EndpointKey() endpoint.Key { return m.endpoint.Key() }

// Complete sends the request once. Invalid UTF-8 in its texts is replaced by
// U+FFFD, as encoding/json does.
//
// System messages are moved to the top, joined by an empty line. Consecutive
// messages of the same role become one turn, in which tool results come first.
// Blank text, and thinking that nothing follows, would be refused and is left
// out. Arguments of a tool call that are not a JSON object are sent as
// {"INVALID_JSON": "…"}, as Anthropic advises. Seed is an error: the API does not
// support it. Temperature is sent unchanged, though the API refuses any but 1
// since Claude Opus 4.7; so is an answer begun by the last message, which it
// refuses since Claude 4.6. Its errors say so.
//
// Extra must not hold stream, model or messages. Its output_config keeps the
// format that Schema asks for, unless it has one.
//
// A Schema is requested in the first of these ways that the model supports,
// judging by its name and by earlier requests that the server refused with a 400
// that says so:
//
//   - output_config.format, since Claude 4.5. The provider supports a part of
//     JSON Schema. Objects are closed, and what is not supported (lengths, ranges,
//     unusual formats) is moved into the description, as in its SDKs: the answer
//     may violate it, so check it by the whole schema.
//   - A call of a tool whose input is the answer, which is returned as text, where
//     the API allows a forced call: before Claude 5, without thinking, and on
//     other vendors' servers. If the caller has tools too, the model must call one
//     of them or that one.
//   - Instructions in the system prompt. This is what remains for a recursive
//     schema, for example.
//
// Every error is a [*failure.Error]. If the server responded, it wraps the SDK's
// *anthropic.Error, from which the key, the prompt and cookies are removed; of
// the response's body it has the first MiB. An answer that the model refused to
// give is an error of kind ContentFiltered. One that was cut off at the token
// limit, or at the end of the context window, is a Response; one that the
// provider paused (pause_turn) is a Response without a Finish. If ctx ended
// before the answer was complete, the error wraps ctx.Err().
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	params, p, err := m.params(req)
	if err != nil {
		return nil, m.endpoint.BadRequest(err)
	}
	x := &wire.Exchange{Endpoint: m.endpoint}
	var body []byte // x has it too; asking for bytes keeps the SDK from judging the Content-Type
	_, err = m.messages.New(ctx, params, option.WithMiddleware(x.Record), option.WithResponseBodyInto(&body))
	if err := m.failed(ctx, x, p, err); err != nil {
		return nil, err
	}
	return response(x, p.tool)
}

// failed returns the error of an exchange that was not a success, or nil, and
// remembers what it teaches.
func (m *Model) failed(ctx context.Context, x *wire.Exchange, p plan, err error) error {
	switch {
	case !x.Sent:
		return m.endpoint.BadRequest(err)
	case !x.Whole:
		return m.endpoint.Broken(ctx, err)
	case !x.Succeeded():
		refused := x.Refused(apiError(x, err))
		m.refusals.learn(p, refused)
		return refused
	}
	return nil
}

// apiError returns the SDK's error of a response, without what it holds of the
// request: the SDK's own has the key and the prompt, for DumpRequest. If the SDK
// made none, as for a redirect, a new one is made.
func apiError(x *wire.Exchange, err error) error {
	var api *sdk.Error
	if !errors.As(err, &api) {
		api = &sdk.Error{StatusCode: x.Status}
	}
	api.Response = x.KeptResponse()
	api.Request = api.Response.Request
	api.RequestID = x.Endpoint.Hide(api.RequestID)
	api.WorkspaceID = x.Endpoint.Hide(api.WorkspaceID)
	return api
}
