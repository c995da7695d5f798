// Package openai is the adapter for OpenAI, and for any server that speaks its
// protocol, on the official SDK with its retries switched off: one loop, above,
// owns them.
//
// New makes a model of the chat-completions API, which all servers know;
// NewResponses one of OpenAI's newer Responses API, which keeps what a model
// thought between the turns of a conversation with tools. Both take text,
// images, tools, JSON Schemas, and stream. The servers that are known by name
// are listed by Servers.
//
// The zero Options read OPENAI_API_KEY and OPENAI_BASE_URL from the
// environment; with Options.Server, the variables of the server's row, and for
// Azure OpenAI also OPENAI_API_VERSION. No other is honored: not OPENAI_ORG_ID,
// OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY nor OPENAI_CUSTOM_HEADERS, which the
// SDK's own client would read. (A proxy is found as net/http finds it, see
// http.ProxyFromEnvironment.)
//
// Sources: https://developers.openai.com/api/reference/resources/chat,
// https://developers.openai.com/api/reference/resources/responses; for the
// other servers see the table in servers.go.
package openai

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"os"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// The environment variables that the zero Options read.
const (
	KeyVariable     = "OPENAI_API_KEY"
	BaseURLVariable = "OPENAI_BASE_URL"
)

// DefaultBaseURL is OpenAI's own address.
const DefaultBaseURL = "https://api.openai.com/v1"

// DefaultModel is the model of OpenAI's to use when nobody named one: the small
// one that OpenAI recommends for work in volume, and in the place of
// gpt-4o-mini, which shuts down on 2027-01-14
// (https://developers.openai.com/api/docs/deprecations).
const DefaultModel = "gpt-6-luna"

// placeholder is the key sent to a server that asks for none when none is
// given: some ask for the header.
const placeholder = "none"

// Options says how to reach the server. The zero value is OpenAI, with the key
// in the environment.
type Options struct {
	// Server is the sort of server, by its name in Servers: it sets what follows
	// where that is not given, and how the server is spoken to. Default: OpenAI.
	Server string
	// APIKey is sent to the base URL's host and to no other: to Azure in the
	// header api-key, to all others as a bearer token. Default: the server's
	// environment variable, OPENAI_API_KEY. It may be missing only if the base
	// URL is on a loopback address, or if the server's row says so.
	APIKey string
	// BaseURL is what "/chat/completions" is added to: an http or https address
	// without user, query and fragment. Default: the server's environment
	// variable, OPENAI_BASE_URL, else the server's own address. For Azure, the
	// bare address of a resource is enough; see APIVersion.
	BaseURL string
	// APIVersion is Azure's: "2024-10-21" is sent as the query api-version, and
	// chooses the API of that date, with the deployment in the path. Default:
	// $OPENAI_API_VERSION, else none, and the v1 API. It must be empty for other
	// servers.
	APIVersion string
	// HTTPClient sends the requests. A redirect is followed only within the
	// base URL's origin and only if it keeps the method, whatever the client's
	// CheckRedirect says. Default: a client that all models share and that
	// waits at most 10 minutes for the header of a response; the context given
	// to Complete bounds everything.
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: the server's name (for NewResponses, with "-responses" added) and
	// the model.
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
	// Schema is how an answer of a given shape is asked for. Default: what the
	// server's row says. Where the server or the model then refuses it, with an
	// error that names it, that is remembered for the life of this Model, and
	// from the next request on the schema goes into the prompt.
	Schema SchemaMode
}

// connection is what the two APIs have in common: one model of one server.
type connection struct {
	endpoint *wire.Endpoint
	server   Server
	schema   SchemaMode
	options  []option.RequestOption
	lacks    lacks
}

func connect(model string, opts Options, responses bool) (*connection, error) {
	server, err := serverNamed(opts.Server)
	if err != nil {
		return nil, err
	}
	if err := opts.Schema.check(); err != nil {
		return nil, err
	}
	if opts.APIVersion != "" && server.Name != azure {
		return nil, errors.New("openai: APIVersion: must be empty unless Server is " + azure)
	}
	name := opts.Name
	if name == "" && responses {
		name = server.Name + "-responses/" + model
	}
	served, key, err := wire.New(wire.Config{
		Protocol: classify.OpenAI, Provider: server.Name, Model: model, Example: cmp.Or(server.Model, DefaultModel), Name: name,
		BaseURL: opts.BaseURL, BaseURLVariable: server.BaseURLVariable, DefaultBaseURL: server.BaseURL,
		APIKey: opts.APIKey, KeyVariables: []string{server.KeyVariable}, KeyOptional: server.KeyOptional,
		Share: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
	})
	if err != nil {
		return nil, err
	}
	if opts.Server == "" && !ownHost(served.Base.Hostname()) {
		server.MaxTokens = legacy
	}
	c := &connection{endpoint: served, server: server, schema: cmp.Or(opts.Schema, server.Schema)}
	c.options = []option.RequestOption{option.WithHTTPClient(wire.Client(opts.HTTPClient)), option.WithMaxRetries(0)}
	if server.Name == azure {
		version := strings.TrimSpace(cmp.Or(opts.APIVersion, os.Getenv(AzureAPIVersionVariable)))
		served.Base = azureBase(served.Base, served, version, responses)
		c.options = append(c.options, option.WithHeader("Api-Key", cmp.Or(key, placeholder)))
		if version != "" {
			c.options = append(c.options, option.WithQuery("api-version", version))
		}
	} else {
		c.options = append(c.options, option.WithAPIKey(cmp.Or(key, placeholder)))
	}
	c.options = append(c.options, option.WithBaseURL(served.Base.String()))
	return c, nil
}

