package classify

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// notServed matches how servers say, where it is not by a page, that they serve nothing at
// a path. Each is the whole message, so that no model's name is in it.
var notServed = regexp.MustCompile(`(?i)^(?:` + strings.Join([]string{
	`(?:404:? )?(?:page )?not found`, // Go's net/http (Ollama), FastAPI (vLLM, LiteLLM, SGLang)
	`method not allowed`,             // Open WebUI
	`file not found`,                 // llama.cpp
	`resource not found`,             // Azure
	`no route matched with those values`,
	`invalid url \(.*`,                     // OpenAI
	`unknown request url: .*`,              // OpenAI, Groq
	`unexpected endpoint or method\b.*`,    // LM Studio, with status 200
	`cannot (?:post|get) /.*`,              // Express
	`the requested url .* was not found.*`, // Flask
}, "|") + `)[.!]?$`)

// misdirected reports whether a problem is that the server has nothing at the address that
// was asked, as far as it says so: no provider's error says that with a page or without
// any text.
func (p problem) misdirected() bool {
	refused := p.Status == http.StatusNotFound || p.Status == http.StatusMethodNotAllowed
	return refused && p.Foreign || (refused || p.Status == 0) && notServed.MatchString(strings.TrimSpace(p.Message))
}

// doubled matches the path of a request whose base URL was that of a request itself, or had
// the version that the SDK adds: /v1/chat/completions/chat/completions, /v1/v1/messages.
var doubled = regexp.MustCompile(`(/chat/completions|/responses|/messages|/v1)(?:/v1)?/(?:chat/completions|responses|messages)$`)

// asksModel matches the paths at which a model is asked in OpenAI's protocol.
var asksModel = regexp.MustCompile(`/(?:completions|responses)$`)

// misdirection returns what is wrong with the address, before what the server said of it.
// address is nil if it is not known.
func misdirection(provider string, address *url.URL, message string) string {
	hint := "is the base URL right?"
	asked := "the address"
	if address != nil {
		asked = (&url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path}).String()
		hint = baseHint(provider, address.Path)
	}
	return fmt.Sprintf("the server has nothing at %s: %s It says: %s", asked, hint, message)
}

// baseHint returns what may be wrong with the base URL of a request's path.
func baseHint(provider, path string) string {
	if end := doubled.FindStringSubmatch(path); end != nil && (end[1] != "/v1" || strings.Contains(path, "/v1/v1/")) {
		return fmt.Sprintf("the base URL must end before %s, which is added to it.", end[1])
	}
	if provider == OpenAI && !strings.Contains(path, "/v1") && asksModel.MatchString(path) {
		return "is the base URL right? That of most servers ends in /v1."
	}
	return "is the base URL right?"
}
