package protocol

import (
	"net/http"
	"strings"
)

// Endpoint is what a path leads to.
type Endpoint struct {
	Method   string // the HTTP method
	Protocol Protocol
	For      Purpose
	Name     string // the model of ModelInfo, the answer of KeptAnswer and EndAnswer; else ""
}

// Purpose is what an endpoint is for.
type Purpose int

// The purposes.
const (
	Answers    Purpose = iota // an answer of the model
	Embeddings                // texts as vectors; the protocol is an [Embedder]
	TokenCount                // the number of a request's tokens; the protocol is a [Counter]
	ModelList                 // the models
	ModelInfo                 // one of the models
	KeptAnswer                // an answer that is kept, to fetch or delete; the protocol is [Responses]
	EndAnswer                 // an answer in the background, to cancel; the protocol is [Responses]
)

// Allows reports whether the endpoint has an HTTP method.
func (e Endpoint) Allows(method string) bool {
	return method == e.Method || method == http.MethodDelete && e.For == KeptAnswer
}

// Shared reports whether clients of other protocols request the same path.
func (e Endpoint) Shared() bool { return e.For == ModelList || e.For == ModelInfo }

// endpoints are the paths without a prefix, except Gemini's.
var endpoints = map[string]Endpoint{
	"/chat/completions":       {Method: http.MethodPost, Protocol: Chat{}},
	"/embeddings":             {Method: http.MethodPost, Protocol: Chat{}, For: Embeddings},
	"/responses":              {Method: http.MethodPost, Protocol: Responses{}},
	"/responses/input_tokens": {Method: http.MethodPost, Protocol: Responses{}, For: TokenCount},
	"/messages":               {Method: http.MethodPost, Protocol: Messages{}},
	"/messages/count_tokens":  {Method: http.MethodPost, Protocol: Messages{}, For: TokenCount},
	"/models":                 {Method: http.MethodGet, Protocol: Chat{}, For: ModelList},
}

// named are the paths that end in a name.
var named = map[string]Endpoint{
	"/responses/": {Method: http.MethodGet, Protocol: Responses{}, For: KeptAnswer},
	"/models/":    {Method: http.MethodGet, Protocol: Chat{}, For: ModelInfo},
}

// geminiMethods are the methods of a Gemini model.
var geminiMethods = map[string]Purpose{
	"generateContent": Answers, "streamGenerateContent": Answers, "countTokens": TokenCount, "embedContent": Embeddings, "batchEmbedContents": Embeddings,
}

// At returns the endpoint of a path, and whether there is one. The path may have the
// prefixes of OpenAI-compatible servers: /v1, /api, /openai, Gemini's /v1beta, and Azure's
// deployments.
func At(path string) (Endpoint, bool) {
	if _, method, ok := geminiCall(path); ok {
		return Endpoint{Method: http.MethodPost, Protocol: Gemini{}, For: geminiMethods[method]}, true
	}
	gemini := strings.HasPrefix(path, "/v1beta/models/")
	if _, rest, ok := azureCall(path); ok {
		path = rest
	} else {
		for _, prefix := range []string{"/v1beta", "/openai", "/api", "/v1"} {
			if rest := strings.TrimPrefix(path, prefix); strings.HasPrefix(rest, "/") {
				path = rest
			}
		}
	}
	if e, ok := endpoints[path]; ok {
		return e, true
	}
	for prefix, e := range named {
		// A Gemini model with a method that is not known is nothing.
		if name, ok := strings.CutPrefix(path, prefix); ok && name != "" && !(gemini && strings.Contains(name, ":")) {
			e.Name = name
			if id, ok := strings.CutSuffix(name, "/cancel"); ok && e.For == KeptAnswer {
				e.Name, e.For, e.Method = id, EndAnswer, http.MethodPost
			}
			if e.For != ModelInfo && strings.Contains(e.Name, "/") { // such as the list of a response's input
				return Endpoint{}, false
			}
			return e, true
		}
	}
	return Endpoint{}, false
}

// azureCall splits Azure's path to a deployment, which is a model under a name that its
// owner chose: /openai/deployments/{deployment}/{rest}
// (learn.microsoft.com/azure/ai-foundry/openai/reference). rest begins with a slash.
func azureCall(path string) (deployment, rest string, ok bool) {
	after, ok := strings.CutPrefix(path, "/openai/deployments/")
	if !ok {
		return "", "", false
	}
	deployment, rest, ok = strings.Cut(after, "/")
	return deployment, "/" + rest, ok && deployment != ""
}

// Likely returns the protocol that a client most likely speaks if its path is unknown, so
// that it can read the error.
func Likely(path string, header http.Header) Protocol {
	switch {
	case strings.Contains(path, "/openai/"): // Gemini's and Azure's paths for OpenAI's clients
	case strings.HasPrefix(path, "/v1beta") || header.Get("X-Goog-Api-Key") != "":
		return Gemini{}
	case strings.Contains(path, "/messages") || header.Get("Anthropic-Version") != "":
		return Messages{}
	}
	return Chat{}
}
