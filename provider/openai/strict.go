package openai

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"llmcall/provider/internal/wire"
)

// strictCopy returns a copy of a schema that OpenAI accepts with "strict": true, which
// forces the model to follow it. Any other schema would be refused with a 400.
//
// In the copy every object is closed and requires all of its properties: one that is
// optional may be null instead, and [nullDropper] takes that null out of the answer.
// References with keywords beside them are replaced by what they refer to. A type that
// other keywords tell is added. Keywords that strict mode does not take go into the
// description, as Anthropic's SDKs do it. So whatever fits the copy has the shape of the
// schema, and may violate only what went into descriptions: the caller checks that.
//
// If there is no such copy, why says so: the schema allows any value at some place, for
// example. The page's limits of size (10 levels, 5000 properties) are left to OpenAI.
//
// Source: https://developers.openai.com/api/docs/guides/structured-outputs,
// "Supported schemas".
func strictCopy(schema json.RawMessage) (c strict, why string) {
	inlined, ok := wire.Inline(schema)
	if !ok {
		return strict{}, "a reference that can't be replaced"
	}
	root := gjson.ParseBytes(inlined)
	if !root.IsObject() || root.Get("type").String() != "object" {
		return strict{}, "the answer need not be an object"
	}
	if has, _ := wire.Keywords(wire.Members(root)); choosesShape(has) {
		return strict{}, "alternatives at the top"
	}
	f := fitter{root: root}
	copied, err := f.node(root, "")
	if err != nil {
		return strict{}, err.Error()
	}
	c.schema = copied
	if f.nulls {
		c.original = root
	}
	return c, ""
}

// strict is a copy of a schema for strict mode.
type strict struct {
	schema   json.RawMessage
	original gjson.Result // with its references replaced; zero if the copy allows no further null
}

// fitter makes a strictCopy.
type fitter struct {
	root  gjson.Result
	nulls bool // some property may be null in the copy alone
}

