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
// it is replaced by "[key]", unless it is shorter than 8 bytes. Message is one line of at
// most 500 bytes. Model and Err are left to the caller.
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
	f.Written = hidden(f.Written, secrets)
	f.Code = withoutSecrets(f.Code, secrets, maxLabel)
	f.RequestID = withoutSecrets(f.RequestID, secrets, maxLabel)
	return &f
}

// withoutSecrets is [say.Line] of a text without the secrets. They are removed first,
// so that none of them is split over two lines or cut at the limit.
func withoutSecrets(text string, secrets []string, most int) string {
	return say.Line(hidden(text, secrets), most)
}

func hidden(text string, secrets []string) string {
	for _, secret := range secrets {
		text = say.Hide(text, secret)
	}
	return text
}

// secretsOf returns what a request has of keys, where the providers take them.
func secretsOf(r *http.Request) []string {
	if r == nil {
		return nil
	}
	var all []string
	for _, name := range []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		for _, value := range r.Header[name] {
			_, token, _ := strings.Cut(value, " ")
			all = append(all, value, strings.TrimSpace(token))
		}
	}
	if r.URL == nil {
		return all
	}
	for name, values := range r.URL.Query() { // a key, or a signature; no text of a caller's
		if name == "api-version" { // Azure's errors name it
			continue
		}
		all = append(all, values...)
	}
	if password, ok := r.URL.User.Password(); ok {
		all = append(all, password)
	}
	return all
}
