package rows_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/internal/rows"
	"llmcall/llm"
)

// open opens a file with a content.
func open(t *testing.T, name, content string, format rows.Format) (*rows.Source, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := rows.Open(t.Context(), path, nil, format)
	if err == nil {
		t.Cleanup(func() { source.Close() })
	}
	return source, err
}

// read returns the rows as "line:content", and the error.
func read(source *rows.Source) (read []string, err error) {
	for row, err := range source.All() {
		if err != nil {
			return read, err
		}
		read = append(read, fmt.Sprintf("%d:%s", row.Line, row.Raw))
		if row.Number != len(read) {
			return read, fmt.Errorf("row %d has the number %d", len(read), row.Number)
		}
	}
	return read, nil
}

func TestReading(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		want                []string
		problem             string // of opening or reading, after the file's name
	}{
		{"an empty file", "a.jsonl", "", nil, ""},
		{"blank lines alone", "a.jsonl", "\n \r\n\n", nil, ""},
		{"lines", "a.jsonl", "{\"b\":1, \"a\":\"x\"}\n\n{}\n", []string{`1:{"a":"x","b":1}`, "3:{}"}, ""},
		{"without the last line end", "a.jsonl", "{\"a\":1}\r\n{\"a\":2}", []string{`1:{"a":1}`, `2:{"a":2}`}, ""},
		{"a byte order mark", "a.jsonl", "\uFEFF{\"a\":1}\n", []string{`1:{"a":1}`}, ""},
		{"numbers as they are", "a.jsonl", `{"a":1.50,"b":12345678901234567890,"c":1e400}`, []string{`1:{"a":1.50,"b":12345678901234567890,"c":1e400}`}, ""},
		{"text as it is", "a.jsonl", `{"a":"<b> & \u00e9 \ud83d\ude00"}`, []string{`1:{"a":"<b> & é 😀"}`}, ""},
		{"the extension .ndjson", "a.NDJSON", "{}", []string{"1:{}"}, ""},
		{"by content", "a.txt", "\n\n{\"a\":1}\n", []string{`3:{"a":1}`}, ""},
		{"a list", "a.jsonl", "{}\n[1]\n", []string{"1:{}"}, "line 2: must be a JSON object, got a list"},
		{"a string", "a.jsonl", "{}\n\"hi\"\n", []string{"1:{}"}, `line 2: must be a JSON object, got the string "hi"`},
		{"text", "a.jsonl", "Hello, world\n", nil, `line 1: must be a JSON object, got "Hello, world"`},
		{"two objects", "a.jsonl", "{} {}\n", nil, `line 1: must be one JSON object, got "{}" after it`},
		{"a field twice", "a.jsonl", `{"a":1,"a":2}`, nil, `line 1: has the field "a" twice`},
		{"a field twice within", "a.jsonl", `{"x":[{"a":1,"a":2}]}`, nil, `line 1: has the field "a" twice`},
		{"a missing quote", "a.jsonl", `{"a: 1}`, nil, "line 1: ends in the middle of a JSON object"},
		{"a comma too many", "a.jsonl", `{"a": 1,}`, nil, "line 1: is not JSON: "},
		{"a word", "a.jsonl", `{"a": NaN}`, nil, "line 1: is not JSON: "},
		{"pretty-printed", "a.json", "{\n  \"a\": 1\n}\n", nil, "line 1: ends in the middle of a JSON object, which must be on one line: jq -c . FILE makes that of it"},
		{"an array", "a.json", "[{\"a\": 1}]", nil, "is a JSON array, and must have one object on each line: jq -c '.[]' FILE makes that of it"},
		{"an array over lines", "a.json", "[\n{\"a\": 1}\n]", nil, "is a JSON array"},
		{"an array after a blank line", "a.json", "\n[\n{\"a\": 1}\n]", nil, "is a JSON array"},
		{"not UTF-8", "a.jsonl", "{\"a\":\"caf\xe9\"}", nil, "line 1: is not UTF-8 (the byte 0xe9 at column 10): save the file as UTF-8"},
		{"nested without end", "a.jsonl", `{"a":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "}", nil, "line 1: is nested more than 1000 deep"},
		{"UTF-16", "a.jsonl", "\xff\xfe{\x00", nil, "is UTF-16: takes UTF-8"},
		{"compressed", "a.jsonl", "\x1f\x8b\x08", nil, "is compressed by gzip: zcat FILE | llmcall batch -"},
		{"a spreadsheet", "a.xlsx", "PK\x03\x04", nil, "is a ZIP archive or a spreadsheet: save the spreadsheet as CSV (UTF-8)"},
		{"neither", "a.txt", "Hello\nworld\n", nil, "is neither JSONL nor CSV by its first line: name its format (--format jsonl or csv)"},

		{"CSV", "a.csv", "id,text\n1,\"a, \"\"b\"\"\r\nc\"\r\n2,\n", []string{`2:{"id":"1","text":"a, \"b\"\nc"}`, `4:{"id":"2","text":""}`}, ""},
		{"CSV with a byte order mark", "a.csv", "\uFEFFid,text\n1,x", []string{`2:{"id":"1","text":"x"}`}, ""},
		{"CSV by content", "a.data", "id,text\n1,x\n", []string{`2:{"id":"1","text":"x"}`}, ""},
		{"CSV with blank lines", "a.csv", "\nid\n\n1\n", []string{`4:{"id":"1"}`}, ""},
		{"CSV with a name in spaces", "a.csv", "id, text\n1, x\n", []string{`2:{"id":"1","text":" x"}`}, ""},
		{"CSV of pandas, whose first column has no name", "a.csv", ",text\n0,x\n", []string{`2:{"":"0","text":"x"}`}, ""},
		{"CSV with a header alone", "a.csv", "id,text\n", nil, ""},
		{"empty CSV", "a.csv", "", nil, "has no header"},
		{"a ragged line", "a.csv", "id,text\n1,x\n2\n", []string{`2:{"id":"1","text":"x"}`}, "line 3: has 1 field, and the header has 2 (id, text)"},
		{"a ragged line after a long one", "a.csv", "id,text\n1,\"x\ny\"\n2,3,4\n", []string{`2:{"id":"1","text":"x\ny"}`}, "line 4: has 3 fields, and the header has 2 (id, text)"},
		{"a name twice", "a.csv", "id,text, id\n", nil, `line 1: is the header, and has the name "id" twice (columns 1 and 3)`},
		{"semicolons, as Excel has them", "a.csv", "\uFEFFid;\"Größe, in cm\"\r\n1;\"3,5 \"\"x\"\"\"\r\n", []string{`2:{"Größe, in cm":"3,5 \"x\"","id":"1"}`}, ""},
		{"semicolons, and a comma in a name", "a.csv", "id;a, b;c\n1;2;3\n", []string{`2:{"a, b":"2","c":"3","id":"1"}`}, ""},
		{"semicolons in the names of commas", "a.csv", "id,a;b,c\n1,2,3\n", []string{`2:{"a;b":"2","c":"3","id":"1"}`}, ""},
		{"semicolons by content", "a.txt", "id;text\n1;x\n", []string{`2:{"id":"1","text":"x"}`}, ""},
		{"semicolons in a quoted name of two lines", "a.csv", "\n\"a;\n;;b\",c\n1,2\n", []string{`4:{"a;\n;;b":"1","c":"2"}`}, ""},
		{"tabs", "a.tsv", "id\ttext\n1\tx, y\n", []string{`2:{"id":"1","text":"x, y"}`}, ""},
		{"the line of Excel that names the separator", "a.csv", "sep=;\r\nid;a,b,c\r\n1;x\r\n", []string{`3:{"a,b,c":"x","id":"1"}`}, ""},
		{"a line that names a separator alone", "a.csv", "sep=;\r\n", nil, "has no header"},
		{"a field of that name", "a.csv", "sep=\n1\n", []string{`2:{"sep=":"1"}`}, ""},
		{"a quote that is not closed among semicolons", "a.csv", "id;text\n1;\"a\" b\n", nil, `line 2: is not CSV: a quote that is not closed, or not followed by a semicolon (column`},
		{"a quote within", "a.csv", "id,text\n1,a \"b\" c\n", nil, `line 2: is not CSV: a quote within a field that does not begin with one (column 5)`},
		{"a quote that is not closed", "a.csv", "id,text\n1,\"a\n2,b\n3,c\n", nil, `line 2: is not CSV: a quote that is not closed, or not followed by a comma (line 4, column`},
		{"CSV that is not UTF-8", "a.csv", "id,text\n1,caf\xe9\n", nil, "line 2: is not UTF-8 (in the field at column 3)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			source, err := open(t, c.file, c.content, "")
			var got []string
			for pass := range 3 { // a source is read several times
				if err != nil {
					break
				}
				got, err = read(source)
				if pass < 2 && c.problem != "" {
					err = nil
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %q", got)
			}
			switch {
			case c.problem == "":
				if err != nil {
					t.Errorf("got %v", err)
				}
			case err == nil || !strings.Contains(err.Error(), c.file+": "+c.problem):
				t.Errorf("got %v", err)
			}
			if err != nil {
				if _, ok := errors.AsType[*rows.Error](err); !ok {
					t.Errorf("got a %T", err)
				}
			}
		})
	}
}

func TestFormats(t *testing.T) {
	source, err := open(t, "a.txt", "prompt\nHello\n", rows.CSV)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(source); fmt.Sprint(got) != `[2:{"prompt":"Hello"}]` || err != nil || source.Format() != rows.CSV {
		t.Errorf("got %q, %v", got, err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(source.Name(), link); err != nil {
		t.Fatal(err)
	}
	if !source.Is(link) || source.Is(link+"x") || source.Is(t.TempDir()) {
		t.Error("the file is not known again")
	}
	if _, err := open(t, "a.txt", "", "cvs"); err == nil || !strings.Contains(err.Error(), `must be csv, jsonl, got "cvs", did you mean csv?`) {
		t.Errorf("got %v", err)
	}
	if _, err := rows.Open(t.Context(), t.TempDir(), nil, ""); err == nil || !strings.Contains(err.Error(), "is a directory: takes a file of rows") {
		t.Errorf("got %v", err)
	}
	if _, err := rows.Open(t.Context(), filepath.Join(t.TempDir(), "no.csv"), nil, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Standard input is read once, may be ranged over several times, and leaves no file.
func TestStandardInput(t *testing.T) {
	directory := t.TempDir()
	t.Setenv("TMPDIR", directory)
	source, err := rows.Open(t.Context(), "-", io.MultiReader(strings.NewReader("{\"a\":1}\n{\"a\":"), strings.NewReader("2}\n")), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := read(source); fmt.Sprint(got) != `[1:{"a":1} 2:{"a":2}]` || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if err := source.Close(); err != nil {
		t.Error(err)
	}
	_, err = rows.Open(t.Context(), "-", strings.NewReader("[]"), rows.CSV)
	if err != nil {
		t.Error(err)
	}
	broken := errors.New("the other end is gone")
	if _, err := rows.Open(t.Context(), "-", io.MultiReader(strings.NewReader("{}"), errorReader{broken}), ""); !errors.Is(err, broken) || !strings.Contains(err.Error(), "standard input") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	never, end := io.Pipe()
	defer end.Close()
	time.AfterFunc(time.Millisecond, func() { cancel(interrupted) })
	if _, err := rows.Open(ctx, "-", never, ""); !errors.Is(err, interrupted) {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(directory, "*")); runtime.GOOS != "windows" && len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	t.Setenv("TMPDIR", filepath.Join(directory, "no"))
	if _, err := rows.Open(t.Context(), "-", strings.NewReader("{}"), ""); runtime.GOOS != "windows" && (err == nil || !strings.Contains(err.Error(), "standard input is kept in a temporary file")) {
		t.Errorf("got %v", err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// Rows that nobody has looked at are not asked.
func TestAFileThatChangesMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(path, []byte("{\"a\":1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := rows.Open(t.Context(), path, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if _, err := read(source); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{\"a\":1}\n{\"a\":2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := read(source); len(got) != 0 || err == nil || !strings.Contains(err.Error(), "was changed while its rows were asked") {
		t.Errorf("got %q, %v", got, err)
	}
}

// One line of 64 MiB is taken, and one that is longer is refused, as is a quote that is
// never closed.
func TestLongRows(t *testing.T) {
	if testing.Short() {
		t.Skip("64 MiB")
	}
	for size, problem := range map[int]string{64<<20 - 10: "", 64 << 20: "line 1: is longer than 64 MiB"} {
		source, err := open(t, "a.jsonl", `{"a":"`+strings.Repeat("x", size)+`"}`, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read(source); problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%d: %v", size, err)
		}
	}
	source, err := open(t, "a.csv", "a,b\n1,2\n3,\""+strings.Repeat("x\n", 40<<20), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(source); len(got) != 1 || err == nil || !strings.Contains(err.Error(), `longer than 64 MiB: a quote (") may not be closed`) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestIDs(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		want                string // of each row: key, text, JSON
		problem             string
	}{
		{"strings and numbers", "a.jsonl", `{"id":"a","prompt":"x"}` + "\n" + `{"id":7,"prompt":"x"}` + "\n" + `{"prompt":"x"}`, `id a "a"; id 7 7; ; `, ""},
		{"custom_id", "a.jsonl", `{"custom_id":"a","prompt":"x"}`, `custom_id a "a"; `, ""},
		{"id before custom_id", "a.jsonl", `{"custom_id":"a","id":"b","prompt":"x"}`, `id b "b"; `, ""},
		{"null is none", "a.jsonl", `{"id":null,"custom_id":"c","prompt":"x"}`, `custom_id c "c"; `, ""},
		{"empty is none", "a.csv", "id,prompt\n,x\n,y\n", `; ; `, ""},
		{"CSV", "a.csv", "id,prompt\n007,x\n", `id 007 "007"; `, ""},
		{"an object", "a.jsonl", `{"id":{},"prompt":"x"}`, "", "line 1: id must be a string or a number, got an object"},
		{"twice", "a.jsonl", `{"id":"a","prompt":"x"}` + "\n\n" + `{"id":"b","prompt":"x"}` + "\n" + `{"id":"a","prompt":"y"}`, "", `line 4: id must be unique, got "a", which line 1 has too`},
		{"twice as number and string", "a.jsonl", `{"id":7,"prompt":"x"}` + "\n" + `{"id":"7","prompt":"x"}`, "", `line 2: id must be unique, got "7", which line 1 has too`},
		{"twice in CSV", "a.csv", "id,prompt\n1,\"x\ny\"\n1,z\n", "", `line 4: id must be unique, got "1", which line 2 has too`},
	} {
		t.Run(c.name, func(t *testing.T) {
			source, err := open(t, c.file, c.content, "")
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			_, err = source.Survey(rows.Form{}, func(row *rows.Row, _ *llm.Request, err error) error {
				got += strings.TrimSpace(fmt.Sprintf("%s %s %s", row.IDKey, row.ID, row.JSONID())) + "; "
				return err
			})
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// However many ids there are, exactly the ones that are given twice are found.
func TestUniqueIDsAgainstASet(t *testing.T) {
	directory := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.IntRange(0, 40), 0, 12).Draw(t, "ids")
		var text strings.Builder
		seen := map[int]int{}
		want := ""
		for i, id := range ids {
			fmt.Fprintf(&text, "{\"id\": %d, \"prompt\": \"x\"}\n", id)
			if first, twice := seen[id]; twice && want == "" {
				want = fmt.Sprintf(`line %d: id must be unique, got "%d", which line %d has too`, i+1, id, first)
			}
			if _, twice := seen[id]; !twice {
				seen[id] = i + 1
			}
		}
		path := filepath.Join(directory, "a.jsonl")
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		source, err := rows.Open(context.Background(), path, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		summary, err := source.Survey(rows.Form{}, func(_ *rows.Row, _ *llm.Request, err error) error { return err })
		if want == "" && (err != nil || summary.Rows != len(ids)) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("got %v, want %q", err, want)
		}
	})
}

// A million rows: 8 bytes each while their ids are compared, and nothing afterwards.
func TestMemoryOfARow(t *testing.T) {
	if testing.Short() {
		t.Skip("a million rows")
	}
	const million = 1_000_000
	var text strings.Builder
	for i := range million {
		fmt.Fprintf(&text, "{\"id\":\"row-%d\",\"prompt\":\"x\"}\n", i)
	}
	source, err := open(t, "a.jsonl", text.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	text.Reset()
	before, most, seen := heap(), 0, 0
	begun := time.Now()
	summary, err := source.Survey(rows.Form{}, func(row *rows.Row, _ *llm.Request, err error) error {
		if seen++; seen == million || seen%250_000 == 0 {
			most = max(most, heap()-before)
		}
		return err
	})
	took := time.Since(begun)
	after := heap() - before
	t.Logf("%d rows in %v: %d bytes a row at most, %d afterwards", summary.Rows, took.Round(time.Millisecond), most/million, after/million)
	if err != nil || summary.Rows != million {
		t.Errorf("got %+v, %v", summary, err)
	}
	if most/million > 12 || after > 1<<20 { // a slice that has just grown has room for a quarter more
		t.Errorf("%d bytes at most, %d afterwards", most, after)
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