func (f *fitter) node(node gjson.Result, at string) (json.RawMessage, error) {
	refuse := func(what string) (json.RawMessage, error) {
		if at == "" {
			return nil, fmt.Errorf("%s", what)
		}
		return nil, fmt.Errorf("%s at %s", what, at)
	}
	if !node.IsObject() {
		return refuse("any value is allowed") // true and false are schemas too
	}
	given := wire.Typed(wire.Members(node))
	has, ok := wire.Keywords(given)
	if !ok {
		return refuse("a keyword twice")
	}
	if has["$ref"].Exists() {
		return json.RawMessage(node.Raw), nil // to a definition, alone: see wire.Inline
	}
	types := typesOf(has["type"])
	alternatives := choosesShape(has)
	switch object := slices.Contains(types, "object"); {
	case has["allOf"].Exists():
		return refuse("allOf")
	case len(types) == 0 && !alternatives:
		return refuse("any value is allowed")
	case alternatives && (object || has["anyOf"].Exists() && has["oneOf"].Exists() || has["enum"].Exists() || has["const"].Exists()):
		return refuse("alternatives beside other keywords")
	case slices.Contains(types, "array") && !has["items"].IsObject():
		return refuse("a list of any values")
	case object && has["additionalProperties"].IsObject():
		return refuse("properties of any name")
	case object && len(wire.Members(has["properties"])) == 0 && has["additionalProperties"].Type != gjson.False:
		return refuse("properties of any name")
	case object && (has["enum"].Exists() || has["const"].Exists()):
		return refuse("a given object")
	}
	var kept, moved []wire.Member
	for _, m := range given {
		value, here := has[m.Name], at+"/"+m.Name
		var fitted json.RawMessage
		var err error
		switch m.Name {
		case "$schema", "$id", "$comment", "additionalProperties", "required", "properties":
			continue
		case "items":
			if fitted, err = f.node(value, here); err == nil {
				kept = append(kept, wire.Named(m.Name, fitted))
			}
		case "anyOf", "oneOf":
			if !alternatives {
				moved = append(moved, m)
			} else if fitted, err = f.list(value, here); err == nil {
				kept = append(kept, wire.Named("anyOf", fitted))
			}
		case "$defs", "definitions":
			if fitted, err = f.definitions(value, here); err == nil {
				kept = append(kept, wire.Named(m.Name, fitted))
			}
		case "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "prefixItems":
			return refuse(m.Name)
		default:
			if strictTakes(m.Name, value) {
				kept = append(kept, m)
			} else {
				moved = append(moved, m)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if slices.Contains(types, "object") {
		properties, names, err := f.properties(has, at)
		if err != nil {
			return nil, err
		}
		kept = append(kept, wire.Named("properties", properties), wire.Named("required", names), wire.Named("additionalProperties", json.RawMessage("false")))
	}
	return wire.Object(wire.Described(kept, moved)), nil
}

// choosesShape reports whether a schema has alternatives of which an answer has the shape.
func choosesShape(has map[string]gjson.Result) bool {
	return slices.ContainsFunc([]string{"anyOf", "oneOf"}, func(name string) bool {
		return has[name].Exists() && !wire.OnlyRequires(has[name], has["properties"])
	})
}

// properties returns the properties of an object, all of them required.
func (f *fitter) properties(has map[string]gjson.Result, at string) (properties, names json.RawMessage, err error) {
	all := wire.Members(has["properties"])
	required := has["required"].Array()
	var list []json.RawMessage
	for i, m := range all {
		here := at + "/properties/" + m.Name
		value := gjson.Parse(m.Value)
		fitted, err := f.node(value, here)
		if err != nil {
			return nil, nil, err
		}
		optional := !slices.ContainsFunc(required, func(name gjson.Result) bool { return name.String() == m.Name })
		if optional && !acceptsNull(f.root, value, map[string]bool{}) {
			f.nulls = true
			fitted = orNull(fitted)
		}
		all[i].Value = string(fitted)
		list = append(list, json.RawMessage(m.Raw))
	}
	for _, name := range required {
		if !slices.ContainsFunc(all, func(m wire.Member) bool { return m.Name == name.String() }) {
			return nil, nil, fmt.Errorf("the required property %s is not defined at %s", strconv.Quote(name.String()), at)
		}
	}
	return wire.Object(all), wire.Array(list), nil
}

func (f *fitter) list(nodes gjson.Result, at string) (json.RawMessage, error) {
	var all []json.RawMessage
	for i, node := range nodes.Array() {
		fitted, err := f.node(node, at+"/"+strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		all = append(all, fitted)
	}
	return wire.Array(all), nil
}

func (f *fitter) definitions(nodes gjson.Result, at string) (json.RawMessage, error) {
	all := wire.Members(nodes)
	for i, m := range all {
		fitted, err := f.node(gjson.Parse(m.Value), at+"/"+m.Name)
		if err != nil {
			return nil, err
		}
		all[i].Value = string(fitted)
	}
	return wire.Object(all), nil
}

// orNull allows null beside what a schema of strict mode allows.
func orNull(schema json.RawMessage) json.RawMessage {
	given := wire.Members(gjson.ParseBytes(schema))
	for i, m := range given {
		kind := gjson.Parse(m.Value)
		closed := slices.ContainsFunc(given, func(m wire.Member) bool { return m.Name == "enum" || m.Name == "const" })
		switch {
		case m.Name == "anyOf":
			given[i].Value = strings.TrimSuffix(m.Value, "]") + `,{"type":"null"}]`
			return wire.Object(given)
		case m.Name == "type" && kind.Type == gjson.String && !closed && kind.String() != "object" && kind.String() != "array":
			given[i].Value = `[` + m.Value + `,"null"]`
			return wire.Object(given)
		}
	}
	return json.RawMessage(`{"anyOf":[` + string(schema) + `,{"type":"null"}]}`)
}

// acceptsNull reports whether a schema, whose references are to root's definitions,
// accepts null. seen has the references that were followed, each with the result.
func acceptsNull(root, node gjson.Result, seen map[string]bool) bool {
	if !node.IsObject() {
		return node.Type != gjson.False
	}
	accepts := true
	for _, m := range wire.Members(node) {
		value := gjson.Parse(m.Value)
		refuses := func(n gjson.Result) bool { return !acceptsNull(root, n, seen) }
		switch m.Name {
		case "$ref":
			accepts = accepts && acceptsNullAt(root, value, seen)
		case "type":
			accepts = accepts && slices.Contains(typesOf(value), "null")
		case "enum":
			accepts = accepts && slices.ContainsFunc(value.Array(), func(v gjson.Result) bool { return v.Raw == "null" })
		case "const":
			accepts = accepts && value.Raw == "null"
		case "anyOf", "oneOf":
			accepts = accepts && slices.ContainsFunc(value.Array(), func(n gjson.Result) bool { return !refuses(n) })
		case "allOf":
			accepts = accepts && !slices.ContainsFunc(value.Array(), refuses)
		}
	}
	return accepts
}

func acceptsNullAt(root, reference gjson.Result, seen map[string]bool) bool {
	to := reference.String()
	if result, known := seen[to]; known { // false while it is being found
		return result
	}
	seen[to] = false
	target, ok := wire.Resolve(root, reference)
	seen[to] = !ok || acceptsNull(root, target, seen)
	return seen[to]
}

// typesOf returns the types that a keyword lists.
func typesOf(keyword gjson.Result) []string {
	var types []string
	for _, kind := range keyword.Array() { // of one, if it is not an array
		types = append(types, kind.String())
	}
	return types
}

// strictTakes reports whether strict mode accepts a keyword whose value is not a schema. One
// that the page does not mention counts as not accepted.
func strictTakes(keyword string, value gjson.Result) bool {
	switch keyword {
	case "title", "description":
		return value.Type == gjson.String
	case "type", "enum", "const":
		return true
	case "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "minItems", "maxItems":
		return value.Type == gjson.Number
	case "pattern":
		return value.Type == gjson.String && !lookaround.MatchString(value.String())
	case "format":
		return slices.Contains(strictFormats, value.String())
	}
	return false
}

// lookaround matches what OpenAI refuses in a regular expression.
var lookaround = regexp.MustCompile(`\(\?<?[=!]`)

var strictFormats = []string{"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
