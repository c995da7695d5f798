package yamlfile

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// jsonReader converts JSON to the nodes of YAML. YAML is not quite the superset of
// JSON that it is meant to be: it refuses a character above U+FFFF written as two
// \u escapes, as Python writes them, and takes U+0085 in a string for a line break.
type jsonReader struct {
	tokens *json.Decoder
	data   []byte
	seen   int // how many bytes line has counted
	line   int
}

// readJSON reads one value, which json.Valid must accept.
func readJSON(data []byte) (*yaml.Node, error) {
	r := jsonReader{tokens: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
	r.tokens.UseNumber()
	return r.next()
}

// next reads the next value. In an object, these are alternately keys and values.
func (r *jsonReader) next() (*yaml.Node, error) {
	token, err := r.tokens.Token()
	if err != nil {
		return nil, err
	}
	end := int(r.tokens.InputOffset())
	r.line += bytes.Count(r.data[r.seen:end], []byte("\n"))
	r.seen = end
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line}
	switch v := token.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if v == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for r.tokens.More() {
			child, err := r.next()
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err = r.tokens.Token() // the closing bracket
		return n, err
	case string:
		n.Tag, n.Value, n.Style = "!!str", v, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!int", v.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(v)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}
