package practice

import (
	"encoding/json"
	"regexp"
	"strings"

	"llmcall/chaos/internal/schemagen"
)

// syntaxFixes are what JSON must not have in it, all over the text. A string of
// JSON is left as it is: each expression's first alternative takes it whole.
var syntaxFixes = []struct {
	words   *regexp.Regexp // of the fix
	wrong   *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`leave out the comma`), outside(`,(\s*[}\]])`), "$1"},
	{regexp.MustCompile(`leave comments out`), outside(`//[^\n]*|/\*(?s:.*?)\*/|#[^\n]*`), ""},
	{regexp.MustCompile(`^write true`), outside(`\b(?:True|TRUE)\b`), "true"},
	{regexp.MustCompile(`^write false`), outside(`\b(?:False|FALSE)\b`), "false"},
	{regexp.MustCompile(`^write null`), outside(`\b(?:None|Null|NULL|nil|undefined)\b`), "null"},
	{regexp.MustCompile(`a number, or null`), outside(`-?\b(?:NaN|Infinity|[iI]nf)\b`), "null"},
	{regexp.MustCompile(`names and strings in double quotes`), outside(`([{,]\s*)([A-Za-z_]\w*)(\s*:)`), `$1"$2"$3`},
	{regexp.MustCompile(`names and strings in double quotes`), outside(`(:\s*)([A-Za-z_]\w*)(\s*[,}\]])`), `$1"$2"$3`},
	{regexp.MustCompile(`use double quotes`), outside(`'([^'"\n]*)'`), `"$1"`},
	{regexp.MustCompile(`straight double quotes`), outside(`[“”„]([^“”„"\n]*)[“”]`), `"$1"`},
	{regexp.MustCompile(`leave out the zeros`), outside(`\b0+(\d)`), "$1"},
}

func outside(wrong string) *regexp.Regexp {
	return regexp.MustCompile(`(?P<string>"(?:[^"\\\n]|\\.)*")|` + wrong)
}

// placedFixes are what is done to the character at the complaint's place.
var placedFixes = []struct {
	words *regexp.Regexp
	do    func(before, behind string, p point) string
}{
	{regexp.MustCompile(`put a comma between`), func(before, behind string, _ point) string { return before + "," + behind }},
	{regexp.MustCompile(`put a colon between`), func(before, behind string, _ point) string { return before + ":" + behind }},
	{regexp.MustCompile(`put a value there`), func(before, behind string, _ point) string { return before + "null" + behind }},
	{regexp.MustCompile(`put one comma between`), withoutFirst},
	{regexp.MustCompile(`close each object and array once|a single JSON value`), func(before, _ string, _ point) string { return before }},
	{regexp.MustCompile("write the line break as"), func(before, behind string, _ point) string { return before + `\n` + behind[min(1, len(behind)):] }},
	{regexp.MustCompile(`write it as \\t`), func(before, behind string, _ point) string { return before + `\t` + behind[min(1, len(behind)):] }},
	{regexp.MustCompile(`write out all of it`), func(before, behind string, _ point) string { return before + strings.TrimLeft(behind, ".…") }},
}

func withoutFirst(before, behind string, _ point) string {
	return before + behind[len(firstRunes(behind, 1)):]
}

var onceWords = regexp.MustCompile(`give each property once`)

// fixSyntax repairs JSON that can't be read, and returns the points that it does
// not understand.
func fixSyntax(text string, points []point) (string, []point) {
	var left []point
	for _, p := range backwards(points) {
		understood := false
		for _, m := range syntaxFixes {
			if m.words.MatchString(p.fix) {
				text, understood = replaceOutside(text, m.wrong, m.replace), true
			}
		}
		if at, ok := offset(text, p.line, p.column); ok && !understood {
			for _, m := range placedFixes {
				if m.words.MatchString(p.fix) {
					text, understood = m.do(text[:at], text[at:], p), true
					break
				}
			}
		}
		if inner, ok := jsonIn(text); ok && onceWords.MatchString(p.fix) {
			if v, ok := decoded(inner); ok {
				text, understood = encoded(v, text), true
			}
		}
		if !understood {
			left = append(left, p)
		}
	}
	return text, left
}

// replaceOutside replaces what is wrong outside of JSON's strings.
func replaceOutside(text string, wrong *regexp.Regexp, with string) string {
	var b strings.Builder
	end := 0
	for _, m := range wrong.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(text[end:m[0]])
		if m[2] >= 0 {
			b.WriteString(text[m[0]:m[1]])
		} else {
			b.Write(wrong.ExpandString(nil, shifted.ReplaceAllStringFunc(with, next), text, m))
		}
		end = m[1]
	}
	return b.String() + text[end:]
}

// The groups of a row are numbered as it writes them; the string's group comes
// before them.
var shifted = regexp.MustCompile(`\$\d`)

func next(group string) string { return "${" + string(group[1]+1) + "}" }

// decoded reads JSON, with numbers as they are written.
func decoded(text string) (any, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	return v, true
}

// encoded writes a value as JSON; what can't be written leaves the text as it is.
func encoded(v any, otherwise string) string {
	text, err := schemagen.Encode(v)
	if err != nil {
		return otherwise
	}
	return text
}
