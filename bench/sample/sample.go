// Package sample makes JSON Schemas of any number of fields, and answers that
// fit them.
package sample

import (
	"fmt"
	"strings"
)

// kinds are ten fields as an extraction from a document has them.
var kinds = []struct{ name, schema, value string }{
	{"id", `{"type": "string", "format": "uuid"}`, `"123e4567-e89b-12d3-a456-426614174000"`},
	{"name", `{"type": "string", "minLength": 1, "maxLength": 100}`, `"Ada Lovelace"`},
	{"email", `{"type": "string", "format": "email"}`, `"ada@example.org"`},
	{"age", `{"type": "integer", "minimum": 0, "maximum": 150}`, `36`},
	{"active", `{"type": "boolean"}`, `true`},
	{"tags", `{"type": "array", "items": {"type": "string"}, "maxItems": 10}`, `["mathematics", "poetry"]`},
	{
		"address",
		`{"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]+$"}}}`,
		`{"city": "London", "zip": "12345"}`,
	},
	{"score", `{"type": "number"}`, `9.75`},
	{"created", `{"type": "string", "format": "date-time"}`, `"2026-01-31T09:30:00Z"`},
	{"kind", `{"enum": ["person", "company"]}`, `"person"`},
}

// Schema returns the JSON Schema of an object of n required fields, of ten kinds
// in turn.
func Schema(n int) string {
	names, properties := make([]string, n), make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("%q", name(i))
		properties[i] = names[i] + ": " + kinds[i%len(kinds)].schema
	}
	return fmt.Sprintf(`{"type": "object", "additionalProperties": false, "required": [%s], "properties": {%s}}`,
		strings.Join(names, ", "), strings.Join(properties, ", "))
}

// Answer returns an object that fits Schema(n).
func Answer(n int) string {
	fields := make([]string, n)
	for i := range n {
		fields[i] = fmt.Sprintf("%q: %s", name(i), kinds[i%len(kinds)].value)
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// name is "id", "name" … and from the eleventh field on "id_2", "name_2" …
func name(i int) string {
	if i < len(kinds) {
		return kinds[i].name
	}
	return fmt.Sprintf("%s_%d", kinds[i%len(kinds)].name, i/len(kinds)+1)
}
