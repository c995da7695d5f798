package anthropic

import (
	"encoding/json"
	"regexp"
	"slices"

	"github.com/tidwall/gjson"

	"llmcall/provider/internal/wire"
)

// fit rewrites a schema in the part of JSON Schema that output_config.format
// accepts, and keeps its order and its numbers; it returns false if that is not
// possible. The accepted part is that of "JSON Schema limitations" at
// https://platform.claude.com/docs/en/build-with-claude/structured-outputs. The
// rest is rewritten as Anthropic's SDKs do: further restrictions of a value go
// into its description, objects are closed, and oneOf becomes anyOf. An answer
// that fits the result may violate the restrictions that were moved, but always
// has the shape that the schema requires.
func fit(schema json.RawMessage) (json.RawMessage, bool) {
	schema, ok := wire.Inline(schema)
	if !ok {
		return nil, false
	}
	root := gjson.ParseBytes(schema)
	if root.Get("type").String() != "object" || root.Get("$ref").Exists() || recursive(root) {
		return nil, false
	}
	return fitNode(root)
}

func fitNode(node gjson.Result) (json.RawMessage, bool) {
	if !node.IsObject() {
		return nil, false // true and false, which accept anything or nothing, are schemas too
	}
	given := wire.Members(node)
	if !slices.ContainsFunc(given, func(m wire.Member) bool { return m.Name == "enum" || m.Name == "const" }) {
		given = wire.Typed(given) // these two need no type
	}
	has, ok := wire.Keywords(given)
	if !ok {
		return nil, false
	}
	if reference, ok := has["$ref"]; ok {
		// "$ref is not supported alongside other properties", says the SDK.
		return wire.Object([]wire.Member{wire.Named("$ref", json.RawMessage(reference.Raw))}), wire.LocalReference(reference.String())
	}
	if !shaped(has) {
		return nil, false
	}
	var kept, moved []wire.Member
	object, open := isA(has["type"], "object"), true
	for _, m := range given {
		value := has[m.Name]
		switch m.Name {
		case "$schema", "$id", "$comment":
		case "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "allOf", "patternProperties":
			// The objects that an allOf joins can't be closed one by one.
			return nil, false
		case "oneOf", "anyOf":
			if wire.OnlyRequires(value, has["properties"]) {
				moved = append(moved, m)
				continue
			}
			nodes, ok := fitList(value)
			if !ok {
				return nil, false
			}
			kept = append(kept, wire.Named("anyOf", nodes))
		case "items":
			item, ok := fitNode(value)
			if !ok {
				return nil, false
			}
			kept = append(kept, wire.Named("items", item))
		case "properties", "$defs", "definitions":
			nodes, ok := fitMap(value)
			if !ok {
				return nil, false
			}
			kept = append(kept, wire.Named(m.Name, nodes))
		case "additionalProperties":
			if object {
				kept, open = append(kept, wire.Named(m.Name, json.RawMessage("false"))), false
			}
		default:
			if takes(m.Name, value) {
				kept = append(kept, m)
			} else {
				moved = append(moved, m)
			}
		}
	}
	if object && open {
		kept = append(kept, wire.Named("additionalProperties", json.RawMessage("false")))
	}
	return wire.Object(wire.Described(kept, moved)), true
}

// shaped reports whether the node gives the shape of its values, in a form that
// the API accepts.
func shaped(has map[string]gjson.Result) bool {
	_, enum := has["enum"]
	_, constant := has["const"]
	anyOf := has["anyOf"].Exists() && !wire.OnlyRequires(has["anyOf"], has["properties"])
	oneOf := has["oneOf"].Exists() && !wire.OnlyRequires(has["oneOf"], has["properties"])
	kind, typed := has["type"]
	switch {
	case anyOf && oneOf, (anyOf || oneOf) && (enum || constant || isA(kind, "object")):
		return false
	case !typed && !enum && !constant && !anyOf && !oneOf:
		return false
	case enum && !primitives(has["enum"]), constant && (has["const"].IsObject() || has["const"].IsArray()):
		return false
	case isA(kind, "array") && !has["items"].Exists():
		return false
	case isA(kind, "object"):
		return closable(has["properties"], has["required"], has["additionalProperties"])
	}
	return !has["properties"].Exists()
}

