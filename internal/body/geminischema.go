package body

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxDepth bounds the nesting of a schema.
const maxDepth = 100

// member is a field of an object with its place among the others: the order of a schema's
// properties is that of the answer.
type member struct {
	name string
	raw  json.RawMessage
}

// members returns the fields of an object in their order; of a repeated one the last.
func members(n node) ([]member, error) {
	if n.missing() || n.raw[0] != '{' {
		return nil, n.wants("an object")
	}
	var all []member
	for name, raw := range fieldsIn(n.raw) {
		if i := slices.IndexFunc(all, func(m member) bool { return m.name == name }); i >= 0 {
			all[i].raw = raw
			continue
		}
		all = append(all, member{name, raw})
	}
	return all, nil
}

// inOrder writes fields in their order.
func inOrder(all []member) json.RawMessage {
	out := []byte{'{'}
	for i, m := range all {
		if i > 0 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(m.name) // can't fail for a string
		out = append(append(append(out, name...), ':'), m.raw...)
	}
	return append(out, '}')
}

// lengths are written as texts by some clients, as protocol buffers write integers of 64
// bits.
var lengths = []string{"maxItems", "minItems", "minProperties", "maxProperties", "minLength", "maxLength"}

// schemaOf converts a schema in Gemini's form, a subset of OpenAPI 3.0
// (https://ai.google.dev/api/caching#Schema), to a JSON Schema, with its properties in their
// order (that of propertyOrdering, if it has one).
func schemaOf(n node, depth int) (json.RawMessage, error) {
	all, err := members(n)
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, n.bad("must be nested less than %d deep", maxDepth)
	}
	var order []string
	nullable := false
	var out []member
	for _, m := range all {
		at := node{n.r, n.path + "." + m.name, present(m.raw)}
		if at.missing() {
			continue
		}
		switch m.name {
		case "nullable":
			if nullable, err = at.flag(); err != nil {
				return nil, err
			}
			continue
		case "propertyOrdering", "property_ordering":
			if json.Unmarshal(m.raw, &order) != nil {
				return nil, at.wants("a list of strings")
			}
			continue
		case "example":
			continue // it is of OpenAPI, and means nothing to a schema
		case "format":
			if string(at.raw) == `"enum"` { // beside an enum, which says the same
				continue
			}
		case "type":
			if at.isText() {
				m.raw = bytes.ToLower(at.raw)
			}
		case "items":
			m.raw, err = schemaOf(at, depth+1)
		case "anyOf", "any_of":
			m.name = "anyOf"
			m.raw, err = schemasOf(at, depth+1)
		case "properties":
			m.raw, err = propertiesOf(at, depth+1)
		default:
			if words := strings.SplitN(m.name, "_", 2); len(words) == 2 && slices.Contains([]string{"min", "max"}, words[0]) && words[1] != "" {
				m.name = words[0] + strings.ToUpper(words[1][:1]) + words[1][1:]
			}
			if text, err := at.text(); err == nil && slices.Contains(lengths, m.name) && json.Valid([]byte(text)) {
				m.raw = json.RawMessage(text)
			}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if err := arrange(n, out, order); err != nil {
		return nil, err
	}
	whole := inOrder(out)
	if nullable {
		whole = fmt.Appendf(nil, `{"anyOf":[%s,{"type":"null"}]}`, whole)
	}
	return whole, nil
}

// arrange puts the properties of a schema into an order. Those that it does not name follow.
func arrange(n node, fields []member, order []string) error {
	i := slices.IndexFunc(fields, func(m member) bool { return m.name == "properties" })
	if i < 0 || len(order) == 0 {
		return nil
	}
	properties, err := members(node{n.r, n.path + ".properties", fields[i].raw})
	if err != nil {
		return err
	}
	place := func(m member) int {
		if at := slices.Index(order, m.name); at >= 0 {
			return at
		}
		return len(order)
	}
	slices.SortStableFunc(properties, func(a, b member) int { return place(a) - place(b) })
	fields[i].raw = inOrder(properties)
	return nil
}

func schemasOf(n node, depth int) (json.RawMessage, error) {
	list, err := n.list()
	if err != nil {
		return nil, err
	}
	out := []byte{'['}
	for i, n := range list {
		inner, err := schemaOf(n, depth)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, inner...)
	}
	return append(out, ']'), nil
}

func propertiesOf(n node, depth int) (json.RawMessage, error) {
	all, err := members(n)
	if err != nil {
		return nil, err
	}
	for i, m := range all {
		if all[i].raw, err = schemaOf(node{n.r, n.path + "." + m.name, present(m.raw)}, depth); err != nil {
			return nil, err
		}
	}
	return inOrder(all), nil
}
