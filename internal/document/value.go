package document

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"llmcall/internal/say"
)

// Value returns the JSON value of a node: a map[string]any, []any, string, bool,
// [json.Number] or nil. A number that JSON writes in another way (007, 0x1F) and what
// JSON has no type for, such as a date, is a string, as it is written. The caller limits
// the size of what aliases expand to. Every error is an *[Error].
func Value(n *yaml.Node) (any, error) {
	n = resolved(n)
	switch n.Kind {
	case yaml.MappingNode:
		return object(n)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if list[i], err = Value(item); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return scalar(n)
}

// resolved returns the node that an alias refers to, or the node itself.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func object(n *yaml.Node) (map[string]any, error) {
	values, lines := map[string]any{}, map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolved(n.Content[i]), n.Content[i+1]
		switch first, twice := lines[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			return nil, &Error{key.Line, "the name of a field must be a text, got a list or a mapping"}
		case twice:
			return nil, &Error{key.Line, fmt.Sprintf("%s appears twice, first on line %d", strconv.Quote(say.Short(key.Value, 60)), first)}
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
			continue
		}
		lines[key.Value] = key.Line
		var err error
		if values[key.Value], err = Value(value); err != nil {
			return nil, err
		}
	}
	for _, from := range merged {
		if err := merge(values, resolved(from)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// merge adds the fields that "<<" brings, where the mapping has none of its own.
func merge(values map[string]any, from *yaml.Node) error {
	if from.Kind == yaml.SequenceNode {
		for _, one := range from.Content {
			if err := merge(values, resolved(one)); err != nil {
				return err
			}
		}
		return nil
	}
	if from.Kind != yaml.MappingNode {
		return &Error{from.Line, "<< must be followed by a mapping"}
	}
	more, err := object(from)
	for name, value := range more {
		if _, own := values[name]; !own {
			values[name] = value
		}
	}
	return err
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
