package yamlfile

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"llmcall/internal/nearest"
	"llmcall/internal/say"
)

// FieldError is what is wrong with a field of a file: what it got and must be, or what else.
type FieldError struct {
	Line       int    // 0: none
	Field      string // "limits.burst"; "": the value as a whole
	Got, Takes string
	Wrong      string // instead of Got and Takes
}

// Error names the field, but not the line.
func (e *FieldError) Error() string {
	switch {
	case e.Wrong != "" && e.Field == "":
		return e.Wrong
	case e.Wrong != "":
		return e.Field + ": " + e.Wrong
	}
	return fmt.Sprintf("%s must be %s, got %s", e.Field, e.Takes, e.Got)
}

// Within returns the error of a field of what is at a path, "limits" or "steps[0]".
func (e *FieldError) Within(path string) *FieldError {
	inner := *e
	switch {
	case path == "":
	case e.Field == "":
		inner.Field = path
	default:
		inner.Field = path + "." + e.Field
	}
	return &inner
}

// Impossible returns the error of a value: what it must be, and what it is. The value is
// the one at the node.
func Impossible(n *yaml.Node, field, takes string) *FieldError {
	return &FieldError{Line: n.Line, Field: field, Got: Show(n), Takes: takes}
}

// Fields calls the function of each field of a mapping, with its value, and returns the
// fields' lines; that of "" is the mapping's own. path begins the fields' names in errors
// ("limits."), takes is what the mapping must be. An unknown field is an error with the
// nearest known name, or all of them.
func Fields(n *yaml.Node, path, takes string, set map[string]func(*yaml.Node) error) (map[string]int, error) {
	if n = Resolved(n); n.Kind != yaml.MappingNode {
		return nil, Impossible(n, strings.TrimSuffix(path, "."), takes)
	}
	lines := map[string]int{"": n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := Resolved(n.Content[i]), Resolved(n.Content[i+1])
		setter, ok := set[key.Value]
		if !ok {
			return nil, &FieldError{Line: key.Line, Field: path + FieldName(key), Wrong: unknown(key.Value, slices.Sorted(maps.Keys(set)))}
		}
		if first, twice := lines[key.Value]; twice {
			return nil, &FieldError{Line: key.Line, Field: path + FieldName(key), Wrong: fmt.Sprintf("appears twice, first on line %d", first)}
		}
		lines[key.Value] = key.Line
		if err := setter(value); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// unknown names the nearest known field, or, if none is near, all of them.
func unknown(given string, known []string) string {
	if question := nearest.Question(given, known); question != "" {
		return "unknown field" + question
	}
	return "unknown field: known are " + strings.Join(known, ", ")
}

// Show returns a node's value for a message, shortened.
func Show(n *yaml.Node) string {
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

// FieldName returns a field's name for a message.
func FieldName(key *yaml.Node) string {
	if key.Kind != yaml.ScalarNode || key.Value == "" {
		return "a field"
	}
	return say.Short(key.Value, 60)
}

// Text reads a string.
func Text[S ~string](n *yaml.Node, field string, to *S) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		return Impossible(n, field, "a string")
	}
	*to = S(n.Value)
	return nil
}

// Whole reads a whole number.
func Whole(n *yaml.Node, field string, to *int) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(to) != nil {
		return Impossible(n, field, "a whole number")
	}
	return nil
}

// Bool reads true or false.
func Bool(n *yaml.Node, field string, to *bool) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(to) != nil {
		return Impossible(n, field, "true or false")
	}
	return nil
}

// Seed reads a whole number of at least 0.
func Seed(n *yaml.Node, field string, to *uint64) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(to) != nil {
		return Impossible(n, field, "a whole number of at least 0")
	}
	return nil
}

// Float reads a number.
func Float(n *yaml.Node, field string, to *float64) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" || n.Decode(to) != nil {
		return Impossible(n, field, "a number")
	}
	return nil
}

// TakesTime is what [Duration] reads.
const TakesTime = `a time of at least 0 (seconds, or a duration like "1m30s")`

// Duration reads seconds as a number, or a Go duration as a string.
func Duration(n *yaml.Node, field string, to *time.Duration) error {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			return Impossible(n, field, TakesTime)
		}
		*to = d
		return nil
	}
	var seconds float64
	if err := Float(n, field, &seconds); err != nil || math.IsNaN(seconds) || math.Abs(seconds) >= math.MaxInt64/float64(time.Second) {
		return Impossible(n, field, TakesTime)
	}
	*to = time.Duration(seconds * float64(time.Second))
	return nil
}
