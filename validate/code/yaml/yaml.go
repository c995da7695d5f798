// Package yaml adds YAML to the check "code" of package [llmcall/validate/code]. A
// program imports it for this effect:
//
//	import _ "llmcall/validate/code/yaml"
//
// The root of each document must be a mapping or a list, and a mapping must not have a
// key twice.
package yaml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"

	"llmcall/validate/code"
)

func init() {
	code.MustRegister(code.Language{Name: "yaml", Title: "YAML", Labels: []string{"yaml", "yml"}, Parse: parse, Comments: []string{"#", "---"}})
}

// parse accepts documents whose root is a mapping or a list, since any prose is a YAML
// string.
func parse(_ context.Context, source string) ([]code.Problem, error) {
	decoder := yaml.NewDecoder(strings.NewReader(source))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			p := code.Problem{Text: strings.TrimPrefix(err.Error(), "yaml: ")}
			if at, ok := errors.AsType[*yaml.LoadError](err); ok {
				p = code.Problem{Text: at.Message, Line: at.Mark.Line, Column: at.Mark.Column}
			}
			return []code.Problem{p}, nil
		}
		for _, root := range document.Content {
			if root.Kind == yaml.ScalarNode {
				return []code.Problem{{Text: "it is a single value, not a mapping or list", Line: root.Line, Column: root.Column}}, nil
			}
		}
		if repeated := repeatedKey(&document); repeated != nil {
			return []code.Problem{{
				Text: fmt.Sprintf("the key %.60q is there more than once", repeated.Value), Line: repeated.Line, Column: repeated.Column,
			}}, nil
		}
	}
}

// repeatedKey returns a key that a mapping has twice, or nil. It does not follow
// aliases, which could make a short text a huge tree.
func repeatedKey(node *yaml.Node) *yaml.Node {
	keys := map[string]bool{}
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 && child.Kind == yaml.ScalarNode && child.Tag != "!!merge" {
			key := child.Tag + " " + child.Value
			if keys[key] {
				return child
			}
			keys[key] = true
		}
		if found := repeatedKey(child); found != nil {
			return found
		}
	}
	return nil
}
