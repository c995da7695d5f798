package recorded

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"llmcall"
	"llmcall/failure"
	"llmcall/internal/say"
)

// takes says what a trace is made of.
const takes = `documents of llmcall call --output json, lines of a log with the events, attempts or traces of package llmcall as log/slog writes them in JSON, ` +
	`or lines of your own with "time", "duration_ms" and, of a request that failed, "status" or "error"`

// readTrace reads the requests of a trace: JSON objects one after the other, on a line each
// or not. Objects without a request are passed over: a log has other lines.
func readTrace(name string, data []byte) ([]request, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var t trace
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	line, counted := 1, 0 // the line at the offset up to which lines were counted
	for {
		begun := int(decoder.InputOffset())
		begun += len(data[begun:]) - len(bytes.TrimLeft(data[begun:], " \t\r\n"))
		line, counted = line+bytes.Count(data[counted:begun], []byte("\n")), begun
		var value any
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = t.document(value)
		} else {
			err = fmt.Errorf("is not JSON: %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
	if len(t.requests) == 0 { // else they are other lines of the log, of a web server perhaps
		t.requests = t.own
	}
	if len(t.requests) == 0 {
		return nil, fmt.Errorf("%s has no request: takes %s", name, takes)
	}
	if t.untimed > 0 && t.untimed < len(t.requests) {
		return nil, fmt.Errorf("%s: %s a time, and the others have none", name, say.Count(len(t.requests)-t.untimed, "request has", "requests have"))
	}
	return t.requests, nil
}

// trace is what was read so far.
type trace struct {
	requests []request
	own      []request        // of lines in nobody's format
	seen     map[request]bool // one that the events and the trace of a log both have
	untimed  int
	clock    time.Duration // when the next call begins, if nothing says when
}

// document reads a value of the file.
func (t *trace) document(value any) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("must be an object, got %s", say.Short(fmt.Sprint(value), 40))
	}
	if list, ok := object["attempts"].([]any); ok {
		return t.call(object, list)
	}
	if _, counted := object["attempts"].(json.Number); counted && object["hash"] != nil {
		return errors.New("is of the output of llmcall batch, which does not say when a row was asked: record the batch (--record DIR), and take the recordings")
	}
	_, timed := field(object, ownTimes)
	_, lasted := field(object, ownDurations)
	if timed && lasted {
		return t.line(object)
	}
	return t.within(object, 0)
}

// call reads a document of llmcall call: the attempts of one call, each with how long it took
// and how long the call waited before it.
func (t *trace) call(object map[string]any, list []any) error {
	at, timed, err := timeOf(object, "started")
	if err != nil {
		return err
	}
	if !timed {
		at = time.Time{}.Add(t.clock)
	}
	for i, value := range list {
		a, err := attemptOf(value)
		if err != nil {
			return fmt.Errorf("attempts[%d]: %w", i, err)
		}
		if i > 0 || !timed {
			at = at.Add(a.delay)
		}
		a.at = at
		at = at.Add(a.took)
		t.keep(a.request, timed)
	}
	t.clock = at.Sub(time.Time{})
	return nil
}

