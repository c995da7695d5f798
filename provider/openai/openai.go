// Package openai is the adapter for OpenAI, and for any server that speaks its
// chat-completions protocol, on the official SDK with its retries switched off:
// one loop, above, owns them.
package openai

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"llmcall/classify"
	"llmcall/llm"
	"llmcall/provider/wire"
)

// The environment variables that the zero Options read. No other is honored:
// not OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY nor
// OPENAI_CUSTOM_HEADERS, which the SDK's own client would read. (A proxy is
// found as net/http finds it, see http.ProxyFromEnvironment.)
const (
	KeyVariable     = "OPENAI_API_KEY"
	BaseURLVariable = "OPENAI_BASE_URL"
)

// DefaultBaseURL is OpenAI's own address.
const DefaultBaseURL = "https://api.openai.com/v1"

// placeholder is the key sent to a server on this machine when none is given:
// such servers ask for no key, but some ask for the header.
const placeholder = "none"

// Options says how to reach the server. The zero value is OpenAI, with the key
// in the environment.
type Options struct {
	// APIKey is sent as a bearer token to the base URL's host and to no other.
	// Default: $OPENAI_API_KEY. It may be missing only if the base URL is on a
	// loopback address.
	APIKey string
	// BaseURL is what "/chat/completions" is added to: an http or https address
	// without user, query and fragment. Default: $OPENAI_BASE_URL, else
	// DefaultBaseURL.
	BaseURL string
	// HTTPClient sends the requests. A redirect is followed only within the
	// base URL's origin and only if it keeps the method, whatever the client's
	// CheckRedirect says. Default: a client that all models share and that
	// waits at most 10 minutes for the header of a response; the context given
	// to Complete bounds everything.
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", the key under which
	// calls share a circuit breaker. Give one for a server other than OpenAI's,
	// so that its failures don't open OpenAI's circuit. Default: "openai/" and
	// the model.
	Name string
}

// Model is one model of one server. It is safe for use from many goroutines.
type Model struct {
	endpoint    *wire.Endpoint
	legacyLimit bool // the server may know only max_tokens
	completions sdk.ChatCompletionService
}

var _ llm.Model = (*Model)(nil)

// New makes a Model of the model that the server calls by this name
// ("gpt-6-luna"). It makes no call. An error names the field of Options, or the
// environment variable, that is missing or wrong.
func New(model string, opts Options) (*Model, error) {
	endpoint, key, err := wire.New(wire.Config{
		Protocol: classify.OpenAI, Provider: classify.OpenAI, Model: model, Example: "gpt-6-luna", Name: opts.Name,
		BaseURL: opts.BaseURL, BaseURLVariable: BaseURLVariable, DefaultBaseURL: DefaultBaseURL,
		APIKey: opts.APIKey, KeyVariables: []string{KeyVariable},
	})
	if err != nil {
		return nil, err
	}
	return &Model{
		endpoint:    endpoint,
		legacyLimit: !ownHost(endpoint.Base.Hostname()),
		// The service alone, without the SDK's Client, reads no environment.
		completions: sdk.NewChatCompletionService(
			option.WithBaseURL(endpoint.Base.String()),
			option.WithAPIKey(cmp.Or(key, placeholder)),
			option.WithHTTPClient(wire.Client(opts.HTTPClient)),
			option.WithMaxRetries(0),
		),
	}, nil
}

// Name returns "provider/model".
func (m *Model) Name() string { return m.endpoint.Name }

// Complete sends the request, once. Text that is no valid UTF-8 is sent with
// U+FFFD in the place of what is wrong, as encoding/json does. MaxTokens is
// sent as max_completion_tokens to OpenAI and Azure, whose newer models take
// nothing else, and as max_tokens to every other server: all of them know it,
// and some ignore the newer name in silence.
//
// Every error is a *failure.Error. One that the server answered with wraps the
// SDK's *openai.Error, from which the key, the prompt and cookies are removed;
// of the response's body it has the first MiB.
// An answer that the model refused to give, or that the provider withheld, is
// an error of kind ContentFiltered. One that was cut off at the token limit is
// a Response. When ctx ended before the answer was there, the error wraps
// ctx.Err().
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	params, err := m.params(req)
	if err != nil {
		return nil, m.endpoint.BadRequest(err)
	}
	x := wire.Exchange{Endpoint: m.endpoint}
	var body []byte // x has it too; asking for bytes keeps the SDK from judging the Content-Type
	_, err = m.completions.New(ctx, params, option.WithMiddleware(x.Record), option.WithResponseBodyInto(&body))
	switch {
	case !x.Sent:
		return nil, m.endpoint.BadRequest(err)
	case !x.Whole:
		return nil, m.endpoint.Broken(ctx, err)
	case !x.Succeeded():
		return nil, x.Refused(apiError(&x, err))
	}
	return response(&x)
}

// apiError returns the SDK's error of a response, with what it holds of the
// request cleared: the SDK's own holds the key and the prompt, for
// DumpRequest. Where the body is no JSON, the SDK returned its parser's error,
// and one is made.
func apiError(x *wire.Exchange, err error) error {
	var api *sdk.Error
	if !errors.As(err, &api) {
		api = &sdk.Error{StatusCode: x.Status}
	}
	api.Response = x.KeptResponse()
	api.Request = api.Response.Request
	return api
}

// ownHost reports whether host is OpenAI's, one of its regions, or Azure's.
func ownHost(host string) bool {
	host = strings.ToLower(host)
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com") || strings.HasSuffix(host, ".openai.azure.com")
}
