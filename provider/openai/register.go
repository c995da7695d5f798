package openai

import (
	"llmcall/classify"
	"llmcall/llm"
	"llmcall/provider"
)

// Each server is a provider, and a server with the Responses API is a second one,
// with "-responses" added to its name. The second has no default model, because
// both have the same key.
func init() {
	for _, s := range servers {
		p := provider.Provider{
			Name: s.Name, Protocol: classify.OpenAI, KeyVariable: s.KeyVariable, KeyOptional: s.KeyOptional,
			BaseURL: s.BaseURL, BaseURLVariable: s.BaseURLVariable,
		}
		if s.Responses {
			second := p
			second.Name += "-responses"
			provider.Register(second, func(model string, opts provider.Options) (llm.Model, error) {
				return NewResponses(model, s.options(opts))
			})
		}
		if s.Model != "" {
			p.Default = s.Name + "/" + s.Model
		}
		provider.Register(p, func(model string, opts provider.Options) (llm.Model, error) {
			return New(model, s.options(opts))
		})
	}
}

func (s Server) options(opts provider.Options) Options {
	return Options{
		Server: s.Name, APIKey: opts.APIKey, BaseURL: opts.BaseURL, HTTPClient: opts.HTTPClient,
		Endpoint: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
	}
}
