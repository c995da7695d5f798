package openapi

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate"
)

// document is a document, decoded.
type document struct {
	root    *yaml.Node
	value   any    // as encoding/json would decode it
	version string // "2.0", "3.0" or "3.1"
}

// fault says why a text is not a document.
type fault struct {
	problem, suggestion string
	line, column        int
}

var alone = phrase.OpenAPIDocument.Of()

// read decodes JSON, which begins with a brace, or YAML. JSON is also read as YAML, for
// the line and column of its values.
func read(text string) (*document, *fault) {
	switch bare := strings.TrimSpace(text); {
	case bare == "":
		return nil, &fault{"there is no OpenAPI document", alone, 1, 1}
	case bare[0] != '{':
		return readYAML(text)
	}
	value, _, err := (&validate.Answer{Text: text}).JSON()
	if cs, ok := errors.AsType[validate.Complaints](err); ok && len(cs) > 0 {
		return nil, &fault{"the document can't be read as JSON: " + cs[0].Problem, cs[0].Suggestion, cs[0].Line, cs[0].Column}
	}
	d, bad := readYAML(text)
	if d == nil && bad != nil {
		// YAML does not accept all of JSON, such as names of more than 1024
		// characters.
		return &document{value: value}, nil
	}
	return d, bad
}

func readYAML(text string) (*document, *fault) {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var root, second yaml.Node
	if err := decoder.Decode(&root); err != nil {
		return nil, unreadable(err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, unreadable(err)
		}
		return nil, &fault{"there is more than one YAML document", alone, second.Line, second.Column}
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return nil, &fault{"this is not an OpenAPI document: its root is not a mapping or an object", alone, 1, 1}
	}
	d := &document{root: root.Content[0]}
	left := maxValues
	value, bad := plain(d.root, 0, &left)
	d.value = value
	return d, bad
}

func unreadable(err error) *fault {
	if at, ok := errors.AsType[*yaml.LoadError](err); ok {
		return &fault{"the document can't be read as YAML: " + at.Message, "answer with valid YAML or JSON", at.Mark.Line, at.Mark.Column}
	}
	return &fault{"the document can't be read as YAML: " + strings.TrimPrefix(err.Error(), "yaml: "), "answer with valid YAML or JSON", 1, 1}
}

// plain returns the value of a node. left bounds how much aliases may repeat.
func plain(n *yaml.Node, depth int, left *int) (any, *fault) {
	if *left--; *left < 0 {
		return nil, &fault{fmt.Sprintf("the document has more than %d values, with its aliases expanded", maxValues), "write it without aliases", n.Line, n.Column}
	}
	if depth > maxDepth {
		return nil, &fault{fmt.Sprintf("the document is nested more than %d deep", maxDepth), "nest it less deeply", n.Line, n.Column}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return plain(n.Alias, depth+1, left)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			v, bad := plain(item, depth+1, left)
			if bad != nil {
				return nil, bad
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		object := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
				return nil, &fault{"a key is not a plain name", "use strings as keys, and no merge key (<<)", key.Line, key.Column}
			}
			if _, again := object[key.Value]; again {
				return nil, &fault{fmt.Sprintf("the key %.60q is there more than once", key.Value), "give each key once", key.Line, key.Column}
			}
			v, bad := plain(n.Content[i+1], depth+1, left)
			if bad != nil {
				return nil, bad
			}
			object[key.Value] = v
		}
		return object, nil
	}
	switch n.Tag {
	case "!!null":
		return nil, nil
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, &fault{fmt.Sprintf("the value %.60q can't be read", n.Value), "write it as a string, in quotes", n.Line, n.Column}
		}
		if f, ok := v.(float64); ok && (f != f || f-f != 0) {
			return nil, &fault{fmt.Sprintf("the value %.60q is not a JSON number", n.Value), "use a number that JSON has", n.Line, n.Column}
		}
		return v, nil
	}
	return n.Value, nil
}

var versions = regexp.MustCompile(`^3\.[01]\.\d{1,9}(-.{1,40})?$`)

