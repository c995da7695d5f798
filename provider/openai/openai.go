// Package openai is the adapter for OpenAI, and for any server that speaks its
// chat-completions protocol, on the official SDK with its retries switched off:
// one loop, above, owns them.
package openai

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"llmcall/llm"
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
	model       string // as the server calls it
	name        string
	hide        func(text string) string // cuts the key out; no field holds it, so that no %+v prints it
	legacyLimit bool                     // the server may know only max_tokens
	completions sdk.ChatCompletionService
}

var _ llm.Model = (*Model)(nil)

// New makes a Model of the model that the server calls by this name
// ("gpt-6-luna"). It makes no call. An error names the field of Options, or the
// environment variable, that is missing or wrong.
func New(model string, opts Options) (*Model, error) {
	if model == "" || strings.ContainsFunc(model, notInName) {
		return nil, fmt.Errorf("openai: model %q: takes a name without spaces, such as gpt-6-luna", model)
	}
	name := cmp.Or(opts.Name, "openai/"+model)
	if prefix, rest, _ := strings.Cut(name, "/"); prefix == "" || rest == "" || strings.ContainsFunc(name, notInName) {
		return nil, fmt.Errorf("openai: Name %q: takes provider/model, without spaces", name)
	}
	base, err := baseURL(opts.BaseURL)
	if err != nil {
		return nil, err
	}
	key, err := apiKey(opts.APIKey, base)
	if err != nil {
		return nil, err
	}
	client := sharedClient()
	if opts.HTTPClient != nil {
		client = opts.HTTPClient
	}
	return &Model{
		model:       model,
		name:        name,
		hide:        hide(key),
		legacyLimit: !ownHost(base.Hostname()),
		// The service alone, without the SDK's Client, reads no environment.
		completions: sdk.NewChatCompletionService(
			option.WithBaseURL(base.String()),
			option.WithAPIKey(cmp.Or(key, placeholder)),
			option.WithHTTPClient(stayHome(client)),
			option.WithMaxRetries(0),
		),
	}, nil
}

// Name returns "provider/model".
func (m *Model) Name() string { return m.name }

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
		return nil, m.badRequest(err)
	}
	x := exchange{hide: m.hide}
	var body []byte // x has it too; asking for bytes keeps the SDK from judging the Content-Type
	_, err = m.completions.New(ctx, params, option.WithMiddleware(x.record), option.WithResponseBodyInto(&body))
	switch {
	case !x.sent:
		return nil, m.badRequest(err)
	case !x.whole:
		return nil, m.broken(ctx, err)
	case x.status < 200 || x.status > 299:
		return nil, m.refused(&x, err)
	}
	return m.response(&x)
}

func notInName(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }

func apiKey(given string, base *url.URL) (string, error) {
	source := "APIKey"
	if given == "" {
		source, given = "the environment variable "+KeyVariable, os.Getenv(KeyVariable)
	}
	key := strings.TrimSpace(given) // a key read from a file ends with a newline
	if key == "" {
		if loopback(base.Hostname()) {
			return "", nil
		}
		return "", fmt.Errorf("openai: no API key: set the environment variable %s, or Options.APIKey", KeyVariable)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("openai: %s: takes a key of printable ASCII characters without spaces", source)
	}
	return key, nil
}

// hide returns what replaces the key in text from outside: some servers quote it.
func hide(key string) func(string) string {
	if key == "" {
		return func(text string) string { return text }
	}
	return func(text string) string { return strings.ReplaceAll(text, key, "[key]") }
}

func baseURL(given string) (*url.URL, error) {
	source := "BaseURL"
	if given == "" {
		if given = os.Getenv(BaseURLVariable); given != "" {
			source = "the environment variable " + BaseURLVariable
		} else {
			given = DefaultBaseURL
		}
	}
	base, err := url.Parse(strings.TrimSpace(given))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" ||
		base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "" {
		// What was given is not repeated: it may hold a password, or be the key
		// by mistake. Nor is url.Parse's error, which quotes from it.
		return nil, fmt.Errorf("openai: %s: takes an http or https address such as %s, without user, query and fragment",
			source, DefaultBaseURL)
	}
	return base, nil
}

func loopback(host string) bool {
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
}

// ownHost reports whether host is OpenAI's, one of its regions, or Azure's.
func ownHost(host string) bool {
	host = strings.ToLower(host)
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com") || strings.HasSuffix(host, ".openai.azure.com")
}

// sharedClient is one for all models, so that they share connections. The limit
// on the wait for a header is the SDK's own.
var sharedClient = sync.OnceValue(func() *http.Client {
	shared, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // replaced by the program, for tracing say: it knows what it wants
		return http.DefaultClient
	}
	transport := shared.Clone()
	transport.ResponseHeaderTimeout = 10 * time.Minute
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	return &http.Client{Transport: transport}
})
