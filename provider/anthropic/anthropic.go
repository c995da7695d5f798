// Package anthropic is the adapter for Anthropic's Messages API, and for any
// server that speaks its protocol, on the official SDK with its retries
// switched off: one loop, above, owns them.
//
// Supported are text, system messages, pictures, tools, structured output (see
// Model.Complete), thinking, which is returned as llm.Reasoning and goes back
// unchanged, and streaming. Fields of Anthropic's own go into Request.Extra,
// {"thinking": {"type": "adaptive"}} say. Citations are left out of the answer.
//
// $ANTHROPIC_API_KEY and $ANTHROPIC_BASE_URL are read, and nothing else; see
// KeyVariable. The protocol is that of
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

// The environment variables that the zero Options read. No other is honored:
// not ANTHROPIC_AUTH_TOKEN, ANTHROPIC_PROFILE, ANTHROPIC_CUSTOM_HEADERS and the
// rest that the SDK's own client would read, nor ANTHROPIC_OPEN_TELEMETRY and
// its kin, since the SDK's spans are switched off: they may hold the prompt. (A
// proxy is found as net/http finds it, see http.ProxyFromEnvironment.)
const (
	KeyVariable     = "ANTHROPIC_API_KEY"
	BaseURLVariable = "ANTHROPIC_BASE_URL"
)

// DefaultBaseURL is Anthropic's own address.
const DefaultBaseURL = "https://api.anthropic.com"

// DefaultModel is the model to use when all that is known is a key: the small
// one, which Anthropic names for work in volume
// (https://platform.claude.com/docs/en/about-claude/models/overview).
const DefaultModel = "claude-haiku-5-5"

// DefaultMaxTokens is what a request without MaxTokens is sent with, since the
// API wants a limit. Every model since Claude 4 takes it, it leaves room for
// thinking, which counts, and it is below the 21,333 tokens from which on the
// SDK expects an answer to take more than ten minutes
// (anthropic.CalculateNonStreamingTimeout). To the models before, and to
// others, olderMaxTokens is sent.
const DefaultMaxTokens = 16_000

// olderMaxTokens is the most that every model of Claude 3 takes
// (https://platform.claude.com/docs/en/about-claude/models/overview), and
// leaves room for the prompt where a server counts both against a small window.
const olderMaxTokens = 4096

// placeholder is the key sent to a server on this machine when none is given:
// such servers ask for no key, but some ask for the header.
const placeholder = "none"

// Options says how to reach the server. The zero value is Anthropic, with the
// key in the environment.
type Options struct {
	// APIKey is sent as x-api-key to the base URL's host and to no other.
	// Default: $ANTHROPIC_API_KEY. It may be missing only if the base URL is on a
	// loopback address.
	APIKey string
	// BaseURL is what "/v1/messages" is added to: an http or https address
	// without user, query and fragment. Default: $ANTHROPIC_BASE_URL, else
	// DefaultBaseURL.
	BaseURL string
	// HTTPClient sends the requests. A redirect is followed only within the
	// base URL's origin and only if it keeps the method, whatever the client's
	// CheckRedirect says. Default: a client that all models share and that
	// waits at most 10 minutes for the header of a response, which comes only
	// with the whole answer unless it is streamed; the context given to Complete
	// bounds everything.
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: "anthropic/" and the model.
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
	refusals *refusals
	messages sdk.MessageService
}

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New makes a Model of the model that the server calls by this name
// ("claude-haiku-5-5"). It makes no call. An error names the field of Options,
// or the environment variable, that is missing or wrong.
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
// budget with the model's: those to the model of the same full name at the same
// address with the same API key, or of the same Options.Endpoint.
func (m *Model) EndpointKey() endpoint.Key { return m.endpoint.Key() }

// Complete sends the request, once. Text that is no valid UTF-8 is sent with
// U+FFFD in the place of what is wrong, as encoding/json does.
//
// System messages go to the top, wherever they stand, joined by an empty line.
// What follows each other in the same role is one turn; in it the results of
// tools come first. What is blank, and would be refused, is left out: text, and
// thinking that nothing follows. Arguments of a tool call that are no JSON
// object go as {"INVALID_JSON": "…"}, as Anthropic advises. Seed is an error:
// the API has none. Temperature goes as it is, though the API refuses any but 1
// since Claude Opus 4.7, and an answer begun by the last message though it
// refuses that since Claude 4.6: its error says so.
//
// Extra may not hold stream, model or messages. Its output_config keeps the
// format that Schema asks for, unless it brings one.
//
// A Schema is asked for in the first of these ways that the model has, as far
// as is known from its name and from what the server refused before with a 400
// that says so:
//
//   - output_config.format, since Claude 4.5. The provider takes a part of JSON
//     Schema. Objects are closed, and what it does not take (lengths, ranges,
//     odd formats) is moved into the description, as its SDKs do: the answer
//     may miss it, and a check by the whole schema stays needed.
//   - A call of a tool that the answer is the input of, which is returned as
//     text, where the API lets a call be forced: before Claude 5, without
//     thinking, and on servers of others. Beside tools of the caller's the model
//     has to call any of them or that one.
//   - Instructions in the system prompt. This is what is left for a recursive
//     schema, say.
//
// Every error is a *failure.Error. One that the server answered with wraps the
// SDK's *anthropic.Error, from which the key, the prompt and cookies are
// removed; of the response's body it has the first MiB. An answer that the
// model refused to give is an error of kind ContentFiltered. One that was cut
// off at the token limit, or at that of the context window, is a Response; one
// that the provider paused (pause_turn) is a Response without a Finish. When
// ctx ended before the answer was there, the error wraps ctx.Err().
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	params, plan, err := m.params(req)
	if err != nil {
		return nil, m.endpoint.BadRequest(err)
	}
	x := &wire.Exchange{Endpoint: m.endpoint}
	var body []byte // x has it too; asking for bytes keeps the SDK from judging the Content-Type
	_, err = m.messages.New(ctx, params, option.WithMiddleware(x.Record), option.WithResponseBodyInto(&body))
	if err := m.failed(ctx, x, plan, err); err != nil {
		return nil, err
	}
	return response(x, plan.tool)
}

// failed returns the error of an exchange that is no success, and keeps in mind
// what it teaches.
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

// apiError returns the SDK's error of a response, with what it holds of the
// request cleared: the SDK's own holds the key and the prompt, for
// DumpRequest. Where the SDK made none, of a redirect say, one is made.
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
