package gemini

import (
	"llmcall/classify"
	"llmcall/llm"
	"llmcall/provider"
)

func init() {
	provider.Register(provider.Provider{
		Name: "gemini", Protocol: classify.Gemini, KeyVariable: KeyVariable, SecondKeyVariable: SecondKeyVariable, BaseURL: DefaultBaseURL, BaseURLVariable: BaseURLVariable,
		Default: "gemini/" + DefaultModel,
	}, func(model string, opts provider.Options) (llm.Model, error) {
		return New(model, Options{
			APIKey: opts.APIKey, BaseURL: opts.BaseURL, HTTPClient: opts.HTTPClient,
			Endpoint: opts.Endpoint, AllowPlainHTTP: opts.AllowPlainHTTP,
		})
	})
}
