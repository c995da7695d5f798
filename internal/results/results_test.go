package results_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"llmcall"
	"llmcall/internal/results"
	"llmcall/llm"
	"llmcall/validate"
)

// What a line has, in the words of the issue.
func TestALine(t *testing.T) {
	paris := "Paris <b>"
	for _, c := range []struct {
		line results.Line
		want string
	}{
		{results.Line{Row: 7, ID: json.RawMessage(`"x"`), Answer: &paris, Value: map[string]any{"n": json.Number("1.50")}, Model: "openai/m", Attempts: 2,
			Usage: llm.Usage{InputTokens: 3, OutputTokens: 4}, Cost: &llmcall.Cost{Nanos: 123_000}, Key: 255},
			`{"row":7,"id":"x","answer":"Paris <b>","value":{"n":1.50},"model":"openai/m","attempts":2,"usage":{"input_tokens":3,"output_tokens":4},"cost":0.000123,"hash":"00000000000000ff"}`},
		{results.Line{Row: 8, CustomID: json.RawMessage(`5`), Practice: true, Attempts: 1, Error: &results.LineError{Reason: "no_valid_answer", Message: "no", Answer: "hm",
			Complaints: []validate.Complaint{{Check: "json", Problem: "is not JSON"}}, Review: "r/8.json"}},
			`{"row":8,"custom_id":5,"error":{"reason":"no_valid_answer","message":"no","complaints":[{"check":"json","problem":"is not JSON"}],"last_answer":"hm","review_file":"r/8.json"},"practice":true,"attempts":1,"usage":{"input_tokens":0,"output_tokens":0},"hash":"0000000000000000"}`},
	} {
		var b strings.Builder
		if err := results.Stream(&b).Append(&c.line); err != nil || b.String() != c.want+"\n" {
			t.Errorf("got %s, %v", b.String(), err)
		}
	}
	if err := results.Stream(&strings.Builder{}).Append(&results.Line{Row: 9, Value: make(chan int)}); err == nil || !strings.Contains(err.Error(), "row 9") {
		t.Errorf("got %v", err)
	}
}

func TestKeys(t *testing.T) {
	same := results.Identify([]byte("ab"), []byte("c"))
	for _, parts := range [][][]byte{{[]byte("a"), []byte("bc")}, {[]byte("abc")}, {[]byte("ab"), []byte("c"), nil}} {
		if results.Identify(parts...) == same {
			t.Errorf("%q has the same key", parts)
		}
	}
	for _, wrong := range []string{"", "12", "xxxxxxxxxxxxxxxx", "00000000000000000"} {
		if err := new(results.Key).UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("%q is taken for a hash", wrong)
		}
	}
}

const (
	answered = `{"row":1,"answer":"a","attempts":1,"usage":{},"hash":"0000000000000001"}`
	refused  = `{"row":2,"error":{"reason":"content_filtered"},"hash":"0000000000000002"}`
)

