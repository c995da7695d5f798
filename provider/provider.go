// Package provider opens a model by its full name, "provider/model".
package provider

import (
	"fmt"
	"net/http"
	"strings"

	"llmcall/classify"
	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/gemini"
	"llmcall/provider/openai"
)

// DefaultOpenAI is the model used when all that is known is a key of OpenAI's;
// see openai.DefaultModel.
const DefaultOpenAI = "openai/" + openai.DefaultModel

// Options says how to reach a provider. The zero value works where the
// provider's key is in the environment.
type Options struct {
	// APIKey is the provider's key: two tenants with a key each open a model each.
	// Default: the provider's environment variable, see Provider.KeyVariable.
	APIKey string
	// BaseURL is the address of a server that speaks the provider's protocol.
	// Default: the provider's environment variable, else its own address.
	BaseURL string
	// HTTPClient sends the requests. Default: one that all models share.
	HTTPClient *http.Client
	// Endpoint is the name of what the model's calls share with others: a circuit
	// breaker, a pacer and a retry budget. It is shown in logs. Default: calls
	// share these by the model's full name, the address and the API key.
	Endpoint string
	// AllowPlainHTTP lets the key go over plain http to a host of the internet.
	// Default: it goes so only to this machine and to private networks; Open
	// refuses any other.
	AllowPlainHTTP bool
}

// Provider is what can stand before the first slash of a model's full name.
type Provider struct {
	Name        string // "openai"
	Protocol    string // whose protocol and words: classify.OpenAI, Anthropic, Gemini
	KeyVariable string // the environment variable of its key, where Options has none
	KeyOptional bool   // it may need no key, wherever it runs
	BaseURL     string // its own address; "" if there is none
	// BaseURLVariable is the environment variable of an address to use in the
	// place of BaseURL; "" if there is none.
	BaseURLVariable string
	// Default is the full name of the model to use when nobody named one; "" if
	// the choice is the user's, as with a server that has the models it was given.
	Default string

	open func(model string, opts Options) (llm.Model, error)
}

// providers is all there is to know about a provider here, a row each. Default
// asks for the keys in this order.
var providers = []Provider{
	chat("openai"),
	responses("openai"),
	{
		Name: "anthropic", Protocol: classify.Anthropic, KeyVariable: anthropic.KeyVariable, BaseURL: anthropic.DefaultBaseURL,
		Default: "anthropic/" + anthropic.DefaultModel,
		open: func(model string, opts Options) (llm.Model, error) {
			return made(anthropic.New(model, anthropic.Options{
				APIKey: opts.APIKey, BaseURL: opts.BaseURL, HTTPClient: opts.HTTPClient,
				Endpoint: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
			}))
		},
	},
	{
		Name: "gemini", Protocol: classify.Gemini, KeyVariable: gemini.KeyVariable, BaseURL: gemini.DefaultBaseURL,
		Default: "gemini/" + gemini.DefaultModel,
		open: func(model string, opts Options) (llm.Model, error) {
			return made(gemini.New(model, gemini.Options{
				APIKey: opts.APIKey, BaseURL: opts.BaseURL, HTTPClient: opts.HTTPClient,
				Endpoint: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
			}))
		},
	},
	chat("azure"),
	responses("azure"),
	chat("openrouter"),
	chat("groq"),
	chat("together"),
	chat("deepseek"),
	chat("vllm"),
	chat("llamacpp"),
	chat("ollama"),
}

// chat makes the row of a server that speaks OpenAI's protocol.
func chat(server string) Provider {
	return row(server, server, func(model string, opts openai.Options) (llm.Model, error) { return made(openai.New(model, opts)) })
}

// responses makes the row of the same server, spoken to by the Responses API.
// It has no default: the same key has one with the first row.
func responses(server string) Provider {
	p := row(server+"-responses", server, func(model string, opts openai.Options) (llm.Model, error) {
		return made(openai.NewResponses(model, opts))
	})
	p.Default = ""
	return p
}

func row(name, server string, open func(string, openai.Options) (llm.Model, error)) Provider {
	p := Provider{Name: name, Protocol: classify.OpenAI, open: func(model string, opts Options) (llm.Model, error) {
		return open(model, openai.Options{
			Server: server, APIKey: opts.APIKey, BaseURL: opts.BaseURL, HTTPClient: opts.HTTPClient,
			Endpoint: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
		})
	}}
	for _, s := range openai.Servers() {
		if s.Name == server {
			p.KeyVariable, p.KeyOptional, p.BaseURL, p.BaseURLVariable = s.KeyVariable, s.KeyOptional, s.BaseURL, s.BaseURLVariable
			if s.Model != "" {
				p.Default = name + "/" + s.Model
			}
		}
	}
	return p
}

// made returns a model, or the error of making it: a nil *openai.Model is no
// nil llm.Model.
func made[M llm.Model](m M, err error) (llm.Model, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// All returns the providers that Open knows, in the order of their table.
func All() []Provider { return append([]Provider{}, providers...) }

// Names returns the names of the providers that Open knows.
func Names() []string {
	var names []string
	for _, p := range providers {
		names = append(names, p.Name)
	}
	return names
}

// Open makes the model of a full name: what stands before the first slash picks
// the provider, the rest is the model as the provider calls it. It makes no
// call. A name that ends with "-responses" is the provider without that, spoken
// to by OpenAI's Responses API.
//
// An unknown provider, or a name that is not of this form, is an error that
// lists the known providers; a missing key is one that names the environment
// variable.
func Open(name string, opts Options) (llm.Model, error) {
	prefix, model, _ := strings.Cut(name, "/")
	for _, p := range providers {
		if p.Name == prefix && model != "" {
			return p.open(model, opts)
		}
	}
	return nil, fmt.Errorf("model %q: takes provider/model, such as %s; the providers are: %s",
		name, DefaultOpenAI, strings.Join(Names(), ", "))
}

// Default returns the full name of the model to use when nobody named one: that
// of the first provider whose key is in the environment, which getenv reads
// (os.Getenv). Without the key of a provider that has a default, ok is false.
func Default(getenv func(string) string) (name string, ok bool) {
	for _, p := range providers {
		if p.Default != "" && strings.TrimSpace(getenv(p.KeyVariable)) != "" {
			return p.Default, true
		}
	}
	return "", false
}
