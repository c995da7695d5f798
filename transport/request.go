package transport

import (
	"net/http"
	"strings"

	"llmcall/classify"
)

// Repeatable is the default of [Config.Repeatable]. A request may be sent twice if its
// method is idempotent (RFC 9110, section 9.2.2), if it has an Idempotency-Key, or if it
// asks a model for an answer or an embedding, which costs money twice but does no other
// harm. A path that ends in /messages counts as Anthropic's only if the host is
// Anthropic's or the header Anthropic-Version is set, which its API requires.
func Repeatable(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	if len(r.Header["Idempotency-Key"]) > 0 || len(r.Header["X-Idempotency-Key"]) > 0 {
		return true
	}
	path := strings.TrimRight(r.URL.Path, "/")
	if strings.HasSuffix(path, "/messages") { // in other APIs this sends a mail or an SMS
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

// protocolOf returns whose protocol a response will be in.
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
