package transport

import (
	"net/http"
	"strings"

	"llmcall/classify"
)

// Repeatable is the default of Config.Repeatable. A request may be sent twice
// if its method is idempotent (RFC 9110, section 9.2.2), if it has an
// Idempotency-Key, or if it asks a model for an answer or an embedding: sent
// twice, that costs money twice and does no other harm. A path that ends in
// /messages is Anthropic's where the host is, or where the header
// Anthropic-Version is set, without which Anthropic's API takes nothing.
func Repeatable(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	if len(r.Header["Idempotency-Key"]) > 0 || len(r.Header["X-Idempotency-Key"]) > 0 {
		return true
	}
	path := strings.TrimRight(r.URL.Path, "/")
	if strings.HasSuffix(path, "/messages") { // many an API sends a mail or an SMS so
		return protocolOf(r) == classify.Anthropic
	}
	for _, asking := range []string{
		"/chat/completions", "/completions", "/responses", "/embeddings", "/moderations", "/messages/count_tokens",
		":generateContent", ":streamGenerateContent", ":countTokens", ":embedContent", ":batchEmbedContents", "/api/chat", "/api/generate",
	} {
		if strings.HasSuffix(path, asking) {
			return true
		}
	}
	return false
}

// protocolOf tells whose words a response will be in.
func protocolOf(r *http.Request) string {
	host := r.URL.Hostname()
	switch {
	case strings.HasSuffix(host, "anthropic.com"), len(r.Header["Anthropic-Version"]) > 0:
		return classify.Anthropic
	case strings.HasSuffix(host, "googleapis.com"), len(r.Header["X-Goog-Api-Key"]) > 0:
		return classify.Gemini
	}
	return classify.OpenAI
}
