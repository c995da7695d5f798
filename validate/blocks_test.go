package validate_test

import (
	"slices"
	"strings"
	"testing"

	"llmcall/validate"
)

func TestBlocksAreFound(t *testing.T) {
	type block struct {
		label, code string
		closed      bool
	}
	for _, test := range []struct {
		name, text string
		want       []block
	}{
		{"none", "text `a` ``b`` \n", nil},
		{"one", "text\n```python\na\n\nb\n```\nmore", []block{{"python", "a\n\nb\n", true}}},
		{"a label in capitals, with more behind it", "``` Python title=\"x\"\na\n```", []block{{"python", "a\n", true}}},
		{"labels of other tools", "```{.py}\n```\n```js,ignore\n```\n```{r}\n```", []block{{"py", "", true}, {"js", "", true}, {"r", "", true}}},
		{"tildes", "~~~\n```\n~~~~", []block{{"", "```\n", true}}},
		{"CRLF", "```go\r\na\r\n```\r\n", []block{{"go", "a\n", true}}},
		{"indented", "1. x\n   ```\n   a\n     b\n  c\n   ```\n", []block{{"", "a\n  b\nc\n", true}}},
		{"a longer fence", "````\n```\na\n```\n````", []block{{"", "```\na\n```\n", true}}},
		{"not closed", "```\na", []block{{"", "a\n", false}}},
		{"closed by its own mark alone", "```\na\n~~~\n```x\n``\n```", []block{{"", "a\n~~~\n```x\n``\n", true}}},
		{"code in a line", "```a```\n```b\nc\n```", []block{{"b", "c\n", true}}},
		{"Markdown", "````md\n```go\na\n```\n~~~\nb\n~~~\n````\n```\nc\n```", []block{{"go", "a\n", true}, {"", "b\n", true}, {"", "c\n", true}}},
		{"Markdown without blocks", "```markdown\n# a\n```", []block{{"markdown", "# a\n", true}}},
	} {
		var got []block
		for _, b := range validate.Blocks(test.text) {
			got = append(got, block{b.Label, b.Code, b.Closed})
			if !b.Fenced {
				t.Errorf("%s: it is not fenced", test.name)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestBlocksKnowTheirPlaceInTheText(t *testing.T) {
	for _, test := range []struct {
		text, find string
	}{
		{"text\n```\na\n  X\n```", "X"},
		{"- é\r\n\t```\r\n\té X\r\n\t```", "X"},
		{"  ````md\n  a\n    ```\n    é\n    é X\n    ```\n  ````", "X"},
		{"\uFEFFé X", "X"},
		{"é\n\n\nX", "X"},
	} {
		b := validate.BlocksOf(test.text)[0]
		line, column := b.Position(validate.Position(b.Code, strings.Index(b.Code, test.find)))
		wantLine, wantColumn := validate.Position(test.text, strings.Index(test.text, test.find))
		if line != wantLine || column != wantColumn {
			t.Errorf("%q: %d:%d, want %d:%d", test.text, line, column, wantLine, wantColumn)
		}
	}
}

func TestBlocksOfALanguageAreChosen(t *testing.T) {
	const all = "```js\na\n```\n```\nb\n```\n```py\nc\n```\n```\nd\n```"
	for _, test := range []struct {
		text   string
		labels []string
		want   string
	}{
		{all, []string{"py"}, "c\n"},
		{all, []string{"js", "py"}, "a\nc\n"},
		{all, []string{"sql"}, "b\nd\n"},
		{"```js\na\n```", []string{"sql"}, "a\n"},
		{"a\r\nb", []string{"sql"}, "a\nb"},
	} {
		var got string
		for _, b := range validate.BlocksOf(test.text, test.labels...) {
			got += b.Code
		}
		if got != test.want {
			t.Errorf("%q of %v: %q, want %q", test.text, test.labels, got, test.want)
		}
	}
}

func FuzzBlocks(f *testing.F) {
	for _, text := range []string{"```py\na\n```", "  ~~~\n a\n", "````md\n```\n```\n````", "\uFEFF\r\n", "``"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		for _, b := range append(validate.Blocks(text), validate.Whole(text)) {
			for i, code := range strings.Split(strings.TrimSuffix(b.Code, "\n"), "\n") {
				if code == "" {
					continue
				}
				line, column := b.Position(i+1, 1)
				if line > len(lines) {
					t.Fatalf("%q: line %d", text, line)
				}
				rest := []rune(lines[line-1])
				if column-1 > len(rest) || !strings.HasPrefix(string(rest[column-1:]), string([]rune(strings.TrimSuffix(code, "\r")))) {
					t.Fatalf("%q: %q is not at %d:%d", text, code, line, column)
				}
			}
		}
	})
}
