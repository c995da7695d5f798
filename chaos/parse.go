package chaos

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v4"

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
			err = wrong.at(lines.of(field, i, wrong.field)).Within(strings.TrimSuffix(placeOf(field, i), "."))
		}
	}
	if err != nil {
		at, ok := errors.AsType[*yamlfile.FieldError](err)
		if ok && at.Field == "" {
			err = at.Within("the plan")
		}
		if ok && at.Line > 0 {
			return nil, fmt.Errorf("%s:%d: %w", name, at.Line, err)
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
	top, err := yamlfile.Fields(root, "", "a mapping with steps, weights or limits", map[string]func(*yaml.Node) error{
		"answer_time": func(n *yaml.Node) error { return yamlfile.Duration(n, "answer_time", &plan.AnswerTime) },
		"limits": func(n *yaml.Node) (err error) {
			plan.Limits, err = decodeLimits(n, lines)
			return err
		},
		"seed": func(n *yaml.Node) error { return yamlfile.Seed(n, "seed", &plan.Seed) },
		"steps": func(n *yaml.Node) (err error) {
			plan.Steps, err = decodeFaults(n, "steps", lines)
			return err
		},
		"repeat": func(n *yaml.Node) error { return yamlfile.Bool(n, "repeat", &plan.Repeat) },
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
			if err := yamlfile.Whole(n, "limits."+name, to); err != nil {
				return err
			}
			if *to == 0 { // in Go 0 means no limit; in a file it looks like a limit of 0
				return yamlfile.Impossible(n, "limits."+name, takesLimit)
			}
			return nil
		}
	}
	at, err := yamlfile.Fields(n, "limits.", takesLimits, map[string]func(*yaml.Node) error{
		"requests_per_minute": whole("requests_per_minute", &l.RequestsPerMinute),
		"tokens_per_minute":   whole("tokens_per_minute", &l.TokensPerMinute),
		"burst":               whole("burst", &l.Burst),
		"window":              func(n *yaml.Node) error { return yamlfile.Text(n, "limits.window", &l.Window) },
		"concurrent":          whole("concurrent", &l.Concurrent),
		"queue":               func(n *yaml.Node) error { return yamlfile.Whole(n, "limits.queue", &l.Queue) },
		"hint":                func(n *yaml.Node) error { return yamlfile.Text(n, "limits.hint", &l.Hint) },
		"headers":             func(n *yaml.Node) error { l.Headers = new(bool); return yamlfile.Bool(n, "limits.headers", l.Headers) },
	})
	lines["limits"] = []map[string]int{at}
	return l, err
}

func decodeFaults(n *yaml.Node, field string, lines lineOf) ([]Fault, error) {
	if n = yamlfile.Resolved(n); n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return nil, yamlfile.Impossible(n, field, "a list of at least one fault")
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
		if err := yamlfile.Float(weight, field+"."+yamlfile.FieldName(kind), &f.Weight); err != nil {
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
	lines, err = yamlfile.Fields(n, path, "a kind, or a mapping with the fields of a fault", map[string]func(*yaml.Node) error{
		"kind":             func(n *yaml.Node) error { return yamlfile.Text(n, path+"kind", &f.Kind) },
		"weight":           func(n *yaml.Node) error { return yamlfile.Float(n, path+"weight", &f.Weight) },
		"delay":            func(n *yaml.Node) error { return yamlfile.Duration(n, path+"delay", &f.Delay) },
		"chunk_delay":      func(n *yaml.Node) error { return yamlfile.Duration(n, path+"chunk_delay", &f.ChunkDelay) },
		"answer":           func(n *yaml.Node) error { return yamlfile.Text(n, path+"answer", &f.Answer) },
		"at":               func(n *yaml.Node) error { f.At = new(string); return yamlfile.Text(n, path+"at", f.At) },
		"after":            func(n *yaml.Node) error { f.After = new(int); return yamlfile.Whole(n, path+"after", f.After) },
		"end":              func(n *yaml.Node) error { return yamlfile.Text(n, path+"end", &f.End) },
		"size":             func(n *yaml.Node) error { return yamlfile.Whole(n, path+"size", &f.Size) },
		"finish":           func(n *yaml.Node) error { return yamlfile.Text(n, path+"finish", &f.Finish) },
		"cached_tokens":    func(n *yaml.Node) error { return yamlfile.Whole(n, path+"cached_tokens", &f.CachedTokens) },
		"reasoning_tokens": func(n *yaml.Node) error { return yamlfile.Whole(n, path+"reasoning_tokens", &f.ReasoningTokens) },
		"tool":             func(n *yaml.Node) error { return yamlfile.Text(n, path+"tool", &f.Tool) },
		"error":            func(n *yaml.Node) error { return yamlfile.Text(n, path+"error", &f.Error) },
		"status":           func(n *yaml.Node) error { return yamlfile.Whole(n, path+"status", &f.Status) },
		"code":             func(n *yaml.Node) error { return yamlfile.Text(n, path+"code", &f.Code) },
		"body":             func(n *yaml.Node) error { f.Body = new(string); return yamlfile.Text(n, path+"body", f.Body) },
		"headers":          func(n *yaml.Node) (err error) { f.Headers, err = asHeaders(n, path+"headers"); return err },
		"retry_after":      func(n *yaml.Node) error { return asWritten(n, path+"retry_after", &f.RetryAfter) },
		"retry_after_date": func(n *yaml.Node) error { return yamlfile.Duration(n, path+"retry_after_date", &f.RetryAfterDate) },
		"retry_after_ms":   func(n *yaml.Node) error { return asWritten(n, path+"retry_after_ms", &f.RetryAfterMS) },
		"reset_after":      func(n *yaml.Node) error { return yamlfile.Duration(n, path+"reset_after", &f.ResetAfter) },
	})
	return f, lines, err
}

// asWritten reads a number or a string exactly as it is written.
func asWritten(n *yaml.Node, field string, to *string) error {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		return yamlfile.Impossible(n, field, "a number or a non-empty string, which is sent unchanged (for an empty value use headers)")
	}
	*to = n.Value
	return nil
}

// asHeaders reads a mapping of names to a value or a list of values.
func asHeaders(n *yaml.Node, field string) (http.Header, error) {
	const takes = "a mapping of names to a value or a list of values"
	if n.Kind != yaml.MappingNode {
		return nil, yamlfile.Impossible(n, field, takes)
	}
	h := http.Header{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := yamlfile.Resolved(n.Content[i]), yamlfile.Resolved(n.Content[i+1])
		if name.Kind != yaml.ScalarNode {
			return nil, yamlfile.Impossible(name, field, takes)
		}
		values := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			values = value.Content
			h[http.CanonicalHeaderKey(name.Value)] = nil // without values: not sent
		}
		for _, v := range values {
			if v = yamlfile.Resolved(v); v.Kind != yaml.ScalarNode {
				return nil, yamlfile.Impossible(v, field+"."+yamlfile.FieldName(name), "a value or a list of values")
			}
			h.Add(name.Value, v.Value)
		}
	}
	return h, nil
}

