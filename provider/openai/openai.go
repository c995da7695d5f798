// Package openai is the adapter for OpenAI and for any server that speaks its
// protocol.
//
// A [Server] is a service, or a program that serves models, with what differs
// between them: address, key, and how a request is written. A [Model] is one model
// of one server by the chat completions API, which all servers have; a
// [Responses] is one by OpenAI's newer Responses API, which keeps the model's
// reasoning between the turns of a conversation with tools. Both are an
// [llm.Streamer] that sends a request by OpenAI's SDK and returns every failure as
// a [*failure.Error]. A request is sent once, and again only if the server refuses
// a part that the request can do without; the next one is without it. The SDK's own
// retries are switched off, because package [llmcall/retry] makes them.
//
// Importing the package registers a provider for each of the [Servers] with
// [provider.Open]; [New] and [NewResponses] make a model directly:
//
//	model, err := openai.New("gpt-6-luna", openai.Options{})
//
// The adapter supports text, images, tools, JSON Schemas and streaming. It reads
// the key and the address from the environment variables of the server, and for
// Azure OpenAI also OPENAI_API_VERSION. It reads no others: not OPENAI_ORG_ID,
// OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY or OPENAI_CUSTOM_HEADERS, which the SDK's
// own client would use. Proxies are those of [http.ProxyFromEnvironment].
//
// Sources: https://developers.openai.com/api/reference/resources/chat,
// https://developers.openai.com/api/reference/resources/responses; for the other
// servers see the table in servers.go.
package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/tidwall/gjson"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/media"
	"llmcall/provider/internal/wire"
)

// The environment variables that supply [Options.APIKey] and [Options.BaseURL] for
// OpenAI. Other servers have their own: [Server.KeyVariable],
// [Server.BaseURLVariable].
const (
	KeyVariable     = "OPENAI_API_KEY"
	BaseURLVariable = "OPENAI_BASE_URL"
)

// DefaultBaseURL is the address of OpenAI's API.
const DefaultBaseURL = "https://api.openai.com/v1"

// DefaultModel is the OpenAI model to use if the user names none: the small one,
// which OpenAI recommends for high volumes and as the successor of gpt-4o-mini,
// which shuts down on 2027-01-14
// (https://developers.openai.com/api/docs/deprecations).
const DefaultModel = "gpt-6-luna"

// placeholder is the key sent to a server that needs none: some require the
// header.
const placeholder = "none"

// Options says how to reach the server. The zero value is OpenAI's API, with the
// key in the environment.
type Options struct {
	// Server is the name of one of the [Servers]. It decides the defaults of the
	// other fields and how requests are written. Default: "openai".
	Server string
	// APIKey is sent to the host of the base URL only: to Azure in the header
	// api-key, to all others as a bearer token. Default: the variable
	// [Server.KeyVariable] of the environment, $OPENAI_API_KEY for OpenAI. It may be
	// missing only if the base URL is on this machine or in a private network (see
	// [provider.Options.APIKey]), or if [Server.KeyOptional] is set.
	APIKey string
	// BaseURL is the address to which "/chat/completions" or "/responses" is
	// appended: http or https, without user, query and fragment. Default: the
	// variable [Server.BaseURLVariable] of the environment, $OPENAI_BASE_URL for
	// OpenAI, else [Server.BaseURL]. For Azure, the address of the resource is
	// enough; see APIVersion.
	BaseURL string
	// APIVersion is for Azure: a date such as "2024-10-21" selects the API of that
	// date, which has the deployment in its path, and is sent as the query
	// api-version. Default: $OPENAI_API_VERSION, else the v1 API. It must be empty
	// for other servers.
	APIVersion string
	// HTTPClient sends the requests; see [provider.Options.HTTPClient].
	HTTPClient *http.Client
	// Name is the model's full name, "provider/model", for logs and errors.
	// Default: the server's name (for [NewResponses], followed by "-responses") and
	// the model.
	Name string
	// Endpoint is a name under which calls share a circuit breaker, a pacer and a
	// retry budget; see [provider.Options.Endpoint].
	Endpoint string
	// AllowPlainHTTP allows the key to be sent over plain http to a host on the
	// internet; see [provider.Options.AllowPlainHTTP].
	AllowPlainHTTP bool
	// Schema says how to request an answer that fits a schema. Default:
	// [Server.Schema]. If the server refuses the schema, the request is sent again one
	// step down: from "strict" to a hint, then to JSON mode, then to the prompt alone.
	// The [Model] remembers what was refused.
	Schema SchemaMode
}

