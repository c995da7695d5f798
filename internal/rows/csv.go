package rows

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"llmcall/internal/say"
)

// records reads CSV.
type records struct {
	source *Source
	from   *csv.Reader
	bound  *bounded
	header []string
}

func newRecords(s *Source, content io.Reader) *records {
	bound := &bounded{from: newBuffer(content)}
	r := &records{source: s, from: csv.NewReader(bound), bound: bound}
	r.from.Comma = s.comma
	r.from.FieldsPerRecord = -1 // said here, with the names
	return r
}

// separators are what may separate the fields: a comma, as in RFC 4180; a semicolon, as
// spreadsheets write it where the comma is that of decimals; a tab, as they copy cells.
const separators = ",;\t"

// separatorOf returns the separator that the header has most of, outside of quotes. Said is
// true if a line before it names the separator, as Excel has it: "sep=;".
func separatorOf(head []byte) (comma rune, said bool) {
	head = bytes.TrimPrefix(head, byteOrderMark)
	line, _, _ := bytes.Cut(head, []byte("\n"))
	if named, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r"), []byte("sep=")); ok && len(named) == 1 && bytes.ContainsAny(named, separators) {
		return rune(named[0]), true
	}
	var counts [utf8.RuneSelf]int
	quoted := false
	for _, c := range bytes.TrimLeft(head, "\r\n") {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n':
			return most(counts), false
		case c < utf8.RuneSelf:
			counts[c]++
		}
	}
	return most(counts), false
}

func most(counts [utf8.RuneSelf]int) rune {
	comma := ','
	for _, c := range separators {
		if counts[c] > counts[comma] {
			comma = c
		}
	}
	return comma
}

// errTooLong is the error of [bounded].
var errTooLong = errors.New("too long")

// bounded refuses to read on within one record: after a quote that is not closed, the rest
// of a file would be one.
type bounded struct {
	from io.Reader
	read int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.read > maxRow {
		return 0, errTooLong
	}
	n, err := b.from.Read(p)
	b.read += n
	return n, err
}

// next reads the next row.
func (r *records) next() (*Row, error) {
	if r.header == nil {
		if err := r.readHeader(); err != nil {
			return nil, err
		}
	}
	record, line, err := r.record()
	if err != nil {
		return nil, err
	}
	if len(record) != len(r.header) {
		return nil, r.source.fault(line, "has %s, and the header has %d (%s)",
			say.Count(len(record), "field", "fields"), len(r.header), say.List(r.header, 12))
	}
	fields := make(map[string]any, len(record))
	for i, value := range record {
		fields[r.header[i]] = value
	}
	return newRow(line, fields, r.header)
}

// record reads one record.
func (r *records) record() ([]string, int, error) {
	r.bound.read = 0
	record, err := r.from.Read()
	line := 0
	if len(record) > 0 {
		line, _ = r.from.FieldPos(0)
	}
	wrong, ok := errors.AsType[*csv.ParseError](err)
	switch {
	case ok:
		return nil, 0, r.source.fault(wrong.StartLine, "is not CSV: %s", r.quoting(wrong))
	case errors.Is(err, errTooLong):
		return nil, 0, r.source.fault(0, "has a record longer than %d MiB: a quote (\") may not be closed", maxRow>>20)
	case err != nil:
		return nil, 0, err
	}
	for i, value := range record {
		if !utf8.ValidString(value) {
			at, column := r.from.FieldPos(i)
			return nil, 0, r.source.fault(at, "is not UTF-8 (in the field at column %d): save the file as UTF-8", column)
		}
	}
	return record, line, nil
}

// quoting says where quotes are wrong, which is all that can be wrong.
func (r *records) quoting(e *csv.ParseError) string {
	where := fmt.Sprintf("column %d", e.Column)
	if e.Line != e.StartLine {
		where = fmt.Sprintf("line %d, column %d", e.Line, e.Column)
	}
	if errors.Is(e.Err, csv.ErrBareQuote) {
		return fmt.Sprintf("a quote within a field that does not begin with one (%s); write \"\" within \"…\"", where)
	}
	by := map[rune]string{',': "a comma", ';': "a semicolon", '\t': "a tab"}[r.source.comma]
	return fmt.Sprintf("a quote that is not closed, or not followed by %s (%s); write \"\" within \"…\"", by, where)
}

func (r *records) readHeader() error {
	header, line, err := r.record()
	if err == nil && r.source.sep {
		header, line, err = r.record()
	}
	if errors.Is(err, io.EOF) {
		return r.source.fault(0, "has no header: its first line must name the fields")
	}
	if err != nil {
		return err
	}
	seen := map[string]int{}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if at, twice := seen[name]; twice {
			return r.source.fault(line, "is the header, and has the name %q twice (columns %d and %d)", say.Short(name, 60), at, i+1)
		}
		seen[name], header[i] = i+1, name
	}
	r.header = header
	return nil
}
