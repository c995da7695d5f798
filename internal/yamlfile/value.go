package yamlfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"llmcall/internal/say"
)

// Value returns the value that [JSON] has: a map[string]any, []any, string, bool,
// [json.Number] or nil.
func Value(n *yaml.Node) (any, error) {
	text, err := JSON(n)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	err = decoder.Decode(&value)
	return value, err
}

// JSON returns a node as JSON, with the fields in their order. A number that JSON writes in
// another way (007, 0x1F) and what JSON has no type for, such as a date, is a string, as
// it is written. Every error is an *[Error]; a few lines of aliases of aliases can expand to
// gigabytes, which is one.
func JSON(n *yaml.Node) (json.RawMessage, error) {
	w := writer{merges: maxMerges}
	if err := w.write(n, 0); err != nil {
		return nil, err
	}
	return w.Bytes(), nil
}

// How large and deep a value may be, and how many fields and mappings "<<" may bring.
const (
	maxSize   = 64 << 20
	maxDepth  = 10_000 // as many as encoding/json reads
	maxMerges = 1 << 20
)

type writer struct {
	bytes.Buffer
	merges int // how many are left
}

func (w *writer) write(n *yaml.Node, depth int) error {
	n = Resolved(n)
	if depth++; depth > maxDepth || w.Len() > maxSize {
		return tooLarge(n)
	}
	switch n.Kind {
	case yaml.MappingNode:
		fields, err := w.fieldsOf(n, depth)
		if err != nil {
			return err
		}
		w.WriteByte('{')
		for i := 0; i+1 < len(fields); i += 2 {
			if i > 0 {
				w.WriteByte(',')
			}
			if err := w.writeScalar(fields[i].Value); err != nil {
				return err
			}
			w.WriteByte(':')
			if err := w.write(fields[i+1], depth); err != nil {
				return err
			}
		}
		w.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		w.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				w.WriteByte(',')
			}
			if err := w.write(item, depth); err != nil {
				return err
			}
		}
		w.WriteByte(']')
		return nil
	}
	value, err := scalar(n)
	if err != nil {
		return err
	}
	return w.writeScalar(value)
}

func tooLarge(n *yaml.Node) error { return &Error{n.Line, "its aliases expand to too much data"} }

func (w *writer) writeScalar(value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	w.Truncate(w.Len() - 1) // the line's end
	return err
}

// Resolved returns the node that an alias refers to, or the node itself.
func Resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// fieldsOf returns the names and values of a mapping, in turn: its own, and those that "<<"
// brings where it has none of its own.
func (w *writer) fieldsOf(n *yaml.Node, depth int) ([]*yaml.Node, error) {
	if depth++; depth > maxDepth {
		return nil, tooLarge(n)
	}
	var fields, merged []*yaml.Node
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := Resolved(n.Content[i]), n.Content[i+1]
		switch first, twice := lines[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			return nil, &Error{key.Line, "the name of a field must be a text, got a list or a mapping"}
		case key.ShortTag() == "!!merge":
			merged = append(merged, Resolved(value))
			continue
		case twice:
			return nil, &Error{key.Line, fmt.Sprintf("%s appears twice, first on line %d", strconv.Quote(say.Short(key.Value, 60)), first)}
		}
		lines[key.Value] = key.Line
		fields = append(fields, key, value)
	}
	for len(merged) > 0 {
		from := merged[0]
		merged = merged[1:]
		if w.merges -= 1 + len(from.Content); w.merges < 0 {
			return nil, tooLarge(n)
		}
		switch from.Kind {
		case yaml.SequenceNode:
			for _, one := range from.Content {
				merged = append(merged, Resolved(one))
			}
		case yaml.MappingNode:
			more, err := w.fieldsOf(from, depth)
			if err != nil {
				return nil, err
			}
			for i := 0; i+1 < len(more); i += 2 {
				if _, own := lines[more[i].Value]; !own {
					lines[more[i].Value] = more[i].Line
					fields = append(fields, more[i], more[i+1])
				}
			}
		default:
			return nil, &Error{from.Line, "<< must be followed by a mapping"}
		}
	}
	return fields, nil
}

func scalar(n *yaml.Node) (any, error) {
	wrong := func(kind string) error {
		return &Error{n.Line, fmt.Sprintf("%s is not %s", strconv.Quote(say.Short(n.Value, 60)), kind)}
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		if n.Decode(&b) != nil {
			return nil, wrong("true or false")
		}
		return b, nil
	case "!!int", "!!float":
		if text := strings.TrimPrefix(n.Value, "+"); text != "" && strings.Contains("-0123456789", text[:1]) && json.Valid([]byte(text)) {
			return json.Number(text), nil
		}
		var f float64
		if n.Decode(&f) != nil {
			return nil, wrong("a number")
		}
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, wrong("a number that JSON has")
		}
		if n.ShortTag() == "!!int" {
			return n.Value, nil
		}
		return json.Number(strconv.FormatFloat(f, 'g', -1, 64)), nil
	}
	return n.Value, nil
}
