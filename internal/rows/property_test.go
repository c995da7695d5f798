package rows_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/internal/rows"
)

// written is a row as the test wrote it, and the line on which it begins.
type written struct {
	fields map[string]any
	line   int
}

// Whatever the layout, the rows that were written are read, on their lines, and the content
// of a row says nothing of its layout.
func TestJSONLThatWasWrittenIsRead(t *testing.T) {
	directory := t.TempDir()
	scalar := rapid.OneOf(
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.Float64(), func(f float64) any { return json.Number(fmt.Sprint(f)) }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Just[any](nil),
	)
	value := rapid.OneOf(scalar,
		rapid.Map(rapid.SliceOfN(scalar, 0, 3), func(l []any) any { return append([]any{}, l...) }),
		rapid.Map(rapid.MapOfN(rapid.String(), scalar, 0, 3), func(m map[string]any) any { return m }),
	)
	name := rapid.StringN(0, 6, -1).Filter(func(s string) bool { return s != "id" && s != "custom_id" })
	rapid.Check(t, func(t *rapid.T) {
		var text bytes.Buffer
		var want []written
		ends := rapid.SampledFrom([]string{"\n", "\r\n"})
		if rapid.Bool().Draw(t, "mark") {
			text.WriteString("\uFEFF")
		}
		for range rapid.IntRange(0, 6).Draw(t, "rows") {
			for range rapid.IntRange(0, 2).Draw(t, "blank") {
				text.WriteString(" " + ends.Draw(t, "end"))
			}
			fields := rapid.MapOfN(name, value, 0, 4).Draw(t, "fields")
			want = append(want, written{fields, 1 + strings.Count(text.String(), "\n")})
			text.WriteString(layout(t, fields) + ends.Draw(t, "end"))
		}
		if rapid.Bool().Draw(t, "no last line end") {
			content := strings.TrimRight(text.String(), "\r\n")
			text.Reset()
			text.WriteString(content)
		}
		compare(t, directory, text.Bytes(), rows.JSONL, want)
	})
}

// layout writes an object in some order and with some white space.
func layout(t *rapid.T, fields map[string]any) string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	space := rapid.SampledFrom([]string{"", " ", "\t"})
	var parts []string
	for _, name := range rapid.Permutation(sorted(names)).Draw(t, "order") {
		key, _ := json.Marshal(name) // escapes < and >, which is the same text
		value, _ := json.Marshal(fields[name])
		parts = append(parts, space.Draw(t, "space")+string(key)+space.Draw(t, "space")+":"+space.Draw(t, "space")+string(value))
	}
	return space.Draw(t, "space") + "{" + strings.Join(parts, space.Draw(t, "space")+",") + space.Draw(t, "space") + "}" + space.Draw(t, "space")
}

// sorted makes what is drawn depend on nothing but the draws.
func sorted(names []string) []string {
	for i := range names {
		for j := i; j > 0 && names[j] < names[j-1]; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	return names
}

func compare(t *rapid.T, directory string, text []byte, format rows.Format, want []written) {
	path := filepath.Join(directory, "in")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := rows.Open(context.Background(), path, nil, format)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	defer source.Close()
	n := 0
	for row, err := range source.All() {
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if n == len(want) || row.Number != n+1 || row.Line != want[n].line || !same(row.Fields, want[n].fields) {
			t.Fatalf("%q: row %d on line %d is %#v", text, row.Number, row.Line, row.Fields)
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(want[n].fields); err != nil || strings.TrimSpace(b.String()) != string(row.Raw) {
			t.Fatalf("%q: the content is %s, want %s", text, row.Raw, b.String())
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("%q: %d rows, want %d", text, n, len(want))
	}
}

// same reports whether two rows have the same fields, none of which may be a nil map.
func same(a, b map[string]any) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }

// CSV as spreadsheets write it: with quotes, commas and line ends in fields.
func TestCSVThatWasWrittenIsRead(t *testing.T) {
	directory := t.TempDir()
	cell := rapid.StringOf(rapid.SampledFrom([]rune(`ab ,"` + "\n;'ä😀")))
	rapid.Check(t, func(t *rapid.T) {
		header := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z ]{0,3}[a-z]`), 2, 4, strings.TrimSpace).Draw(t, "header")
		var text bytes.Buffer
		if rapid.Bool().Draw(t, "mark") {
			text.WriteString("\uFEFF")
		}
		w := csv.NewWriter(&text)
		w.UseCRLF = rapid.Bool().Draw(t, "CRLF")
		w.Write(header)
		w.Flush()
		var want []written
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			record := rapid.SliceOfN(cell, len(header), len(header)).Draw(t, "record")
			fields := map[string]any{}
			for i, value := range record {
				fields[strings.TrimSpace(header[i])] = value
			}
			want = append(want, written{fields, 1 + strings.Count(text.String(), "\n")})
			w.Write(record)
			w.Flush()
		}
		compare(t, directory, text.Bytes(), rows.CSV, want)
	})
}
