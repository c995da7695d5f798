package chaos

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"llmcall/internal/nearest"
	"llmcall/internal/say"
	"llmcall/internal/yamlfile"
)

// ParsePlan reads a plan in YAML or JSON. name begins the errors; usually it is the
// file's. The fields are those of [Plan], [Fault] and [Limits] in lower case with
// underscores. A time is a number of seconds or a Go duration ("1m30s"). A fault that has
// only a kind may be written as the kind; among the weights it weighs 1. Weights may also
// be a mapping ({right: 9, reset: 1}):
//
//	seed: 7
//	steps:
//	  - {status: 429, kind: status, retry_after: 2}
//	  - {kind: status, error: overloaded}
//	  - hang
//	  - {kind: break, at: /items/0/price}
//	answer_time: 200ms
//	limits: {requests_per_minute: 600, burst: 5, hint: exact}
//
// The error of an unknown or impossible field has the line, the field, what it must be,
// and what it got.
func ParsePlan(name string, data []byte) (*Plan, error) {
	root, err := yamlfile.Parse(data)
	if e, ok := errors.AsType[*yamlfile.Error](err); ok {
		return nil, fmt.Errorf("%s:%d: %w", name, e.Line, e)
	}
	if root == nil {
		return nil, fmt.Errorf("%s: the plan must be a mapping with steps, weights or limits, got nothing", name)
	}
	plan, lines, err := decodePlan(root)
	if err == nil {
		field, i, wrong := plan.check()
		if wrong != nil {
			err = &located{lines.of(field, i, wrong.field), placeOf(field, i), wrong}
		}
	}
	if err != nil {
		var at *located
		if errors.As(err, &at) && at.line > 0 {
			return nil, fmt.Errorf("%s:%d: %w", name, at.line, err)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return plan, nil
}

// placeOf returns the prefix of a field of a fault or of the limits.
func placeOf(field string, i int) string {
	switch {
	case field == "":
		return ""
	case i < 0:
		return field + "."
	}
	return fmt.Sprintf("%s[%d].", field, i)
}

// located is a problem and its line; 0 if there is none.
type located struct {
	line int
	path string
	*problem
}

func (e *located) Error() string {
	if e.field == "" { // the problem is what the path itself names
		return strings.TrimSuffix(e.path, ".") + e.problem.Error()
	}
	return e.path + e.problem.Error()
}

// lineOf has the line of each field: lineOf["steps"][2]["at"]. The fields of the plan
// itself are in lineOf[""][0], those of the limits in lineOf["limits"][0]. The line of a
// whole fault is under the field "".
type lineOf map[string][]map[string]int

func (l lineOf) of(field string, i int, name string) int {
	i = max(i, 0)
	if i >= len(l[field]) {
		return 0
	}
	if line, ok := l[field][i][name]; ok {
		return line
	}
	return l[field][i][""]
}

func decodePlan(root *yaml.Node) (*Plan, lineOf, error) {
	plan, lines := new(Plan), lineOf{}
	top, err := fields(root, "", "a mapping with steps, weights or limits", map[string]func(*yaml.Node) error{
		"answer_time": func(n *yaml.Node) error { return asDuration(n, "answer_time", &plan.AnswerTime) },
		"limits": func(n *yaml.Node) (err error) {
			plan.Limits, err = decodeLimits(n, lines)
			return err
		},
		"seed": func(n *yaml.Node) error { return asSeed(n, &plan.Seed) },
		"steps": func(n *yaml.Node) (err error) {
			plan.Steps, err = decodeFaults(n, "steps", lines)
			return err
		},
		"repeat": func(n *yaml.Node) error { return asBool(n, "repeat", &plan.Repeat) },
		"weights": func(n *yaml.Node) (err error) {
			plan.Weights, err = decodeWeights(n, lines)
			return err
		},
	})
	if err != nil {
		return nil, nil, err
	}
	lines[""] = []map[string]int{top}
	return plan, lines, nil
}

func decodeLimits(n *yaml.Node, lines lineOf) (*Limits, error) {
	l := new(Limits)
	whole := func(name string, to *int) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			if err := asWhole(n, "limits."+name, to); err != nil {
				return err
			}
			if *to == 0 { // in Go 0 means no limit; in a file it looks like a limit of 0
				return wrongValue(n, "limits."+name, takesLimit)
			}
			return nil
		}
	}
	at, err := fields(n, "limits.", takesLimits, map[string]func(*yaml.Node) error{
		"requests_per_minute": whole("requests_per_minute", &l.RequestsPerMinute),
		"tokens_per_minute":   whole("tokens_per_minute", &l.TokensPerMinute),
		"burst":               whole("burst", &l.Burst),
		"window":              func(n *yaml.Node) error { return asText(n, "limits.window", &l.Window) },
		"concurrent":          whole("concurrent", &l.Concurrent),
		"queue":               func(n *yaml.Node) error { return asWhole(n, "limits.queue", &l.Queue) },
		"hint":                func(n *yaml.Node) error { return asText(n, "limits.hint", &l.Hint) },
		"headers":             func(n *yaml.Node) error { l.Headers = new(bool); return asBool(n, "limits.headers", l.Headers) },
	})
	lines["limits"] = []map[string]int{at}
	return l, err
}