// A file of somebody else is refused, and left as it is; one that a crash has damaged is
// not.
func TestWhatIsInTheFile(t *testing.T) {
	for _, c := range []struct {
		name, text string
		foreign    int // the line that is not ours; 0: none
		want       results.Found
		after      string // the text, if it is another
	}{
		{name: "empty"},
		{name: "ours", text: answered + "\n" + refused + "\n", want: results.Found{Lines: 2}},
		{name: "the last line end is missing", text: answered, want: results.Found{Lines: 1}, after: answered + "\n"},
		{name: "torn", text: answered + "\n" + refused[:30], want: results.Found{Lines: 1, Cut: 30}, after: answered + "\n"},
		{name: "torn in the first line", text: answered[:2], want: results.Found{Cut: 2}, after: "\x00"},
		{name: "zeros of a power loss at the end", text: answered + "\n\x00\x00\x00", want: results.Found{Lines: 1, Cut: 3}, after: answered + "\n"},
		{name: "zeros within", text: answered + "\n\x00\x00\x00ch\"}\n" + refused + "\n", want: results.Found{Lines: 2, Lost: 1}},
		{name: "text", text: "Dear diary", foreign: 1},
		{name: "JSONL of another", text: `{"id": 1}` + "\n", foreign: 1},
		{name: "an input", text: `{"row":1,"text":"a"}` + "\n", foreign: 1},
		{name: "JSON of another that is torn", text: `{"rows":[`, foreign: 1},
		{name: "text after it", text: answered + "\nDear diary", foreign: 2},
		{name: "a line within is not JSON", text: answered + "\n" + refused[:30] + "\n" + answered + "\n", foreign: 2},
		{name: "a blank line", text: answered + "\n\n" + answered + "\n", foreign: 2},
		{name: "CSV", text: "a,b\n1,2\n", foreign: 1},
		{name: "a row without a hash", text: `{"row":1,"answer":"a"}` + "\n", foreign: 1},
		{name: "a row that is not a number", text: `{"row":"1","hash":"0000000000000001"}` + "\n", foreign: 1},
		{name: "no row", text: `{"hash":"0000000000000001"}` + "\n", foreign: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out.jsonl")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			seen, looked := results.Look(path)
			out, err := results.Open(path)
			for _, err := range []error{looked, err} {
				foreign, is := errors.AsType[*results.ForeignError](err)
				if is != (c.foreign > 0) || !is && err != nil || is && (foreign.Line != c.foreign || foreign.Path != path) {
					t.Fatalf("got %v", err)
				}
			}
			after := c.text
			if c.foreign == 0 {
				if seen.Found().Lines != c.want.Lines || out.Found() != c.want {
					t.Errorf("found %+v, looking %+v", out.Found(), seen.Found())
				}
				if err := out.Close(); err != nil {
					t.Fatal(err)
				}
				if c.after != "" {
					after = strings.Trim(c.after, "\x00")
				}
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != after {
				t.Errorf("the file is now %q, %v", text, err)
			}
		})
	}
}

