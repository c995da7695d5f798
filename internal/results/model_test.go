package results_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/internal/results"
)

// model is the sentences of the issue: what was answered is not asked again, however the
// input is changed around it; what has failed is asked again if one asks for it; a change
// asks again; equal rows are done as often as there are lines.
type model struct {
	lines map[string]*tally // by content
}

type tally struct{ answered, failed int }

func (m *model) of(content string) *tally {
	if m.lines[content] == nil {
		m.lines[content] = &tally{}
	}
	return m.lines[content]
}

// expected is how many rows of each content are asked, and how many lines are stale.
func (m *model) expected(input []string, retry bool) (ask map[string]int, stale int) {
	rows := map[string]int{}
	for _, content := range input {
		rows[content]++
	}
	ask = map[string]int{}
	for content, n := range rows {
		t := m.of(content)
		ask[content] = max(0, n-t.answered)
		if !retry {
			ask[content] = max(0, ask[content]-t.failed)
		}
		stale += max(0, t.answered-n)
	}
	for content, t := range m.lines {
		if rows[content] == 0 {
			stale += t.answered + t.failed
		}
	}
	return ask, stale
}

func key(content string) results.Key { return results.Identify([]byte("prompt"), []byte(content)) }

func keysOf(input []string) []results.Key {
	keys := make([]results.Key, len(input))
	for i, content := range input {
		keys[i] = key(content)
	}
	return keys
}

// Rows are added, removed, changed, doubled and moved; runs end at any line, with a torn
// one; failed rows are retried or not.
func TestARunAfterARunAgainstAModel(t *testing.T) {
	directory := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		files++
		path := filepath.Join(directory, fmt.Sprint(files))
		m := &model{map[string]*tally{}}
		content := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		input := rapid.SliceOfN(content, 0, 8).Draw(t, "input")
		for range rapid.IntRange(1, 6).Draw(t, "runs") {
			run(t, path, m, input)
			switch at := rapid.IntRange(0, len(input)).Draw(t, "at"); rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				input = slices.Insert(slices.Clone(input), at, content.Draw(t, "row"))
			case 1:
				if at < len(input) {
					input = slices.Delete(slices.Clone(input), at, at+1)
				}
			case 2:
				input = rapid.Permutation(input).Draw(t, "order")
			}
		}
	})
}

func run(t *rapid.T, path string, m *model, input []string) {
	retry := rapid.Bool().Draw(t, "retry")
	ask, stale := m.expected(input, retry)
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	match := out.Match(keysOf(input), func(string) bool { return retry })
	if match.Stale != stale {
		t.Fatalf("%d lines are stale, want %d of %v", match.Stale, stale, m.lines)
	}
	asked := map[string]int{}
	var todo []int
	for i, content := range input {
		if !out.Done(i + 1) {
			asked[content]++
			todo = append(todo, i)
		}
	}
	for content := range ask {
		if asked[content] != ask[content] {
			t.Fatalf("%d rows %q are asked, want %d", asked[content], content, ask[content])
		}
	}
	if match.Done != len(input)-len(todo) {
		t.Fatalf("%d of %d rows are done, and %d are left", match.Done, len(input), len(todo))
	}
	ends := len(todo)
	if rapid.Bool().Draw(t, "killed") {
		ends = rapid.IntRange(0, len(todo)).Draw(t, "after")
	}
	for _, i := range rapid.Permutation(todo).Draw(t, "done as")[:ends] {
		line := &results.Line{Row: i + 1, Key: key(input[i])}
		if rapid.Bool().Draw(t, "fails") {
			line.Error = &results.LineError{Reason: "no_valid_answer"}
			m.of(input[i]).failed++
		} else {
			line.Answer = &input[i]
			m.of(input[i]).answered++
		}
		if err := out.Append(line); err != nil {
			t.Fatal(err)
		}
	}
	if ends < len(todo) {
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		tear(t, path)
		return
	}
	if err := errors.Join(out.Order(), out.Close()); err != nil {
		t.Fatal(err)
	}
	ordered(t, path, m, input)
}

// tear adds the beginning of a line.
func tear(t *rapid.T, path string) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	line := `{"row":1,"answer":"a","hash":"0000000000000000"}`
	_, err = file.WriteString(line[:rapid.IntRange(0, len(line)-1).Draw(t, "torn at")])
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// ordered expects one line for each row, in the order of the rows, and no answer lost. The
// model then knows these lines alone.
func ordered(t *rapid.T, path string, m *model, input []string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(text) == 0 {
		lines = nil
	}
	if len(lines) != len(input) {
		t.Fatalf("%d lines for %d rows:\n%s", len(lines), len(input), text)
	}
	after := &model{map[string]*tally{}}
	for i, line := range lines {
		hash, _ := key(input[i]).MarshalText()
		if !strings.HasPrefix(line, fmt.Sprintf(`{"row":%d,`, i+1)) || !strings.Contains(line, string(hash)) {
			t.Fatalf("line %d is of another row: %s", i+1, line)
		}
		if strings.Contains(line, `"error"`) {
			after.of(input[i]).failed++
		} else {
			after.of(input[i]).answered++
		}
	}
	for content, is := range after.lines {
		if had := m.of(content); is.answered != min(had.answered, is.answered+is.failed) {
			t.Fatalf("of %d answers to %q %d are left", had.answered, content, is.answered)
		}
	}
	m.lines = after.lines
}