// Name returns "provider/model".
func (c *connection) Name() string { return c.endpoint.Name }

// EndpointKey says which calls share a circuit breaker, a pacer and a retry
// budget with the model's: those to the model of the same full name at the same
// address with the same API key, or of the same Options.Endpoint.
func (c *connection) EndpointKey() endpoint.Key { return c.endpoint.Key() }

// failed returns the error of an exchange that brought no success. asked is
// what the request asked for that the server may not have; err is the SDK's.
func (c *connection) failed(ctx context.Context, x *wire.Exchange, asked feature, err error) error {
	switch {
	case !x.Sent:
		return c.endpoint.BadRequest(err)
	case !x.Whole:
		return c.endpoint.Broken(ctx, err)
	case x.Succeeded():
		return nil
	}
	refused := x.Refused(apiError(x, err))
	if f, ok := errors.AsType[*failure.Error](refused); ok && c.learn(f, asked) {
		f.Kind, f.Adapted, f.NoRetry = failure.Transient, true, false // it is not the same request
	}
	return refused
}

// Model is one model of one server, by the chat-completions API. It is safe for
// use from many goroutines.
type Model struct {
	*connection
	completions sdk.ChatCompletionService
}

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New makes a Model of the model that the server calls by this name
// ("gpt-6-luna"). It makes no call. An error names the field of Options, or the
// environment variable, that is missing or wrong.
func New(model string, opts Options) (*Model, error) {
	c, err := connect(model, opts, false)
	if err != nil {
		return nil, err
	}
	// The service alone, without the SDK's Client, reads no environment.
	return &Model{c, sdk.NewChatCompletionService(c.options...)}, nil
}

// Complete sends the request, once. Text that is no valid UTF-8 is sent with
// U+FFFD in the place of what is wrong, as encoding/json does. MaxTokens is
// sent as max_completion_tokens to OpenAI and Azure, whose newer models take
// nothing else, and as max_tokens to every other server: all of them know it,
// and some ignore the newer name in silence. Of several answers (Extra's n)
// the first is returned.
//
// Every error is a *failure.Error. One that the server answered with wraps the
// SDK's *openai.Error, from which the key, the prompt and cookies are removed;
// of the response's body it has the first MiB.
// An answer that the model refused to give, or that the provider withheld, is
// an error of kind ContentFiltered. One that was cut off at the token limit is
// a Response. When ctx ended before the answer was there, the error wraps
// ctx.Err(). A server that refuses what it lacks (see Options.Schema) is an
// error of kind Transient the first time: the next attempt asks without it.
//
// What the model thought, where the server shows it (reasoning_content,
// reasoning, reasoning_details), is a part of the answer as llm.Reasoning, and
// goes back to that server and no other: DeepSeek refuses a conversation with
// tools that leaves it out
// (https://api-docs.deepseek.com/guides/thinking_mode#tool-calls).
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	return m.complete(ctx, req, m)
}

// Stream sends the request, once, and yields the answer as it comes. What
// Complete says of requests and errors holds here too. The reason to stop is
// what ends an answer: a stream without one was cut off, with or without a
// [DONE]. One that has it and breaks before its end is an error, since what is
// missing can't be known. A server that ignores the wish for a stream, and
// answers in one piece, is understood.
func (m *Model) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return m.stream(ctx, req, m)
}

func (m *Model) prepare(req *llm.Request, stream bool) (sender, feature, error) {
	params, asked, err := m.params(req, stream)
	return func(ctx context.Context, opts ...option.RequestOption) error {
		_, err := m.completions.New(ctx, params, opts...)
		return err
	}, asked, err
}

func (m *Model) whole(x *wire.Exchange) (*llm.Response, error) { return response(x) }

func (m *Model) events(x *wire.Exchange) reader { return &completion{x: x} }

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