// UnmarshalYAML reads a fault as [ParsePlan] does, so that other files can have faults too.
// The error of an unknown or impossible field names it.
func (f *Fault) UnmarshalYAML(n *yaml.Node) error {
	read, lines, err := decodeFault(n, "")
	if err != nil {
		return err
	}
	if wrong := read.check(); wrong != nil {
		return wrong.at(lineOf{"": {lines}}.of("", 0, wrong.field))
	}
	*f = read
	return nil
}

// UnmarshalYAML reads limits as [ParsePlan] does, so that other files can have limits too.
// The error of an unknown or impossible field names it.
func (l *Limits) UnmarshalYAML(n *yaml.Node) error {
	const field = "limits"
	lines := lineOf{}
	read, err := decodeLimits(n, lines)
	if err != nil {
		return err
	}
	if wrong := read.check(); wrong != nil {
		return wrong.at(lines.of(field, 0, wrong.field)).Within(field)
	}
	*l = *read
	return nil
}

// Validate returns what is wrong with the fault, naming the field, or nil. A field that has
// no effect with the Kind is wrong too.
func (f Fault) Validate() error {
	if wrong := f.check(); wrong != nil {
		return wrong.at(0)
	}
	return nil
}

// Validate returns what is wrong with the limits, naming the field, or nil.
func (l *Limits) Validate() error {
	if wrong := l.check(); wrong != nil {
		return wrong.at(0)
	}
	return nil
}