func decodeFaults(n *yaml.Node, field string, lines lineOf) ([]Fault, error) {
	if n = yamlfile.Resolved(n); n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return nil, wrongValue(n, field, "a list of at least one fault")
	}
	var faults []Fault
	for i, item := range n.Content {
		f, at, err := decodeFault(item, placeOf(field, i))
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
		lines[field] = append(lines[field], at)
	}
	return faults, nil
}

// decodeWeights reads a list of faults, where one without a weight weighs 1, or a mapping
// of kinds to their weights.
func decodeWeights(n *yaml.Node, lines lineOf) ([]Fault, error) {
	const field = "weights"
	if n = yamlfile.Resolved(n); n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		faults, err := decodeFaults(n, field, lines)
		for i := range faults {
			if _, given := lines[field][i]["weight"]; !given {
				faults[i].Weight = 1
			}
		}
		return faults, err
	}
	var faults []Fault
	for i := 0; i+1 < len(n.Content); i += 2 {
		kind, weight := n.Content[i], yamlfile.Resolved(n.Content[i+1])
		f := Fault{Kind: Kind(kind.Value)}
		if err := asFloat(weight, field+"."+fieldName(kind), &f.Weight); err != nil {
			return nil, err
		}
		faults, lines[field] = append(faults, f), append(lines[field], map[string]int{"": kind.Line})
	}
	return faults, nil
}

func decodeFault(n *yaml.Node, path string) (f Fault, lines map[string]int, err error) {
	if n = yamlfile.Resolved(n); n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		return Fault{Kind: Kind(n.Value)}, map[string]int{"": n.Line}, nil
	}
	lines, err = fields(n, path, "a kind, or a mapping with the fields of a fault", map[string]func(*yaml.Node) error{
		"kind":             func(n *yaml.Node) error { return asText(n, path+"kind", &f.Kind) },
		"weight":           func(n *yaml.Node) error { return asFloat(n, path+"weight", &f.Weight) },
		"delay":            func(n *yaml.Node) error { return asDuration(n, path+"delay", &f.Delay) },
		"chunk_delay":      func(n *yaml.Node) error { return asDuration(n, path+"chunk_delay", &f.ChunkDelay) },
		"answer":           func(n *yaml.Node) error { return asText(n, path+"answer", &f.Answer) },
		"at":               func(n *yaml.Node) error { f.At = new(string); return asText(n, path+"at", f.At) },
		"after":            func(n *yaml.Node) error { f.After = new(int); return asWhole(n, path+"after", f.After) },
		"end":              func(n *yaml.Node) error { return asText(n, path+"end", &f.End) },
		"size":             func(n *yaml.Node) error { return asWhole(n, path+"size", &f.Size) },
		"finish":           func(n *yaml.Node) error { return asText(n, path+"finish", &f.Finish) },
		"cached_tokens":    func(n *yaml.Node) error { return asWhole(n, path+"cached_tokens", &f.CachedTokens) },
		"reasoning_tokens": func(n *yaml.Node) error { return asWhole(n, path+"reasoning_tokens", &f.ReasoningTokens) },
		"tool":             func(n *yaml.Node) error { return asText(n, path+"tool", &f.Tool) },
		"error":            func(n *yaml.Node) error { return asText(n, path+"error", &f.Error) },
		"status":           func(n *yaml.Node) error { return asWhole(n, path+"status", &f.Status) },
		"code":             func(n *yaml.Node) error { return asText(n, path+"code", &f.Code) },
		"body":             func(n *yaml.Node) error { f.Body = new(string); return asText(n, path+"body", f.Body) },
		"headers":          func(n *yaml.Node) (err error) { f.Headers, err = asHeaders(n, path+"headers"); return err },
		"retry_after":      func(n *yaml.Node) error { return asWritten(n, path+"retry_after", &f.RetryAfter) },
		"retry_after_date": func(n *yaml.Node) error { return asDuration(n, path+"retry_after_date", &f.RetryAfterDate) },
		"retry_after_ms":   func(n *yaml.Node) error { return asWritten(n, path+"retry_after_ms", &f.RetryAfterMS) },
		"reset_after":      func(n *yaml.Node) error { return asDuration(n, path+"reset_after", &f.ResetAfter) },
	})
	return f, lines, err
}

