package rows

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Format is how the rows of an input are written.
type Format string

// The formats.
const (
	// JSONL has a JSON object on each line (https://jsonlines.org).
	JSONL Format = "jsonl"
	// CSV is RFC 4180 with a header, whose names are the fields of the rows. A semicolon or
	// a tab may separate the fields instead of a comma.
	CSV Format = "csv"
)

// Formats are the formats that there are, for flags.
var Formats = []Format{JSONL, CSV}

// The fields that may have a row's id. The output has it under the same name.
const (
	ID       = "id"
	CustomID = "custom_id"
)

// Row is one row of an input.
type Row struct {
	// Number is the row's place among the rows, from 1. Blank lines and a header don't
	// count.
	Number int
	// Line is the line of the file on which the row begins, from 1, for messages.
	Line int
	// ID is the text of the row's id; "" if it has none.
	ID string
	// IDKey is the field that has the id, [ID] or [CustomID]; "" if the row has none.
	IDKey string
	// Fields are the row's fields by their names. The values are those of JSON: string,
	// bool, [json.Number], []any, map[string]any and nil. Those of CSV are strings.
	Fields map[string]any
	// Raw is the content of the row as JSON, with its fields sorted and without white
	// space: the same for rows that differ in layout alone.
	Raw []byte

	source string
	names  []string // of the fields, as they are in the file
	text   []byte   // of a JSON object, as it is in the file
}

// JSONID returns the id as the input has it, for the output: 7 is not "7". It is nil if the
// row has none.
func (r *Row) JSONID() json.RawMessage {
	if r.IDKey == "" {
		return nil
	}
	text, err := json.Marshal(r.Fields[r.IDKey])
	if err != nil {
		return nil // an id is a string or a number
	}
	return text
}

// fault returns an error about a field of the row, or about the row if field is "".
func (r *Row) fault(field, format string, args ...any) *Error {
	return &Error{Source: r.source, Line: r.Line, Field: field, Problem: fmt.Sprintf(format, args...)}
}

// Error says what is wrong with an input.
type Error struct {
	// Source is the name of the file, or "standard input".
	Source string
	// Line is where it is, from 1; 0 if it is not on one line.
	Line int
	// Field is the name of the row's field, with the path within it; "" if it is not about
	// one.
	Field string
	// Problem says what is wrong, and what is taken.
	Problem string
}

// Error returns "in.jsonl: line 3: prompt must be a string, got the number 5".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Source)
	if e.Line > 0 {
		fmt.Fprintf(&b, ": line %d", e.Line)
	}
	b.WriteString(": ")
	if e.Field != "" {
		b.WriteString(e.Field + " ")
	}
	b.WriteString(e.Problem)
	return b.String()
}