// connection is what Model and Responses share: one model of one server.
type connection struct {
	endpoint *wire.Endpoint
	direct   wire.Direct
	server   Server
	schema   SchemaMode
	takes    media.Limits
	options  []option.RequestOption
	lacks    wire.Lacks
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
		return nil, fmt.Errorf("openai: APIVersion must be empty unless Server is %s, got %q", azure, opts.APIVersion)
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
	c := &connection{endpoint: served, server: server, schema: cmp.Or(opts.Schema, server.Schema), takes: mediaOf(server.Name, responses)}
	client := wire.Client(opts.HTTPClient)
	c.options = []option.RequestOption{option.WithHTTPClient(client), option.WithMaxRetries(0)}
	c.direct = wire.Direct{
		Endpoint: served, Protocol: wire.Chat, Client: client, Lacks: &c.lacks, Clean: apiError,
		Sign: func(header http.Header) { header["Authorization"] = []string{"Bearer " + cmp.Or(key, placeholder)} },
	}
	path := []string{"chat", "completions"}
	if responses {
		c.direct.Protocol, path = wire.Responses, []string{"responses"}
	}
	query := url.Values{}
	if server.Name == azure {
		version := strings.TrimSpace(cmp.Or(opts.APIVersion, os.Getenv(AzureAPIVersionVariable)))
		served.Base = azureBase(served.Base, served, version, responses)
		c.options = append(c.options, option.WithHeader("Api-Key", cmp.Or(key, placeholder)))
		c.direct.Sign = func(header http.Header) { header["Api-Key"] = []string{cmp.Or(key, placeholder)} }
		if version != "" {
			query.Set("api-version", version)
			c.options = append(c.options, option.WithQuery("api-version", version))
		}
	} else {
		c.options = append(c.options, option.WithAPIKey(cmp.Or(key, placeholder)))
	}
	c.options = append(c.options, option.WithBaseURL(served.Base.String()))
	c.direct.Whole = served.At(path...)
	c.direct.Whole.RawQuery = query.Encode()
	return c, nil
}

// Name returns "provider/model".
func (c *connection) Name() string { return c.endpoint.Name }

// Protocol returns the name of the protocol: "openai" for chat completions,
// "openai-responses" for responses.
func (c *connection) Protocol() string { return c.direct.Protocol }

// EndpointKey returns the key under which the model's calls share a circuit
// breaker, a pacer and a retry budget; see [provider.Options.Endpoint].
func (c *connection) EndpointKey() endpoint.Key { return c.endpoint.Key() }

// Model is one model of one server, called by the chat completions API. It is safe
// for concurrent use.
type Model struct {
	*connection
	completions sdk.ChatCompletionService
}

var (
	_ llm.Streamer   = (*Model)(nil)
	_ endpoint.Keyed = (*Model)(nil)
)

// New returns a [Model] for the model that the server knows as model
// ("gpt-6-luna"). It makes no request. The error names the field of [Options], or
// the environment variable, that is missing or invalid.
func New(model string, opts Options) (*Model, error) {
	c, err := connect(model, opts, false)
	if err != nil {
		return nil, err
	}
	// Unlike the SDK's Client, the service does not read the environment.
	return &Model{c, sdk.NewChatCompletionService(c.options...)}, nil
}

// Complete sends the request once, and again without each part that the server refuses
// and that the request can do without: the schema (see [Options.Schema]), or a system
// message, which then becomes a part of the user's. Invalid UTF-8 in the request's texts
// is replaced by U+FFFD, as encoding/json does. MaxTokens is sent as max_completion_tokens to
// OpenAI and Azure, whose newer models accept nothing else, and as max_tokens to
// every other server: all of them support it, and some silently ignore the newer
// name. Of several answers (n in Extra) the first is returned.
//
// Every error is a [*failure.Error]. If the server responded, it wraps the SDK's
// *openai.Error, without the key, the prompt and cookies, and with the first MiB
// of the response's body. If the model refused to answer, or the provider withheld
// the answer, the kind is [failure.ContentFiltered]. If ctx ended before the
// answer was complete, the error wraps ctx.Err(). An answer that was cut off at the
// token limit is a response with [llm.FinishLength].
//
// The model's reasoning, if the server shows it (reasoning_content, reasoning,
// reasoning_details), is an [llm.Reasoning] in the answer, and is sent back to
// that server only. DeepSeek refuses a conversation with tools that leaves it out
// (https://api-docs.deepseek.com/guides/thinking_mode#tool-calls).
func (m *Model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	return m.complete(ctx, req, m)
}

// Stream sends the request and yields the answer as it arrives. Requests and
// errors are those of [Model.Complete]. The finish reason ends an answer: a stream
// without one was cut off, with or without "[DONE]". A stream that breaks after
// its finish reason is an error, because there is no way to know what is missing.
// An answer that the server sends in one piece is accepted.
func (m *Model) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return m.stream(ctx, req, m)
}

func (m *Model) prepare(req *llm.Request, stream bool, steps *wire.Steps) (sender, asking, error) {
	params, asked, err := m.params(req, stream, steps)
	return func(ctx context.Context, opts ...option.RequestOption) error {
		_, err := m.completions.New(ctx, params, opts...)
		return err
	}, asked, err
}

func (m *Model) dialect() wire.Dialect { return chatDialect{} }

// chatDialect reads the answers of the chat completions API.
type chatDialect struct{}

func (chatDialect) Whole(x *wire.Exchange, body []byte) (*llm.Response, error) {
	return readCompletion(x, body)
}

func (chatDialect) Reader(x *wire.Exchange) wire.Reader { return &completionStream{x: x} }

// apiError returns the SDK's error without the key and the prompt, which the SDK
// keeps in it for DumpRequest. If the body was not JSON, the SDK returned its
// parser's error, and apiError makes one, as for a request without the SDK.
func apiError(x *wire.Exchange, err error) error {
	var api *sdk.Error
	if !errors.As(err, &api) {
		api = new(sdk.Error)
		if raw := gjson.GetBytes(x.Body, "error"); raw.IsObject() {
			_ = api.UnmarshalJSON([]byte(raw.Raw)) // what can't be read is in the response
		}
		api.StatusCode = x.Status
	}
	api.Response = x.KeptResponse()
	api.Request = api.Response.Request
	return api
}