// fields calls the setter of each field of a mapping, and returns the fields' lines.
func fields(n *yaml.Node, path, takes string, set map[string]func(*yaml.Node) error) (map[string]int, error) {
	if n = yamlfile.Resolved(n); n.Kind != yaml.MappingNode {
		return nil, wrongValue(n, strings.TrimSuffix(path, "."), takes)
	}
	lines := map[string]int{"": n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := yamlfile.Resolved(n.Content[i]), yamlfile.Resolved(n.Content[i+1])
		setter, ok := set[key.Value]
		if !ok {
			return nil, &located{key.Line, "", &problem{field: path + fieldName(key), wrong: unknownField(key.Value, slices.Sorted(maps.Keys(set)))}}
		}
		if first, twice := lines[key.Value]; twice {
			return nil, &located{key.Line, "", &problem{field: path + fieldName(key), wrong: fmt.Sprintf("appears twice, first on line %d", first)}}
		}
		lines[key.Value] = key.Line
		if err := setter(value); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// unknownField names the nearest known field, or, if none is near, all of them.
func unknownField(given string, known []string) string {
	if question := nearest.Question(given, known); question != "" {
		return "unknown field" + question
	}
	return "unknown field: known are " + list(known)
}

func wrongValue(n *yaml.Node, field, takes string) error {
	if field == "" {
		field = "the plan"
	}
	return &located{n.Line, "", impossible(field, show(n), takes)}
}

// show returns a node's value for a message, shortened.
func show(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			return "an empty list"
		}
		return "a list"
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return "nothing"
		}
		if n.ShortTag() == "!!str" {
			return strconv.Quote(say.Short(n.Value, 60))
		}
		return say.Short(n.Value, 60)
	}
	return "nothing"
}

// fieldName returns a field's name for a message.
func fieldName(key *yaml.Node) string {
	if key.Kind != yaml.ScalarNode || key.Value == "" {
		return "a field"
	}
	return say.Short(key.Value, 60)
}

func asText[S ~string](n *yaml.Node, field string, to *S) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		return wrongValue(n, field, "a string")
	}
	*to = S(n.Value)
	return nil
}

// asWritten reads a number or a string exactly as it is written.
func asWritten(n *yaml.Node, field string, to *string) error {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		return wrongValue(n, field, "a number or a non-empty string, which is sent unchanged (for an empty value use headers)")
	}
	*to = n.Value
	return nil
}

func asWhole(n *yaml.Node, field string, to *int) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(to) != nil {
		return wrongValue(n, field, "a whole number")
	}
	return nil
}

func asBool(n *yaml.Node, field string, to *bool) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(to) != nil {
		return wrongValue(n, field, "true or false")
	}
	return nil
}

func asSeed(n *yaml.Node, to *uint64) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(to) != nil {
		return wrongValue(n, "seed", "a whole number of at least 0")
	}
	return nil
}

func asFloat(n *yaml.Node, field string, to *float64) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" || n.Decode(to) != nil {
		return wrongValue(n, field, "a number")
	}
	return nil
}

// asDuration reads seconds as a number, or a Go duration as a string.
func asDuration(n *yaml.Node, field string, to *time.Duration) error {
	const takes = takesTime + ` (seconds, or a duration like "1m30s")`
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			return wrongValue(n, field, takes)
		}
		*to = d
		return nil
	}
	var seconds float64
	if err := asFloat(n, field, &seconds); err != nil || math.IsNaN(seconds) || math.Abs(seconds) >= math.MaxInt64/float64(time.Second) {
		return wrongValue(n, field, takes)
	}
	*to = time.Duration(seconds * float64(time.Second))
	return nil
}

// asHeaders reads a mapping of names to a value or a list of values.
func asHeaders(n *yaml.Node, field string) (http.Header, error) {
	const takes = "a mapping of names to a value or a list of values"
	if n.Kind != yaml.MappingNode {
		return nil, wrongValue(n, field, takes)
	}
	h := http.Header{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := yamlfile.Resolved(n.Content[i]), yamlfile.Resolved(n.Content[i+1])
		if name.Kind != yaml.ScalarNode {
			return nil, wrongValue(name, field, takes)
		}
		values := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			values = value.Content
			h[http.CanonicalHeaderKey(name.Value)] = nil // without values: not sent
		}
		for _, v := range values {
			if v = yamlfile.Resolved(v); v.Kind != yaml.ScalarNode {
				return nil, wrongValue(v, field+"."+fieldName(name), "a value or a list of values")
			}
			h.Add(name.Value, v.Value)
		}
	}
	return h, nil
}
