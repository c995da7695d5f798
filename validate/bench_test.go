package validate_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"llmcall/validate"
)

const (
	tenFields = `{
		"type": "object", "additionalProperties": false,
		"required": ["id", "name", "email", "age", "active", "tags", "address", "score", "created", "kind"],
		"properties": {
			"id": {"type": "string", "format": "uuid"},
			"name": {"type": "string", "minLength": 1, "maxLength": 100},
			"email": {"type": "string", "format": "email"},
			"age": {"type": "integer", "minimum": 0, "maximum": 150},
			"active": {"type": "boolean"},
			"tags": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
			"address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]+$"}}},
			"score": {"type": "number"},
			"created": {"type": "string", "format": "date-time"},
			"kind": {"enum": ["person", "company"]}
		}
	}`
	tenValues = `{"id": "123e4567-e89b-12d3-a456-426614174000", "name": "Ada Lovelace", "email": "ada@example.org", "age": 36,
		"active": true, "tags": ["mathematics", "poetry"], "address": {"city": "London", "zip": "12345"}, "score": 9.75,
		"created": "2026-01-31T09:30:00Z", "kind": "person"}`
)

// BenchmarkRun is the cost of checks of an answer that passes. In "text" it is
// nearly that of Run itself.
func BenchmarkRun(b *testing.B) {
	schema := validate.Must(validate.JSONSchema([]byte(tenFields)))
	text := []validate.Strategy{validate.NotEmpty(), validate.Must(validate.Length(3, 1000))}
	wrong := strings.NewReplacer(`36`, `"36"`, `"person"`, `"robot"`).Replace(tenValues)
	ending, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, bench := range []struct {
		name    string
		ctx     context.Context
		checks  []validate.Strategy
		text    string
		timeout time.Duration
		wrong   int
	}{
		{"text", context.Background(), text, tenValues, 0, 0},
		{"text, a context that can end", ending, text, tenValues, 0, 0},
		{"text, a timeout", ending, text, tenValues, time.Second, 0},
		{"json", context.Background(), []validate.Strategy{validate.JSON()}, tenValues, 0, 0},
		{"schema of ten fields", context.Background(), []validate.Strategy{schema}, tenValues, 0, 0},
		{"json and schema", context.Background(), []validate.Strategy{validate.JSON(), schema}, tenValues, 0, 0},
		{"schema, two violations", context.Background(), []validate.Strategy{schema}, wrong, 0, 2},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			a := &validate.Answer{Text: bench.text, Attempt: 1}
			for b.Loop() {
				report := validate.Run(bench.ctx, bench.checks, a, bench.timeout)
				if len(report.Complaints) != bench.wrong || len(report.Failed) != 0 {
					b.Fatal(report)
				}
			}
		})
	}
}

// BenchmarkDecode compares the decoder of JSON with encoding/json.
func BenchmarkDecode(b *testing.B) {
	b.Run("validate", func(b *testing.B) {
		b.ReportAllocs()
		a := &validate.Answer{Text: tenValues}
		for b.Loop() {
			if _, _, err := a.JSON(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v any
			d := json.NewDecoder(strings.NewReader(tenValues))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