// within looks for attempts in a line of a log.
func (t *trace) within(value any, depth int) error {
	const deepest = 8
	object, ok := value.(map[string]any)
	if !ok || depth > deepest {
		return nil
	}
	if _, ended := object["outcome"].(string); ended && object["number"] != nil {
		a, err := attemptOf(object)
		if err != nil {
			return err
		}
		at, timed, err := timeOf(object, "start")
		if err != nil {
			return err
		}
		if !timed {
			return errors.New(`an attempt must have its "start", as package llmcall logs it`)
		}
		a.at = at
		t.keep(a.request, true)
		return nil
	}
	for _, key := range slices.SortedFunc(maps.Keys(object), numerically) {
		if err := t.within(object[key], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// numerically has the attempts "2" and "10" of a trace in their order.
func numerically(a, b string) int {
	n, err := strconv.Atoi(a)
	m, other := strconv.Atoi(b)
	if err == nil && other == nil {
		return cmp.Compare(n, m)
	}
	return cmp.Compare(a, b)
}

// The names that the fields of lines of one's own have.
var (
	ownTimes     = []string{"time", "start", "started", "timestamp", "ts"}
	ownDurations = []string{"duration_ms", "latency_ms", "took_ms", "duration", "latency", "took"}
)

// line reads a line with the time when a request began, how long it took, and its status.
func (t *trace) line(object map[string]any) error {
	name, _ := field(object, ownTimes)
	at, _, err := timeOf(object, name)
	if err != nil {
		return err
	}
	name, _ = field(object, ownDurations)
	took, err := durationOf(object, name)
	if err != nil {
		return err
	}
	r := request{at: at, took: took, first: true, model: textOf(object, "model")}
	if r.prompt, err = integerOf(object, "input_tokens"); err != nil {
		return err
	}
	if r.answer, err = integerOf(object, "output_tokens"); err != nil {
		return err
	}
	status, err := integerOf(object, "status")
	if err != nil {
		return err
	}
	text := textOf(object, "error")
	switch kind := textOf(object, "kind"); {
	case kind != "":
		if r.failed, err = failureOf(kind, text); err != nil {
			return err
		}
	case status >= 400 || text != "":
		r.failed = &failure.Error{Kind: kindOfStatus(status), Status: status, Message: text}
	}
	if r.failed != nil {
		r.failed.Status = cmp.Or(r.failed.Status, status)
		if wait, given := field(object, []string{"retry_after", "retry_after_ms"}); given {
			if r.failed.RetryAfter, err = durationOf(object, wait); err != nil {
				return err
			}
			r.failed.Told = true
		}
	}
	t.own = append(t.own, r)
	return nil
}

func (t *trace) keep(r request, timed bool) {
	id := r
	id.failed = nil
	if t.seen == nil {
		t.seen = map[request]bool{}
	}
	if timed && t.seen[id] {
		return
	}
	t.seen[id] = true
	if !timed {
		t.untimed++
	}
	t.requests = append(t.requests, r)
}

// attempt is a request, and how long its call waited for it.
type attempt struct {
	request
	delay time.Duration
}

// attemptOf reads an attempt as llmcall call prints it or log/slog writes it.
func attemptOf(value any) (attempt, error) {
	object, ok := value.(map[string]any)
	if !ok {
		return attempt{}, errors.New("must be an attempt, an object")
	}
	var a attempt
	var err error
	number, err := integerOf(object, "number")
	if err != nil {
		return a, err
	}
	a.first, a.model = number <= 1, textOf(object, "model")
	if a.took, err = either(object, "duration"); err != nil {
		return a, err
	}
	if a.delay, err = either(object, "delay"); err != nil {
		return a, err
	}
	if usage, ok := object["usage"].(map[string]any); ok {
		if a.prompt, err = integerOf(usage, "input_tokens"); err != nil {
			return a, err
		}
		if a.answer, err = integerOf(usage, "output_tokens"); err != nil {
			return a, err
		}
	}
	switch outcome := llmcall.Outcome(textOf(object, "outcome")); outcome {
	case llmcall.OutcomeValid, llmcall.OutcomeChecks:
	case llmcall.OutcomeInvalid, llmcall.OutcomeCutOff:
		a.wrong = true
	case llmcall.OutcomeLost:
		a.failed = &failure.Error{Kind: failure.Cancelled}
	case llmcall.OutcomeFailed:
		a.failed, err = failureOf(textOf(object, "kind"), textOf(object, "error"))
	default:
		err = fmt.Errorf("outcome must be one of valid, invalid, cut_off, failed, check_unavailable, lost, got %q", outcome)
	}
	return a, err
}

// said is what the text of a [failure.Error] has of its response.
var said = regexp.MustCompile(`\((?:HTTP ([1-5]\d\d))?(?:(?:, |)([A-Za-z_]\w*))?(?:(?:, |)come back in ([0-9a-z.µ]+))?\)`)

// failureOf returns a failure by its kind and its text.
func failureOf(kind, text string) (*failure.Error, error) {
	f := &failure.Error{Message: text}
	if err := f.Kind.UnmarshalText([]byte(kind)); err != nil {
		return nil, err
	}
	if m := said.FindStringSubmatch(text); m != nil {
		f.Status, _ = strconv.Atoi(m[1]) // three digits, or nothing
		f.Code = m[2]
		if wait, err := time.ParseDuration(m[3]); err == nil {
			f.RetryAfter, f.Told = wait, true
		}
	}
	return f, nil
}

// kindOfStatus is what a status alone says.
func kindOfStatus(status int) failure.Kind {
	switch {
	case status == 429:
		return failure.RateLimited
	case status == 529:
		return failure.Overloaded
	case status == 401 || status == 403:
		return failure.Unauthorized
	case status == 402:
		return failure.QuotaExhausted
	case status == 404:
		return failure.ModelNotFound
	case status == 408 || status == 0 || status >= 500:
		return failure.Transient
	}
	return failure.InvalidRequest
}

// field returns the first of some fields that an object has.
func field(object map[string]any, names []string) (string, bool) {
	for _, name := range names {
		if object[name] != nil {
			return name, true
		}
	}
	return "", false
}

func textOf(object map[string]any, name string) string {
	text, _ := object[name].(string)
	return text
}

func integerOf(object map[string]any, name string) (int, error) {
	if object[name] == nil {
		return 0, nil
	}
	n, err := strconv.Atoi(fmt.Sprint(object[name]))
	if err != nil {
		return 0, fmt.Errorf("%s must be a whole number, got %s", name, shown(object[name]))
	}
	return n, nil
}

// timeOf reads a time: RFC 3339, or seconds or milliseconds since 1970.
func timeOf(object map[string]any, name string) (at time.Time, given bool, err error) {
	switch v := object[name].(type) {
	case nil:
		return at, false, nil
	case string:
		if at, err = time.Parse(time.RFC3339Nano, v); err == nil {
			return at, true, nil
		}
	case json.Number:
		if n, err := v.Float64(); err == nil && n > 0 && n < 1e14 {
			if n > 1e11 { // in seconds that would be the year 5138
				n /= 1000
			}
			return time.Unix(0, 0).Add(time.Duration(n * float64(time.Second))), true, nil
		}
	}
	return at, false, fmt.Errorf("%s must be a time as in RFC 3339, or a Unix time, got %s", name, shown(object[name]))
}

// either reads a duration that llmcall call prints in milliseconds, and log/slog writes in
// nanoseconds.
func either(object map[string]any, name string) (time.Duration, error) {
	if object[name+"_ms"] != nil {
		return durationOf(object, name+"_ms")
	}
	if n, ok := object[name].(json.Number); ok {
		if ns, err := n.Int64(); err == nil && ns >= 0 {
			return time.Duration(ns), nil
		}
	}
	return durationOf(object, name)
}

// durationOf reads a duration: a number of milliseconds if the name says so, of seconds else,
// or a Go duration.
func durationOf(object map[string]any, name string) (time.Duration, error) {
	unit := time.Second
	if len(name) > 3 && name[len(name)-3:] == "_ms" {
		unit = time.Millisecond
	}
	const longest = 24 * time.Hour
	switch v := object[name].(type) {
	case nil:
		return 0, nil
	case string:
		if d, err := time.ParseDuration(v); err == nil && d >= 0 && d <= longest {
			return d, nil
		}
	case json.Number:
		if n, err := v.Float64(); err == nil && n >= 0 && n <= float64(longest/unit) {
			return time.Duration(n * float64(unit)), nil
		}
	}
	return 0, fmt.Errorf("%s must be a duration from 0 to 24 h, got %s", name, shown(object[name]))
}

func shown(v any) string {
	if text, ok := v.(string); ok {
		return strconv.Quote(say.Short(text, 40))
	}
	return say.Short(fmt.Sprint(v), 40)
}
