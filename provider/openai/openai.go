// Package openai is the adapter for OpenAI, and for any server that speaks its
// protocol. It uses the official SDK with its retries switched off, because
// package retry makes them. Importing it registers the [Servers] with package
// provider.
//
// [New] makes a model of the chat completions API, which all servers have;
// [NewResponses] one of OpenAI's newer Responses API, which keeps the model's
// reasoning between the turns of a conversation with tools. Both support text,
// images, tools, JSON Schemas and streaming.
//
// The zero [Options] read OPENAI_API_KEY and OPENAI_BASE_URL from the
// environment; with Options.Server, the variables of that server, and for Azure
// OpenAI also OPENAI_API_VERSION. No other variable is read: not OPENAI_ORG_ID,
// OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY or OPENAI_CUSTOM_HEADERS, which the SDK's
// own client would use. (A proxy is found as net/http finds it, see
// [http.ProxyFromEnvironment].)
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

// DefaultBaseURL is the address of OpenAI.
const DefaultBaseURL = "https://api.openai.com/v1"

// DefaultModel is the OpenAI model to use when none is named: the small one that
// OpenAI recommends for high volumes, and as the successor of gpt-4o-mini, which
// shuts down on 2027-01-14
// (https://developers.openai.com/api/docs/deprecations).
const DefaultModel = "gpt-6-luna"

// placeholder is sent as the key to a server that needs none: some require the
// header.
const placeholder = "none"

// Options says how to reach the server. The zero value is OpenAI, with the key
// in the environment.
type Options struct {
	// Server is the kind of server, by its name in [Servers]. It sets the defaults
	// of the other fields, and how requests are written. Default: OpenAI.
	Server string
	// APIKey is sent to the host of the base URL and to no other: to Azure in the
	// header api-key, to all others as a bearer token. Default: the server's
	// environment variable, OPENAI_API_KEY for OpenAI. It may be missing only if
	// the base URL is on a loopback address, or if [Server.KeyOptional] is set.
	APIKey string
	// BaseURL is the address that "/chat/completions" or "/responses" is added to:
	// http or https, without user, query and fragment. Default: the server's
	// environment variable, OPENAI_BASE_URL for OpenAI, else the server's own
	// address. For Azure, the address of the resource is enough; see APIVersion.
	BaseURL string
	// APIVersion is for Azure: "2024-10-21" is sent as the query api-version, and
	// selects the API of that date, which has the deployment in its path. Default:
	// $OPENAI_API_VERSION; if that is empty too, the v1 API is used. It must be
	// empty for other servers.
	APIVersion string
	// HTTPClient sends the requests; see [provider.Options].
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: the server's name (for NewResponses, with "-responses" added) and
	// the model.
	Name string
	// Endpoint names what the model's calls share with others; see
	// [provider.Options].
	Endpoint string
	// AllowPlainHTTP permits sending the key over plain http to a host on the
	// internet; see [provider.Options].
	AllowPlainHTTP bool
	// Schema is how an answer of a given shape is requested. Default:
	// [Server.Schema]. If the server or the model refuses it, with an error that
	// names it, this is remembered for the life of the [Model], and later requests
	// have the schema in their prompt.
	Schema SchemaMode
}

// connection is what the two APIs share: one model of one server.
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
// budget with this model's; see [provider.Options].
func (c *connection) EndpointKey() endpoint.Key { return c.endpoint.Key() }

// failed returns the error of an exchange that was not a success, or nil. asked
// is what the request asked for and the server may lack; err is the SDK's error.
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
		f.Kind, f.Adapted, f.NoRetry = failure.Transient, true, false // the next request is a different one
	}
	return refused
}

// Model is one model of one server, by the chat completions API. It is safe for
// concurrent use.
type Model struct {
	*connection
	completions sdk.ChatCompletionService
}

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New makes a [Model] of the model that the server calls by this name
// ("gpt-6-luna"). It makes no request. An error names the field of Options, or
// the environment variable, that is missing or invalid.
func New(model string, opts Options) (*Model, error) {
	c, err := connect(model, opts, false)
	if err != nil {
		return nil, err
	}
	// The service alone, without the SDK's Client, reads no environment.
	return &Model{c, sdk.NewChatCompletionService(c.options...)}, nil
}

// Complete sends the request once. Invalid UTF-8 in its texts is replaced by
// U+FFFD, as encoding/json does. MaxTokens is sent as max_completion_tokens to
// OpenAI and Azure, whose newer models accept nothing else, and as max_tokens to
// every other server: all of them support it, and some silently ignore the newer
// name. Of several answers (Extra's n) the first is returned.
//
// Every error is a [*failure.Error]. If the server responded, it wraps the SDK's
// *openai.Error, from which the key, the prompt and cookies are removed; of the
// response's body it has the first MiB.
// An answer that the model refused to give, or that the provider withheld, is
// an error of kind ContentFiltered. One that was cut off at the token limit is
// a Response. If ctx ended before the answer was complete, the error wraps
// ctx.Err(). If the server refuses what it lacks (see Options.Schema), the error
// is of kind Transient the first time: the next attempt asks without it.
//
// The model's reasoning, if the server shows it (reasoning_content, reasoning,
// reasoning_details), is a part of the answer as [llm.Reasoning], and is sent
// back to that server only: DeepSeek refuses a conversation with tools that
// leaves it out
// (https://api-docs.deepseek.com/guides/thinking_mode#tool-calls).
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	return m.complete(ctx, req, m)
}

// Stream sends the request once, and yields the answer as it arrives. Requests
// and errors are as described at [Model.Complete]. The finish reason ends an
// answer: a stream without one was cut off, with or without "[DONE]". A stream
// that has one and breaks before its end is an error, since what is missing
// can't be known. A server that answers in one piece in spite of the request is
// understood.
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

func (m *Model) whole(x *wire.Exchange) (*llm.Response, error) { return readCompletion(x) }

func (m *Model) events(x *wire.Exchange) reader { return &completionStream{x: x} }

// apiError returns the SDK's error of a response, without what it holds of the
// request: the SDK's own has the key and the prompt, for DumpRequest. If the
// body is not JSON, the SDK returned its parser's error, and a new one is made.
func apiError(x *wire.Exchange, err error) error {
	var api *sdk.Error
	if !errors.As(err, &api) {
		api = &sdk.Error{StatusCode: x.Status}
	}
	api.Response = x.KeptResponse()
	api.Request = api.Response.Request
	return api
}
