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
// does, for a program that calls the SDK itself, for example in an [llm.Func]: its
// kind decides about retries, fallbacks and the circuit breaker, and a RetryInfo
// is obeyed.
//
// It converts the SDK's genai.APIError, of a stream too, and network failures. The
// result wraps the SDK's error, without the key, which Google sometimes quotes:
// text that looks like a Google key is removed, and so is the key of the
// environment. The SDK keeps no header of a response, so there is no RequestID,
// and a Retry-After header is lost: only a RetryInfo in the body counts. nil stays
// nil, and any other error is returned unchanged, including one of a context and
// one that is classified.
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
	for _, variable := range []string{KeyVariable, "GOOGLE_API_KEY"} {
		foreign.Secrets = append(foreign.Secrets, strings.TrimSpace(os.Getenv(variable)))
	}
	x := foreign.Response(nil, &http.Response{StatusCode: api.Code}, body)
	return x.Refused(withoutKey(api, x.Endpoint.Hide))
}

// quotedKey finds a key where Google quotes it, "Consumer 'api_key:AIza…' has
// been suspended" (https://github.com/google/generative-ai-docs/issues/356), and
// one that has the form of Google's.
var quotedKey = regexp.MustCompile(`api_key:([^'"\\\s]{8,})|(AIza[0-9A-Za-z_-]{30,})`)

// apiErrorIn returns the SDK's error in an error's tree. The SDK returns it by
// value; a pointer is one too.
func apiErrorIn(err error) (genai.APIError, bool) {
	if api, ok := errors.AsType[genai.APIError](err); ok {
		return api, true
	}
	if api, ok := errors.AsType[*genai.APIError](err); ok && api != nil {
		return *api, true
	}
	return genai.APIError{}, false
}

// problemOf returns the body of the response that an error was made of. Where
// that had no error in it, the SDK has the whole of it in Message, and the line of
// the status in Status.
func problemOf(api genai.APIError) []byte {
	if strings.HasPrefix(api.Status, strconv.Itoa(api.Code)+" ") {
		return []byte(api.Message)
	}
	body, err := json.Marshal(map[string]genai.APIError{"error": api})
	if err != nil { // of Details that a program put in itself
		return []byte(api.Message)
	}
	return body
}

// withoutKey returns the error without the key in any of its texts.
func withoutKey(api genai.APIError, hide func(string) string) genai.APIError {
	clean := genai.APIError{Code: api.Code, Message: hide(api.Message), Status: hide(api.Status)}
	details, err := json.Marshal(api.Details)
	if err == nil {
		_ = json.Unmarshal([]byte(hide(string(details))), &clean.Details) // it was one, so it is
	}
	return clean
}