// closable reports whether an object is still useful if it is closed: one that
// names no properties would have to be empty.
func closable(properties, required, more gjson.Result) bool {
	names := map[string]bool{}
	for _, m := range wire.Members(properties) {
		names[m.Name] = true
	}
	if more.Exists() && !more.IsBool() || len(names) == 0 && more.Type != gjson.False {
		return false
	}
	return !slices.ContainsFunc(required.Array(), func(name gjson.Result) bool { return !names[name.String()] })
}

// isA reports whether the type is, or lists, kind.
func isA(types gjson.Result, kind string) bool {
	return types.String() == kind || types.IsArray() &&
		slices.ContainsFunc(types.Array(), func(t gjson.Result) bool { return t.String() == kind })
}

func primitives(values gjson.Result) bool {
	return values.IsArray() && !slices.ContainsFunc(values.Array(), func(v gjson.Result) bool { return v.IsObject() || v.IsArray() })
}

// takes reports whether the API accepts a keyword whose value is not a schema.
func takes(keyword string, value gjson.Result) bool {
	switch keyword {
	case "type", "title", "enum", "const", "required", "default":
		return true
	case "description":
		return value.Type == gjson.String
	case "minItems":
		return value.Raw == "0" || value.Raw == "1"
	case "format":
		return slices.Contains(formats, value.String())
	case "pattern":
		return value.Type == gjson.String && !oddPattern.MatchString(value.String())
	}
	return false
}

var formats = []string{"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}

// oddPattern matches what the API does not accept in a regular expression:
// lookaround, backreferences, word boundaries, property classes, and counts that
// may be large.
var oddPattern = regexp.MustCompile(`\(\?|\\[1-9bBpPk]|\{[0-9,]{3,}\}`)

func fitList(nodes gjson.Result) (json.RawMessage, bool) {
	list := nodes.Array()
	if !nodes.IsArray() || len(list) == 0 {
		return nil, false
	}
	var all []json.RawMessage
	for _, node := range list {
		fitted, ok := fitNode(node)
		if !ok {
			return nil, false
		}
		all = append(all, fitted)
	}
	return wire.Array(all), true
}

func fitMap(nodes gjson.Result) (json.RawMessage, bool) {
	all := wire.Members(nodes)
	for i, m := range all {
		fitted, ok := fitNode(gjson.Parse(m.Value))
		if !ok {
			return nil, false
		}
		all[i].Value = string(fitted)
	}
	return wire.Object(all), nodes.IsObject()
}

// recursive reports whether a definition refers to itself, directly or not.
func recursive(root gjson.Result) bool {
	uses := map[string][]string{}
	for _, place := range []string{"$defs", "definitions"} {
		for _, m := range wire.Members(root) {
			if m.Name != place {
				continue
			}
			for _, definition := range wire.Members(gjson.Parse(m.Value)) {
				name := "#/" + place + "/" + definition.Name
				uses[name] = references(gjson.Parse(definition.Value), nil)
			}
		}
	}
	const (
		entered = 1 + iota
		left
	)
	state := map[string]int{}
	var enter func(name string) bool
	enter = func(name string) bool {
		state[name] = entered
		for _, used := range uses[name] {
			if state[used] == entered || state[used] == 0 && enter(used) {
				return true
			}
		}
		state[name] = left
		return false
	}
	for name := range uses {
		if state[name] == 0 && enter(name) {
			return true
		}
	}
	return false
}

// references appends the references in a node and in all below it to found.
func references(node gjson.Result, found []string) []string {
	if !node.IsObject() && !node.IsArray() {
		return found
	}
	node.ForEach(func(name, value gjson.Result) bool {
		if name.String() == "$ref" && value.Type == gjson.String {
			found = append(found, value.String())
		}
		found = references(value, found)
		return true
	})
	return found
}
