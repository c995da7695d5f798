package transport

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"strings"
	"unicode/utf8"

	"llmcall/classify"
)

// ByHost makes all requests to a host with the same API key share a circuit
// breaker, a budget and a gate: a key that is refused, unpaid or at its limit
// says nothing of another.
func ByHost(r *http.Request, _ func() []byte) string {
	return string(appendCredential([]byte(r.URL.Host), r.Header))
}

// ByModel makes the requests to a model of a host with the same API key share
// them: providers limit rates by model. It is the default of Config.Key. The
// model is what the path names (Gemini's models/…, Azure's deployments/…), or
// else the field "model" of a JSON body; requests without a model share what
// belongs to the host.
func ByModel(r *http.Request, body func() []byte) string {
	model := modelInPath(r.URL.Path)
	if model == "" && r.Body != nil && r.Body != http.NoBody {
		model = modelInBody(body())
	}
	key := make([]byte, 0, 128) // most keys take no more
	key = append(key, r.URL.Host...)
	if model != "" {
		key = append(append(key, '/'), model...)
	}
	return string(appendCredential(key, r.Header))
}

var seed = maphash.MakeSeed()

// credentials are the headers that an API key comes in.
var credentials = []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key"}

// hider returns what cuts a request's API key out of a text: some servers quote
// the one that they refuse.
func hider(r *http.Request) func(string) string {
	keys := r.URL.Query()["key"] // Gemini's
	for _, name := range credentials {
		for _, v := range r.Header[name] {
			keys = append(keys, strings.TrimPrefix(v, "Bearer "))
		}
	}
	return func(text string) string {
		for _, key := range keys {
			if key != "" {
				text = strings.ReplaceAll(text, key, "[key]")
			}
		}
		return text
	}
}

// appendCredential appends what tells the API keys of a process apart, and
// nothing more: it is another in each process, and no key can be told from it.
func appendCredential(key []byte, h http.Header) []byte {
	for _, name := range credentials {
		if v := h[name]; len(v) > 0 && v[0] != "" {
			const digits = "0123456789abcdef"
			key = append(key, '#')
			for sum, i := maphash.String(seed, v[0]), 0; i < 8; i, sum = i+1, sum>>4 {
				key = append(key, digits[sum&15])
			}
			return key
		}
	}
	return key
}

func modelInPath(path string) string {
	for _, before := range []string{"/models/", "/deployments/"} {
		if _, rest, ok := strings.Cut(path, before); ok {
			return rest[:len(rest)-len(strings.TrimLeft(rest, modelLetters))]
		}
	}
	return ""
}

const modelLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

// modelInBody returns the string that stands under "model" at the top of a JSON
// object; "" if there is none. A body may hold megabytes of pictures, which a
// decoder would take milliseconds for: only what is needed to know the depth is
// looked at. A body that is no JSON gives "", or any text of it.
func modelInBody(body []byte) string {
	depth, key := 0, false // key: the last string at the top was "model"
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			key = false
		case '"':
			begin := i
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
			if depth != 1 || i >= len(body) {
				continue
			}
			text := body[begin : i+1]
			if !key {
				key = string(text) == `"model"`
				continue
			}
			if len(text) > maxModel {
				return ""
			}
			if bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
				return string(text[1 : len(text)-1])
			}
			var model string
			_ = json.Unmarshal(text, &model) // what is no string names no model
			return model
		}
	}
	return ""
}

const maxModel = 200 // bytes of a model's name, quoted

// Repeatable is the default of Config.Repeatable. A request may be sent twice
// if its method is idempotent (RFC 9110, section 9.2.2), if it has an
// Idempotency-Key, or if it asks a model for an answer or an embedding: that
// costs money twice, and leaves nothing behind. A path that ends in /messages
// is Anthropic's where the host is, or where the header Anthropic-Version is set,
// without which Anthropic's API takes nothing.
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
