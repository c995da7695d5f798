package record

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"llmcall/internal/say"
	"llmcall/provider"
	"llmcall/validate"
)

// SecretError is the error of a recording that was not written, since a key was found in it.
type SecretError struct {
	// What says which key, and never what it is: "the value of the environment variable
	// OPENAI_API_KEY", "the header Authorization of the request", "an OpenAI API key".
	What string
	Of   string // the request: the model's name, or method and address
}

func (e *SecretError) Error() string {
	return fmt.Sprintf("record: the recording of a request to %s was not written: it would hold %s", e.Of, e.What)
}

// secret is a key that must not be in a file.
type secret struct{ what, value string }

// minKey is the length of the shortest key that is looked for, as in package say: "none" and
// "ollama", which one's own servers accept, are parts of other texts.
const minKey = 8

// knownKeys returns the keys that the process knows.
func knownKeys(given []string) []secret {
	var all []secret
	for i, k := range given {
		all = append(all, secret{fmt.Sprintf("the key Config.Keys[%d]", i), k})
	}
	var variables []string
	for _, p := range provider.All() {
		variables = append(variables, p.KeyVariable)
	}
	for _, assignment := range os.Environ() {
		name, value, _ := strings.Cut(assignment, "=")
		if slices.Contains(variables, name) || strings.HasSuffix(strings.ToUpper(name), "_API_KEY") {
			all = append(all, secret{"the value of the environment variable " + name, value})
		}
	}
	return all
}

// within returns the credentials of an HTTP request.
func within(r *http.Request) []secret {
	var all []secret
	for name, values := range r.Header {
		if !secretHeader(name) {
			continue
		}
		for _, value := range values {
			for _, part := range credentials(value) {
				all = append(all, secret{"the header " + name + " of the request", part})
			}
		}
	}
	for name, values := range r.URL.Query() {
		if secretParameter(name) {
			for _, value := range values {
				all = append(all, secret{"the parameter " + name + " of the address", value})
			}
		}
	}
	if password, ok := r.URL.User.Password(); ok {
		all = append(all, secret{"the password of the address", password})
	}
	return all
}

// credentials returns what is a credential in the value of a header: all of it, what follows
// its scheme ("Bearer …"), the password of Basic (RFC 7617), and the value of each cookie.
func credentials(value string) []string {
	all := []string{value}
	scheme, rest, ok := strings.Cut(value, " ")
	if ok {
		all = append(all, rest)
	}
	if raw, err := base64.StdEncoding.DecodeString(rest); err == nil && strings.EqualFold(scheme, "Basic") {
		_, password, _ := strings.Cut(string(raw), ":")
		all = append(all, password)
	}
	for cookie := range strings.SplitSeq(value, ";") {
		if _, inside, ok := strings.Cut(cookie, "="); ok {
			all = append(all, inside)
		}
	}
	return all
}

// secretHeader reports whether the value of a header may be a credential.
func secretHeader(name string) bool {
	name = strings.ToLower(name)
	if strings.HasSuffix(name, "idempotency-key") {
		return false
	}
	return slices.ContainsFunc([]string{"auth", "key", "token", "secret", "cookie", "signature"}, func(mark string) bool { return strings.Contains(name, mark) })
}

// secretParameter reports whether a parameter of an address may be a credential.
func secretParameter(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "x-amz-") || strings.HasPrefix(name, "x-goog-") || slices.Contains(secretParameters, name)
}

// secretParameters are the parameters of addresses that hold credentials. pageToken and the
// like do not.
var secretParameters = []string{
	"access_key", "access_token", "api-key", "api_key", "apikey", "auth", "auth_token", "authorization", "client_secret", "code", "credential",
	"id_token", "key", "password", "refresh_token", "secret", "sig", "signature", "subscription-key", "token",
}

// keptHeaders are the headers that are written; of those that end in a hyphen, all that begin
// so. What is not here is not needed for an equal replay, and may be a credential, an
// account or a cookie.
var keptHeaders = []string{
	// of a request
	"Accept", "Anthropic-Beta", "Anthropic-Version", "Openai-Beta", "User-Agent",
	// of both
	"Content-Encoding", "Content-Type",
	// of a response
	"Anthropic-Ratelimit-", "Date", "Location", "Openai-Processing-Ms", "Openai-Version", "Ratelimit", "Ratelimit-", "Request-Id",
	"Retry-After", "Retry-After-Ms", "Server", "X-Ratelimit-", "X-Request-Id", "X-Should-Retry", "X-Tokenlimit-",
}

// keptOf returns the headers that are written.
func keptOf(h http.Header) http.Header {
	some := http.Header{}
	for name, values := range h {
		if slices.ContainsFunc(keptHeaders, func(k string) bool {
			return k == name || strings.HasSuffix(k, "-") && strings.HasPrefix(name, k)
		}) {
			some[name] = slices.Clone(values)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some
}

// find returns which key a file holds; "" if none.
func find(file []byte, secrets []secret) (string, error) {
	decoded, err := texts(file)
	if err != nil {
		return "", err
	}
	// What is in the file as it is need not be searched twice: pictures are large.
	whole := string(file)
	all := []string{whole}
	for _, text := range decoded {
		if !strings.Contains(whole, text) {
			all = append(all, text)
		}
	}
	for _, s := range secrets {
		for _, form := range forms(strings.TrimSpace(s.value)) {
			if slices.ContainsFunc(all, func(text string) bool { return say.Hide(text, form) != text }) {
				return s.what, nil
			}
		}
	}
	for _, text := range all {
		if !utf8.ValidString(text) { // a picture, whose bytes may look like anything
			continue
		}
		verdict, err := noKeys.Check(context.Background(), &validate.Answer{Text: text})
		if err != nil {
			return "", err
		}
		if len(verdict.Complaints) > 0 {
			return "what has the form of a key: " + verdict.Complaints[0].Problem, nil
		}
	}
	return "", nil
}

var noKeys = validate.Must(validate.NoSecrets(validate.SecretCredential))

// forms returns the ways in which a key may be written in a text; none of a short one.
func forms(key string) []string {
	if len(key) < minKey {
		return nil
	}
	all := []string{key, url.QueryEscape(key), url.PathEscape(key)}
	if quoted, err := json.Marshal(key); err == nil {
		all = append(all, string(quoted[1:len(quoted)-1]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
