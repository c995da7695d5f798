// Package provider opens a model by its full name, "provider/model".
package provider

import (
	"fmt"
	"net/http"
	"strings"

	"llmcall/llm"
	"llmcall/provider/openai"
)

// DefaultOpenAI is the model used when all that is known is a key of OpenAI's:
// the small one that OpenAI recommends for work in volume, and in the place of
// gpt-4o-mini, which shuts down on 2027-01-14
// (https://developers.openai.com/api/docs/deprecations).
const DefaultOpenAI = "openai/gpt-6-luna"

// Options says how to reach a provider. Keys are read from the environment
// alone, by the name that the provider itself uses. The zero value works.
type Options struct {
	// BaseURL is the address of a server that speaks the provider's protocol.
	// Default: the provider's environment variable, else its own address.
	BaseURL string
	// HTTPClient sends the requests. Default: one that all models share.
	HTTPClient *http.Client
}

// providers is all there is to know about a provider here, a row each. Default
// asks for the keys in this order.
var providers = []struct {
	name         string
	keyVariable  string
	defaultModel string
	open         func(model string, opts Options) (llm.Model, error)
}{
	{"openai", openai.KeyVariable, DefaultOpenAI, openOpenAI},
}

func openOpenAI(model string, opts Options) (llm.Model, error) {
	m, err := openai.New(model, openai.Options{BaseURL: opts.BaseURL, HTTPClient: opts.HTTPClient})
	if err != nil {
		return nil, err // not m: a nil *openai.Model is no nil llm.Model
	}
	return m, nil
}

// Open makes the model of a full name: what stands before the first slash picks
// the provider, the rest is the model as the provider calls it. It makes no
// call. An unknown provider, or a name that is not of this form, is an error
// that lists the known providers; a missing key is one that names the
// environment variable.
func Open(name string, opts Options) (llm.Model, error) {
	prefix, model, _ := strings.Cut(name, "/")
	var known []string
	for _, p := range providers {
		if p.name == prefix && model != "" {
			return p.open(model, opts)
		}
		known = append(known, p.name)
	}
	return nil, fmt.Errorf("model %q: takes provider/model, such as %s; the providers are: %s",
		name, DefaultOpenAI, strings.Join(known, ", "))
}

// Default returns the full name of the model to use when nobody named one: that
// of the first provider whose key is in the environment, which getenv reads
// (os.Getenv). Without any key, ok is false.
func Default(getenv func(string) string) (name string, ok bool) {
	for _, p := range providers {
		if strings.TrimSpace(getenv(p.keyVariable)) != "" {
			return p.defaultModel, true
		}
	}
	return "", false
}
