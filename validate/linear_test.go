package validate

import (
	"strings"
	"testing"
)

// A schema that refers to itself, or compares items, may take any time, so that
// Run must be able to leave its check behind.
func TestOnlySchemasThatTakeLinearTimeAreCheckedOnTheCallersGoroutine(t *testing.T) {
	for schema, want := range map[string]bool{
		`{"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"pattern": "^x"}]}}}`: true,
		`true`: true,
		`{"$defs": {"a": {"type": "string"}}, "properties": {"b": {"$ref": "#/$defs/a"}}}`: false,
		`{"items": {"type": "array", "uniqueItems": true}}`:                                false,
		`{"$dynamicAnchor": "a", "properties": {"b": {"$dynamicRef": "#a"}}}`:              false,
	} {
		check, err := compile(schema, SchemaOptions{})
		if err != nil {
			t.Fatalf("%s: %v", schema, err)
		}
		if got := isInstant(check, &Answer{}); got != want {
			t.Errorf("%s: %v, want %v", schema, got, want)
		}
		if isInstant(check, &Answer{Text: strings.Repeat(" ", 65<<10)}) {
			t.Errorf("%s: a large text is no matter of microseconds", schema)
		}
	}
}
