package protocol

import (
	"net/http"
	"strings"
)

// Endpoint is what a path leads to.
type Endpoint struct {
	Method   string // the HTTP method
	Protocol Protocol
	Models   bool // it is the list of models, which clients of other protocols request too
}

// endpoints are the paths without a prefix, except Gemini's.
var endpoints = map[string]Endpoint{
	"/chat/completions": {Method: http.MethodPost, Protocol: Chat{}},
	"/responses":        {Method: http.MethodPost, Protocol: Responses{}},
	"/messages":         {Method: http.MethodPost, Protocol: Messages{}},
	"/models":           {Method: http.MethodGet, Protocol: Chat{}, Models: true},
}

// At returns the endpoint of a path, and whether there is one. The path may have the
// prefixes of OpenAI-compatible servers: /v1, /api, /openai, and Azure's deployments.
func At(path string) (Endpoint, bool) {
	if _, _, ok := geminiCall(path); ok {
		return Endpoint{Method: http.MethodPost, Protocol: Gemini{}}, true
	}
	if deployment, rest, ok := strings.Cut(strings.TrimPrefix(path, azurePrefix), "/"); ok && strings.HasPrefix(path, azurePrefix) && deployment != "" {
		path = "/" + rest // Azure's, platform by deployment
	} else {
		for _, prefix := range []string{"/openai", "/api", "/v1"} {
			if rest := strings.TrimPrefix(path, prefix); strings.HasPrefix(rest, "/") {
				path = rest
			}
		}
	}
	e, ok := endpoints[path]
	return e, ok
}

// azurePrefix begins Azure's path to a deployment, which is a model under a name that its
// owner chose (learn.microsoft.com/azure/ai-foundry/openai/reference).
const azurePrefix = "/openai/deployments/"

// Likely returns the protocol that a client most likely speaks if its path is unknown, so
// that it can read the error.
func Likely(path string, header http.Header) Protocol {
	switch {
	case strings.HasPrefix(path, "/v1beta") || header.Get("X-Goog-Api-Key") != "":
		return Gemini{}
	case strings.Contains(path, "/messages") || header.Get("Anthropic-Version") != "":
		return Messages{}
	}
	return Chat{}
}
