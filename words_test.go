package llmcall_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// banned are turns of phrase that a reader has to read twice, and what to write.
var banned = []struct {
	phrase *regexp.Regexp
	plain  string
}{
	{regexp.MustCompile(`(?i)\bmend(s|ed|ing)?\b`), "fix"},
	{regexp.MustCompile(`(?i)\banew\b`), "again"},
	{regexp.MustCompile(`(?i)\bbehind\b`), "after"},
	{regexp.MustCompile(`(?i)\bstands\b`), "is"}, // "stands for" is English
	{regexp.MustCompile(`(?i)\bis no\b`), "is not"},
	{regexp.MustCompile(`(?i)\bthat is none\b`), "that is not one"},
	{regexp.MustCompile(`(?i)\bin the place of\b`), "instead of"},
}

var fine = regexp.MustCompile(`(?i)https?://\S+|\bthere is no\b|\bstands for\b|\bis no (longer|more|less)\b`)

func phrases(text string) []string {
	var found []string
	text = fine.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
	for _, b := range banned {
		for _, phrase := range b.phrase.FindAllString(text, -1) {
			found = append(found, `"`+phrase+`": say "`+b.plain+`"`)
		}
	}
	return found
}

func TestPhrasesThatAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"how to mend it": 1, "in\n the place of": 1, "that is none": 1, "Behind the colon": 1, "NaN is no JSON": 1,
		"there is no package": 0, "a path stands for a folder": 0, "recommended amendments": 0,
	} {
		if got := phrases(text); len(got) != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestPagesAreInPlainEnglish(t *testing.T) {
	for _, page := range append(pages(t), "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		complain(t, filepath.ToSlash(page), phrases(string(data)))
	}
}

// The comments and strings of a package's files, without its tests.
func TestPackagesAreInPlainEnglish(t *testing.T) {
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "bench"}, d.Name())):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		found[pkg] = append(found[pkg], phrasesOf(t, path)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg, phrases := range found {
		complain(t, pkg, phrases)
	}
}

func phrasesOf(t *testing.T, path string) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	look := func(at token.Pos, text string) {
		for _, phrase := range phrases(text) {
			found = append(found, files.Position(at).String()+": "+phrase)
		}
	}
	for _, group := range file.Comments {
		look(group.Pos(), group.Text())
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			look(literal.Pos(), literal.Value)
		}
		return true
	})
	return found
}

func complain(t *testing.T, name string, phrases []string) {
	t.Helper()
	if len(phrases) > 0 {
		t.Errorf("%s:\n\t%s", name, strings.Join(phrases, "\n\t"))
	}
}
