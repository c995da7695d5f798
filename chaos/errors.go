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

// apiError is an error in a provider's words.
type apiError struct {
	name   string // what it means: [Fault.Error]. Of several rows with a name, it selects the first
	code   string // [Fault.Code]; usually the error's own code
	status int

	kind, param, wire string // OpenAI's type, param and code; Anthropic's type; Gemini's status
	message           string // {model} and {wait} are replaced in all texts of a row
	details           string // JSON: Anthropic's error.details, the items of Gemini's

	body    *string // instead of the error object
	header  http.Header
	proxy   bool          // a proxy sent it, not the provider
	limited string        // the limit that is used up
	retry   bool          // it has a Retry-After even if the fault does not
	wait    time.Duration // until the limit has room again. Default defaultWait
	told    string        // the wait in the fault's own words
	number  int           // the status in the body
}

// The limits that may be used up.
const (
	requestLimit = "requests"
	tokenLimit   = "tokens"
	inputLimit   = "input-tokens"
)

// defaultWait is how long a limit stays used up if neither the fault nor the error's row
// says it.
const defaultWait = time.Second

// Variant is one of a provider's errors; see [Errors].
type Variant struct {
	Name   string // what it means, the same for all providers: [Fault.Error]
	Code   string // what the provider calls it: [Fault.Code]
	Status int    // its usual HTTP status
}

// Errors returns the known errors of a provider, in a fixed order. Every protocol has
// every name. If several errors have the same name, [Fault.Error] means the first.
func Errors(p Protocol) []Variant {
	var out []Variant
	for _, e := range faces[p].errors() {
		out = append(out, Variant{e.name, e.code, e.status})
	}
	return out
}

// protocols are the keys of faces whose errors differ.
var protocols = []Protocol{OpenAI, Anthropic, Gemini}

// ErrorNames returns the possible values of [Fault.Error]: names of errors that mean the
// same for all providers.
func ErrorNames() []string {
	return distinct(OpenAI, func(e apiError) string { return e.name })
}

// Codes returns the possible values of [Fault.Code]: the providers' own codes, some of
// other servers that speak OpenAI's protocol, and "html", the error page of a proxy
// before the provider.
func Codes() []string {
	var codes []string
	for _, p := range protocols {
		codes = append(codes, distinct(p, func(e apiError) string { return e.code })...)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// distinct returns the values of one field of a provider's errors, without duplicates.
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

// errorOf returns the error of a fault in a protocol. A code of another provider becomes
// the error that means the same, with its status here.
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
		status := cmp.Or(f.Status, http.StatusInternalServerError) // a stream's error with a body of its own has none
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

// worded fills the request's model and the fault's wait into the texts of an error.
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

// inQuotes returns a text as JSON writes it between quotes.
func inQuotes(s string) string {
	text := string(marshal(s))
	return text[1 : len(text)-1]
}

// inProtocol converts the error for the protocol.
func (e apiError) inProtocol() *protocol.Error {
	wait := e.told
	if wait == "" && e.limited != "" {
		wait = inSeconds(e.wait)
	}
	return &protocol.Error{Status: e.number, Kind: e.kind, Message: e.message, Param: e.param, Code: e.wire, Details: e.details, Wait: wait}
}

// bodyOf returns the body of an error and its media type.
func bodyOf(provider face, e apiError, id protocol.IDs) (body []byte, mediaType string) {
	if e.body != nil {
		return []byte(*e.body), typeOfBody(*e.body)
	}
	return provider.ErrorBody(e.inProtocol(), id), "application/json"
}

// wait is how long the fault tells the client to wait: its Retry-After or
// retry-after-ms if that is a time, else own, else defaultWait.
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

// told is the fault's wait in seconds with the unit, as Gemini writes it, or unchanged if
// it is not a number; "" if the fault has none.
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
