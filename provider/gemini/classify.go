package gemini

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/genai"

	"llmcall/classify"
	"llmcall/provider/internal/wire"
)

// Classify converts an error of Google's SDK to a [*failure.Error], as the adapter
// does. It is for a program that calls the SDK itself, for example in an
// [llm.Func]: the error's kind decides about retries, fallbacks and the circuit
// breaker, and a RetryInfo is obeyed.
//
// Classify converts network failures and the SDK's [genai.APIError], including
// that of a stream. The result wraps the SDK's error, without the key, which
// Google sometimes quotes: text that looks like a Google key is removed, and so is
// the key in the environment. The SDK drops the header of a response, so there is
// no RequestID, and a Retry-After header is lost: only a RetryInfo in the body
// counts. Classify returns nil for nil, and any other error unchanged, including
// a context's and one that is already classified.
func Classify(err error) error {
	foreign := wire.Foreign{Protocol: classify.Gemini, Home: DefaultBaseURL}
	api, ok := apiErrorIn(err)
	if !ok {
		return foreign.Broken(err)
	}
	body := problemOf(api)
	for _, found := range quotedKey.FindAllSubmatch(body, -1) {
		foreign.Secrets = append(foreign.Secrets, string(found[1])+string(found[2]))
	}
	for _, variable := range []string{KeyVariable, SecondKeyVariable} {
		foreign.Secrets = append(foreign.Secrets, strings.TrimSpace(os.Getenv(variable)))
	}
	x := foreign.Response(nil, &http.Response{StatusCode: api.Code}, body)
	return x.Refused(withoutKey(api, x.Endpoint.Hide))
}

// quotedKey matches a key where Google quotes it, "Consumer 'api_key:AIza…' has
// been suspended" (https://github.com/google/generative-ai-docs/issues/356), and
// anything in the form of a Google key.
var quotedKey = regexp.MustCompile(`api_key:([^'"\\\s]{8,})|(AIza[0-9A-Za-z_-]{30,})`)

// apiErrorIn returns the SDK's error in an error's tree. The SDK returns a value,
// but a pointer is an error too.
func apiErrorIn(err error) (genai.APIError, bool) {
	if api, ok := errors.AsType[genai.APIError](err); ok {
		return api, true
	}
	if api, ok := errors.AsType[*genai.APIError](err); ok && api != nil {
		return *api, true
	}
	return genai.APIError{}, false
}

// problemOf returns the body of the response from which the SDK made an error. If
// the body had no error in it, the SDK put all of it into Message, and the status
// line into Status.
func problemOf(api genai.APIError) []byte {
	if strings.HasPrefix(api.Status, strconv.Itoa(api.Code)+" ") {
		return []byte(api.Message)
	}
	body, err := json.Marshal(map[string]genai.APIError{"error": api})
	if err != nil { // because of Details that the program set
		return []byte(api.Message)
	}
	return body
}

// withoutKey returns a copy of the error whose texts do not contain the key.
func withoutKey(api genai.APIError, hide func(string) string) genai.APIError {
	clean := genai.APIError{Code: api.Code, Message: hide(api.Message), Status: hide(api.Status)}
	details, err := json.Marshal(api.Details)
	if err == nil {
		_ = json.Unmarshal([]byte(hide(string(details))), &clean.Details) // can't fail: it was just marshalled
	}
	return clean
}
