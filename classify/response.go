package classify

import (
	"net/http"
	"strings"

	"llmcall/failure"
	"llmcall/internal/say"
)

const (
	maxMessage = 500 // bytes of the provider's words that an error keeps
	maxLabel   = 100 // bytes of a code or a request's number
	// minSecret is from how many bytes on what a request's header has for a key is
	// taken for one. Servers of one's own take "x" and "none", which are parts of
	// every other word.
	minSecret = 8
)

// Response classifies the response of an HTTP client, so that a retry loop or a circuit
// breaker can decide by its [failure.Kind]. provider says whose protocol it is in, as in
// [Reply]; body is what was read of its body, which should be at most a megabyte.
//
// It returns nil for a success whose body is not an error. The result is a pointer:
// compare it with nil before assigning it to an error. Any status but 200 to 299 is a
// failure, even a redirect.
//
// Where the server quotes the key that r.Request was sent with, in a header or the query,
// it is replaced by "[key]". Message is one line of at most 500 bytes. Model and Err are
// left to the caller.
func Response(provider string, r *http.Response, body []byte) *failure.Error {
	reply := Reply{Provider: provider, Status: r.StatusCode, Header: r.Header, Body: body}
	if r.Request != nil {
		reply.Address = r.Request.URL
	}
	var f failure.Error
	if reply.success() {
		found := false
		if f, found = ReadError(reply); !found {
			return nil
		}
	} else {
		f = Read(reply)
	}
	secrets := secretsOf(r.Request)
	f.Message = withoutSecrets(f.Message, secrets, maxMessage)
	f.Code = withoutSecrets(f.Code, secrets, maxLabel)
	f.RequestID = withoutSecrets(f.RequestID, secrets, maxLabel)
	return &f
}

// withoutSecrets is [say.Line] of a text without the secrets. They are removed first,
// so that none of them is split over two lines or cut at the limit.
func withoutSecrets(text string, secrets []string, most int) string {
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "[key]")
	}
	return say.Line(text, most)
}

// secretsOf returns what a request has of keys, where the providers take them.
func secretsOf(r *http.Request) []string {
	if r == nil {
		return nil
	}
	var all []string
	keep := func(value string) {
		if len(value) >= minSecret {
			all = append(all, value)
		}
	}
	for _, name := range []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		for _, value := range r.Header[name] {
			keep(value)
			if _, token, ok := strings.Cut(value, " "); ok {
				keep(strings.TrimSpace(token))
			}
		}
	}
	if r.URL == nil {
		return all
	}
	for name, values := range r.URL.Query() { // a key, or a signature; no text of a caller's
		if name == "api-version" { // Azure's errors name it
			continue
		}
		for _, value := range values {
			keep(value)
		}
	}
	if password, ok := r.URL.User.Password(); ok {
		keep(password)
	}
	return all
}