// Which of several lines of one row is its line.
func TestWhichLine(t *testing.T) {
	line := func(row int, key results.Key, reason string) string {
		l := results.Line{Row: row, Key: key}
		if reason != "" {
			l.Error = &results.LineError{Reason: reason}
		}
		text, _ := json.Marshal(l)
		return string(text) + "\n"
	}
	filtered := func(reason string) bool { return reason == "content_filtered" }
	for _, c := range []struct {
		name  string
		lines string
		keys  []results.Key
		again func(string) bool
		want  results.Match
		left  string // rows that are to be asked
	}{
		{"nothing is there", "", []results.Key{1, 2}, nil, results.Match{}, "[1 2]"},
		{"a row was added at the top", line(1, 1, "") + line(2, 2, ""), []results.Key{3, 1, 2}, nil, results.Match{Done: 2}, "[1]"},
		{"a row has changed", line(1, 1, "") + line(2, 2, ""), []results.Key{1, 3}, nil, results.Match{Done: 1, Stale: 1}, "[2]"},
		{"all have changed", line(1, 1, "") + line(2, 2, "x"), []results.Key{3, 4}, nil, results.Match{Stale: 2}, "[1 2]"},
		{"a failed row is done", line(1, 1, "x"), []results.Key{1}, nil, results.Match{Done: 1, Failed: map[string]int{"x": 1}}, "[]"},
		{"a failed row is asked again", line(1, 1, "content_filtered") + line(2, 2, "x"), []results.Key{1, 2}, filtered,
			results.Match{Done: 1, Failed: map[string]int{"x": 1}, Retried: 1}, "[1]"},
		{"an answer after an error", line(1, 1, "x") + line(1, 1, ""), []results.Key{1}, filtered, results.Match{Done: 1}, "[]"},
		{"another error after an error", line(1, 1, "content_filtered") + line(1, 1, "x"), []results.Key{1}, filtered,
			results.Match{Done: 1, Failed: map[string]int{"x": 1}}, "[]"},
		{"twice the same row, one is done", line(1, 1, ""), []results.Key{1, 1}, nil, results.Match{Done: 1}, "[2]"},
		{"twice the same row, one has failed", line(1, 1, "") + line(2, 1, "content_filtered"), []results.Key{1, 1}, filtered,
			results.Match{Done: 1, Retried: 1}, "[2]"},
		{"one of two same rows is gone", line(1, 1, "") + line(2, 1, ""), []results.Key{1}, nil, results.Match{Done: 1, Stale: 1}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out.jsonl")
			if err := os.WriteFile(path, []byte(c.lines), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := results.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			got := out.Match(c.keys, c.again)
			if c.want.Failed == nil {
				c.want.Failed = map[string]int{}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			left := []int{}
			for row := range c.keys {
				if !out.Done(row + 1) {
					left = append(left, row+1)
				}
			}
			if fmt.Sprint(left) != c.left {
				t.Errorf("left are %v, want %s", left, c.left)
			}
		})
	}
}

// A run with nothing to do leaves the file untouched; one whose rows have moved gives the
// lines their numbers of now.
func TestOrderWritesOnlyWhatIsNotInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	order := func(keys ...results.Key) (same bool) {
		t.Helper()
		before, _ := os.Stat(path)
		out, err := results.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		out.Match(keys, nil)
		for row, key := range keys {
			if !out.Done(row + 1) {
				err = errors.Join(err, out.Append(&results.Line{Row: row + 1, Key: key}))
			}
		}
		if err = errors.Join(err, out.Order(), out.Order(), out.Close()); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return before != nil && os.SameFile(before, after)
	}
	for _, c := range []struct {
		keys []results.Key
		same bool
	}{
		{[]results.Key{1, 2, 3}, false},
		{[]results.Key{1, 2, 3}, true},
		{[]results.Key{1, 2, 3, 4}, true},
		{[]results.Key{2, 1, 3, 4}, false},
		{[]results.Key{5, 2, 1, 3, 4}, false},
		{[]results.Key{2, 1, 4}, false},
		{[]results.Key{2, 1, 4}, true},
	} {
		if same := order(c.keys...); same != c.same {
			t.Errorf("%v: the file is the same: %v", c.keys, same)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for row, key := range c.keys {
			want += fmt.Sprintf(`{"row":%d,"attempts":0,"usage":{"input_tokens":0,"output_tokens":0},"hash":"%016x"}`+"\n", row+1, uint64(key))
		}
		if string(text) != want {
			t.Fatalf("%v: got\n%s", c.keys, text)
		}
	}
}

// A line lost to a power failure stays in the file until it is put into order.
func TestALostLineIsAskedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(path, []byte("\x00\x00\n"+answered+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if m := out.Match([]results.Key{1, 2}, nil); m.Done != 1 || out.Done(2) {
		t.Errorf("got %+v", m)
	}
	if err := errors.Join(out.Append(&results.Line{Row: 2, Key: 2}), out.Order(), out.Close()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 2 || strings.Contains(string(text), "\x00") {
		t.Errorf("got %q, %v", text, err)
	}
}

// Another program may have written the lines again, with its own white space and order.
func TestLinesInAnotherForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	text := `{"row": 7, "answer": "<b>", "hash": "0000000000000002"}` + "\n" + `{"mine": 1.0, "hash": "0000000000000001", "row": 8}` + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if m := out.Match([]results.Key{1, 2}, nil); m.Done != 2 {
		t.Errorf("got %+v", m)
	}
	if err := errors.Join(out.Order(), out.Close()); err != nil {
		t.Fatal(err)
	}
	want := `{"hash":"0000000000000001","mine":1.0,"row":1}` + "\n" + `{"answer":"\u003cb\u003e","hash":"0000000000000002","row":2}` + "\n"
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestAFileThatWasReplacedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	out.Match([]results.Key{1, 2}, nil)
	if err := errors.Join(out.Append(&results.Line{Row: 2, Key: 2}), out.Append(&results.Line{Row: 1, Key: 1})); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := out.Order(); err == nil || !strings.Contains(err.Error(), "removed or replaced") {
		t.Errorf("got %v", err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestWhatIsNotAFile(t *testing.T) {
	if _, err := results.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory: takes a file") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := results.Open(filepath.Join(t.TempDir(), "no", "out.jsonl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "out.jsonl")
	if seen, err := results.Look(missing); err != nil || seen.Found().Lines != 0 || seen.Match([]results.Key{1}, nil).Done != 0 {
		t.Errorf("a look at nothing: %v", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a look has created the file")
	}
}

// Lines of many goroutines are whole, and the goroutine that syncs ends.
func TestManyAtOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "out.jsonl")
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]results.Key, 500)
	for i := range keys {
		keys[i] = results.Key(i + 1)
	}
	out.Match(keys, nil)
	var all sync.WaitGroup
	for worker := range 10 {
		all.Go(func() {
			for row := worker + 1; row <= len(keys); row += 10 {
				text := strings.Repeat("x", row*7)
				if err := out.Append(&results.Line{Row: row, Answer: &text, Key: keys[row-1]}); err != nil {
					t.Error(err)
				}
				if !out.Done(row) {
					t.Errorf("row %d is not done", row)
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(out.Order(), out.Close()); err != nil {
		t.Fatal(err)
	}
	if err := out.Append(&results.Line{Row: 1}); err == nil {
		t.Error("a line was appended to a closed file")
	}
	again, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if m := again.Match(keys, nil); m.Done != len(keys) || again.Found().Lines != len(keys) {
		t.Errorf("got %+v", m)
	}
}

// rowsInMemory are as many as the issue speaks of.
const rowsInMemory = 1_000_000

// heap returns the bytes of all that is reachable.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// With its key (8 bytes, the caller's), a row takes at most 40 bytes while an old file is
// compared, and 16 afterwards.
func TestMemoryOfARow(t *testing.T) {
	if testing.Short() {
		t.Skip("a million rows")
	}
	path := filepath.Join(t.TempDir(), "out.jsonl")
	var text strings.Builder
	for row := range rowsInMemory {
		fmt.Fprintf(&text, `{"row":%d,"answer":"a","hash":"%016x"}`+"\n", row+1, row)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	text.Reset()
	before := heap()
	keys := make([]results.Key, rowsInMemory)
	for i := range keys {
		keys[i] = results.Key((i * 7) % rowsInMemory)
	}
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	opened := heap() - before
	compared := 0
	m := out.Match(keys, nil)
	compared = heap() - before
	if m.Done != rowsInMemory {
		t.Errorf("got %+v", m)
	}
	if err := out.Order(); err != nil {
		t.Fatal(err)
	}
	after := heap() - before
	t.Logf("bytes a row: opened %d, compared %d, after Order %d", opened/rowsInMemory, compared/rowsInMemory, after/rowsInMemory)
	// Match adds 12 bytes to what is opened: a place and a number.
	if opened/rowsInMemory+12 > 40 || compared/rowsInMemory > 16 || after/rowsInMemory > 16 {
		t.Errorf("a row takes %d, %d and %d bytes", opened/rowsInMemory, compared/rowsInMemory, after/rowsInMemory)
	}
	runtime.KeepAlive(keys)
}

// Whatever is in a file, it is taken as it is, cut at its end, or refused untouched.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(answered + "\n" + refused + "\n"))
	f.Add([]byte(answered + "\n" + refused[:20]))
	f.Add([]byte("\x00\n{\"row\":"))
	f.Add([]byte(`{"hash": "0000000000000002", "row": 7}` + "\n" + answered + "\n"))
	f.Add([]byte(`{"row": 7, "hash": "0000000000000002"}` + "\n" + answered + "\n"))
	f.Add([]byte(`{"row":1,"error":{"reason":1},"hash":"0000000000000001"}`))
	f.Add([]byte(`{"ROW":1,"row":2,"hash":"0000000000000001"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "out.jsonl")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := results.Open(path)
		if err != nil {
			if after, _ := os.ReadFile(path); string(after) != string(text) {
				t.Fatalf("%v, and the file was changed", err)
			}
			return
		}
		after, _ := os.ReadFile(path)
		if !strings.HasPrefix(string(after), string(text)) && !strings.HasPrefix(string(text), string(after)) || len(after) > len(text)+1 {
			t.Fatalf("%q became %q", text, after)
		}
		found := out.Found()
		keys := []results.Key{1, 2}
		out.Match(keys, nil)
		for row := range keys {
			if !out.Done(row + 1) {
				err = errors.Join(err, out.Append(&results.Line{Row: row + 1, Key: keys[row]}))
			}
		}
		if err = errors.Join(err, out.Order(), out.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := results.Open(path)
		if err != nil {
			ordered, _ := os.ReadFile(path)
			t.Fatalf("%+v: %v, of %q", found, err, ordered)
		}
		defer again.Close()
		if m := again.Match(keys, nil); m.Done != 2 || m.Stale != 0 {
			t.Fatalf("got %+v", m)
		}
	})
}