// identity reads the document's version. It complains about a missing or unknown
// version, and about an empty title.
func (d *document) identity() []validate.Complaint {
	object := d.value.(map[string]any)
	takes := phrase.OpenAPIVersion.Of("3.1.0")
	swagger, old := object["swagger"]
	openapi, now := object["openapi"]
	version, isText := openapi.(string)
	switch {
	case old && now:
		return []validate.Complaint{{Problem: "the document has both the fields swagger and openapi", Suggestion: takes}}
	case old && swagger == "2.0":
		d.version = "2.0"
	case old:
		return []validate.Complaint{{Pointer: "/swagger", Problem: fmt.Sprintf("the version is %s, %s; expected the string \"2.0\"", shown(swagger), typeOf(swagger)), Suggestion: takes}}
	case !now:
		return []validate.Complaint{{Problem: "the document has no field openapi or swagger with its version", Suggestion: takes}}
	case !isText || !versions.MatchString(version):
		return []validate.Complaint{{Pointer: "/openapi", Problem: fmt.Sprintf("the version is %s, %s, which is not a known version", shown(openapi), typeOf(openapi)), Suggestion: takes}}
	default:
		d.version = version[:3]
	}
	var found []validate.Complaint
	if info, ok := object["info"].(map[string]any); ok {
		for _, name := range []string{"title", "version"} {
			if text, ok := info[name].(string); ok && strings.TrimSpace(text) == "" {
				found = append(found, validate.Complaint{Pointer: "/info/" + name, Problem: "the " + name + " is empty", Suggestion: "give the API a " + name})
			}
		}
	}
	return found
}

func shown(v any) string { return strconv.Quote(say.Short(fmt.Sprint(v), 40)) }

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "a number"
}

// references complains about each $ref to something outside the document.
func (d *document) references() []validate.Complaint {
	var found []validate.Complaint
	complain := func(pointer, problem string) {
		found = append(found, validate.Complaint{
			Pointer: pointer + "/$ref", Problem: problem,
			Suggestion: "refer to a part of this document, as in #/components/schemas/Name (2.0: #/definitions/Name), and define it there",
		})
	}
	var walk func(v any, pointer, key string)
	walk = func(v any, pointer, key string) {
		switch v := v.(type) {
		case []any:
			for i, item := range v {
				walk(item, pointer+"/"+strconv.Itoa(i), "")
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && key != "properties" {
				switch target, local := strings.CutPrefix(ref, "#"); {
				case !local:
					complain(pointer, fmt.Sprintf("%s is in another document, which is not read", shown(ref)))
				case target == "" || strings.HasPrefix(target, "/"):
					if !d.has(target) {
						complain(pointer, shown(ref)+" is not in the document")
					}
				case !d.anchors()[target]:
					complain(pointer, shown(ref)+" is not in the document")
				}
			}
			for _, name := range sorted(v) {
				if key != "properties" && (slices.Contains([]string{"example", "examples", "default", "enum", "const"}, name) || strings.HasPrefix(name, "x-")) {
					continue // data, not a part of the description
				}
				walk(v[name], pointer+say.Pointer(name), name)
			}
		}
	}
	walk(d.value, "", "")
	return found
}

func sorted(object map[string]any) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var percent = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// has reports whether a JSON pointer, as the fragment of a URI (RFC 6901, section
// 6), leads to a value.
func (d *document) has(pointer string) bool {
	value := d.value
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if pointer == "" {
			return true
		}
		token = say.Unescape(percent.ReplaceAllStringFunc(token, func(s string) string {
			n, _ := strconv.ParseUint(s[1:], 16, 8)
			return string([]byte{byte(n)})
		}))
		switch v := value.(type) {
		case map[string]any:
			inner, ok := v[token]
			if !ok {
				return false
			}
			value = inner
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return false
			}
			value = v[i]
		default:
			return false
		}
	}
	return true
}

// anchors returns the names that schemas of version 3.1 define for a $ref.
func (d *document) anchors() map[string]bool {
	found := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for _, name := range []string{"$anchor", "$dynamicAnchor"} {
				if anchor, ok := v[name].(string); ok {
					found[anchor] = true
				}
			}
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(d.value)
	return found
}

// position returns the line and column of the value at a JSON pointer, or of the
// closest value around it.
func (d *document) position(pointer string) (line, column int) {
	node := d.root
	if node == nil {
		return 1, 1
	}
	line, column = node.Line, node.Column
	if pointer == "" {
		return line, column
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = say.Unescape(token)
		for hops := 0; node.Kind == yaml.AliasNode && hops < maxDepth; hops++ {
			node = node.Alias
		}
		var next *yaml.Node
		if node.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(node.Content); i += 2 {
				if node.Content[i].Value == token {
					next = node.Content[i+1]
					line, column = node.Content[i].Line, node.Content[i].Column
				}
			}
		} else if i, err := strconv.Atoi(token); err == nil && node.Kind == yaml.SequenceNode && i >= 0 && i < len(node.Content) {
			next = node.Content[i]
			line, column = next.Line, next.Column
		}
		if next == nil {
			break
		}
		node = next
	}
	return line, column
}
