package chaos

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall/internal/protocol"
)

// apiError is an error as a provider words it.
type apiError struct {
	name   string // what it means: Fault.Error. Of several rows with a name, the first is meant
	code   string // what it is called: Fault.Code; mostly the error's own code
	status int

	kind, param, wire string // OpenAI's type, param and code; Anthropic's type; Gemini's status
	message           string // {model} and {wait} are replaced in all texts of a row
	details           string // JSON: Anthropic's error.details, the items of Gemini's

	body    *string // in place of the error object
	header  http.Header
	proxy   bool          // something before the provider sent it
	limited string        // the limit that is used up
	retry   bool          // comes with Retry-After, even if the fault names none
	wait    time.Duration // until there is room again, where it is not the default
	told    string        // the wait in the fault's own words
	number  int           // the status that the body tells
}

// The limits that may be used up.
const (
	requestLimit = "requests"
	tokenLimit   = "tokens"
	inputLimit   = "input-tokens"
)

// defaultWait is how long a limit stays used up where neither the fault nor the
// error's row says it.
const defaultWait = time.Second

// Variant is one of a provider's errors.
type Variant struct {
	Name   string // what it means, the same for all providers: Fault.Error
	Code   string // what the provider calls it: Fault.Code
	Status int    // the HTTP status that it comes with
}

// Errors returns the errors that a provider is known for, in a fixed order. A
// name may stand before several of them: Fault.Error means the first. Every
// protocol has every name.
func Errors(p Protocol) []Variant {
	var out []Variant
	for _, e := range faces[p].errors() {
		out = append(out, Variant{e.name, e.code, e.status})
	}
	return out
}

// protocols are the keys of faces, without those that have the errors of another.
var protocols = []Protocol{OpenAI, Anthropic, Gemini}

// ErrorNames returns the values that Fault.Error takes: what can go wrong, in
// words that mean the same for all providers.
func ErrorNames() []string {
	return distinct(OpenAI, func(e apiError) string { return e.name })
}

// Codes returns the values that Fault.Code takes: the providers' own codes, some
// of servers that speak OpenAI's protocol, and "html", the page of a proxy that
// answers in the provider's place.
func Codes() []string {
	var codes []string
	for _, p := range protocols {
		codes = append(codes, distinct(p, func(e apiError) string { return e.code })...)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// distinct returns what a provider's errors have in one field, without doubles.
func distinct(p Protocol, field func(apiError) string) []string {
	var out []string
	for _, e := range faces[p].errors() {
		if s := field(e); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// find returns the first of a provider's errors that fits.
func find(f face, fits func(apiError) bool) (apiError, bool) {
	rows := f.errors()
	if i := slices.IndexFunc(rows, fits); i >= 0 {
		return rows[i], true
	}
	return apiError{}, false
}

// errorOf returns the error that a fault means, in the words of a protocol. A
// code that is another provider's becomes the error that means the same, with
// the status that this one gives it.
func errorOf(provider face, f Fault) apiError {
	var e apiError
	var ok bool
	switch name := f.Error; {
	case f.Code != "":
		if e, ok = find(provider, func(e apiError) bool { return e.code == f.Code }); ok {
			break
		}
		for _, p := range protocols {
			if other, known := find(faces[p], func(e apiError) bool { return e.code == f.Code }); known {
				if name = other.name; f.Status >= http.StatusBadRequest {
					f.Status = 0
				}
				break
			}
		}
		fallthrough
	case name != "":
		e, ok = find(provider, func(e apiError) bool { return e.name == name })
	default:
		e, ok = find(provider, func(e apiError) bool { return e.status == f.Status })
	}
	if !ok {
		status := cmp.Or(f.Status, http.StatusInternalServerError) // a stream's error of one's own has none
		e = apiError{status: status, number: status, kind: provider.Kind(status), message: statusText(status)}
	}
	e.number = e.status
	if e.number < http.StatusBadRequest {
		e.number = http.StatusInternalServerError
	}
	if f.Status != 0 {
		e.status = f.Status
		if f.Status >= http.StatusBadRequest {
			e.number = f.Status
		}
	}
	return e
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return fmt.Sprintf("HTTP status %d", status)
}

// worded puts the request's model and the fault's wait into the texts of an
// error.
func (e apiError) worded(model string, f Fault) apiError {
	e.told = f.told()
	e.wait = f.wait(e.wait)
	in := strings.NewReplacer("{model}", model, "{wait}", e.wait.String())
	inJSON := strings.NewReplacer("{model}", inQuotes(model), "{wait}", e.wait.String(), "{status}", statusLine(e.status))
	e.message, e.details = in.Replace(e.message), inJSON.Replace(e.details)
	if e.body != nil {
		e.body = new(inJSON.Replace(*e.body))
	}
	return e
}

func statusLine(status int) string { return fmt.Sprintf("%d %s", status, http.StatusText(status)) }

// inQuotes writes a text as it is between the quotes of JSON.
func inQuotes(s string) string {
	text := string(marshal(s))
	return text[1 : len(text)-1]
}

// inProtocol is the error as the protocol tells it.
func (e apiError) inProtocol() *protocol.Error {
	wait := e.told
	if wait == "" && e.limited != "" {
		wait = inSeconds(e.wait)
	}
	return &protocol.Error{Status: e.number, Kind: e.kind, Message: e.message, Param: e.param, Code: e.wire, Details: e.details, Wait: wait}
}

// bodyOf returns the body of an error, and its media type.
func bodyOf(provider face, e apiError, id protocol.IDs) (body []byte, mediaType string) {
	if e.body != nil {
		return []byte(*e.body), typeOfBody(*e.body)
	}
	return provider.ErrorBody(e.inProtocol(), id), "application/json"
}

// wait is how long the fault tells the client to wait: what it sends as
// Retry-After or retry-after-ms, where that is a time, else its own value or the
// default.
func (f Fault) wait(own time.Duration) time.Duration {
	for _, text := range []string{f.RetryAfter + "s", f.RetryAfterDate.String(), f.RetryAfterMS + "ms"} {
		if d, err := time.ParseDuration(text); err == nil && d > 0 {
			return d
		}
	}
	if own > 0 {
		return own
	}
	return defaultWait
}

// told is the wait in seconds with their unit, as Gemini writes it, or just as
// the fault has it where that is not a number; empty if the fault says nothing.
func (f Fault) told() string {
	switch {
	case f.RetryAfter != "":
		if _, err := strconv.ParseFloat(f.RetryAfter, 64); err != nil {
			return f.RetryAfter
		}
		return f.RetryAfter + "s"
	case f.RetryAfterDate > 0 || f.RetryAfterMS != "":
		return inSeconds(f.wait(0))
	}
	return ""
}

func inSeconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}
