package practice

import (
	"encoding/json"
	"regexp"
	"strings"

	"llmcall/chaos/internal/schemagen"
	"llmcall/internal/phrase"
)

// syntaxFixes are what JSON must not have in it, all over the text. A string of
// JSON is left as it is: each expression's first alternative takes it whole.
var syntaxFixes = []struct {
	fix     *phrase.Phrase
	literal string         // the value of the phrase's place; "" for those without one
	wrong   *regexp.Regexp // in the text
	replace string
}{
	{phrase.NoComma, "", outside(`,(\s*[}\]])`), "$1"},
	{phrase.NoComments, "", outside(`//[^\n]*|/\*(?s:.*?)\*/|#[^\n]*`), ""},
	{phrase.Literal, "true", outside(`\b(?:True|TRUE)\b`), "true"},
	{phrase.Literal, "false", outside(`\b(?:False|FALSE)\b`), "false"},
	{phrase.Literal, "null", outside(`\b(?:None|Null|NULL|nil|undefined)\b`), "null"},
	{phrase.NumberOrNull, "", outside(`-?\b(?:NaN|Infinity|[iI]nf)\b`), "null"},
	{phrase.QuotedNames, "", outside(`([{,]\s*)([A-Za-z_]\w*)(\s*:)`), `$1"$2"$3`},
	{phrase.QuotedNames, "", outside(`(:\s*)([A-Za-z_]\w*)(\s*[,}\]])`), `$1"$2"$3`},
	{phrase.DoubleQuotes, "", outside(`'([^'"\n]*)'`), `"$1"`},
	{phrase.StraightQuotes, "", outside(`[“”„]([^“”„"\n]*)[“”]`), `"$1"`},
	{phrase.NoLeadingZeros, "", outside(`\b0+(\d)`), "$1"},
}

func outside(wrong string) *regexp.Regexp {
	return regexp.MustCompile(`(?P<string>"(?:[^"\\\n]|\\.)*")|` + wrong)
}

// placedFixes are the fixes of the character at the complaint's place.
var placedFixes = []struct {
	fix *phrase.Phrase
	do  func(before, after string) string
}{
	{phrase.CommaBetween, func(before, after string) string { return before + "," + after }},
	{phrase.ColonBetween, func(before, after string) string { return before + ":" + after }},
	{phrase.ValueThere, func(before, after string) string { return before + "null" + after }},
	{phrase.OneComma, func(before, after string) string { return before + after[len(firstRunes(after, 1)):] }},
	{phrase.CloseOnce, func(before, _ string) string { return before }},
	{phrase.SingleValue, func(before, _ string) string { return before }},
	{phrase.LineBreak, func(before, after string) string { return before + `\n` + after[min(1, len(after)):] }},
	{phrase.Tab, func(before, after string) string { return before + `\t` + after[min(1, len(after)):] }},
	{phrase.AllOfIt, func(before, after string) string { return before + strings.TrimLeft(after, ".…") }},
}

// fixSyntax repairs JSON that can't be read, and returns the points that it does
// not understand.
func fixSyntax(text string, points []point) (string, []point) {
	var left []point
	for _, p := range backwards(points) {
		understood := false
		for _, m := range syntaxFixes {
			if values, ok := m.fix.Read(p.fix); ok && (m.literal == "" || values[0] == m.literal) {
				text, understood = replaceOutside(text, m.wrong, m.replace), true
			}
		}
		if at, ok := offset(text, p.line, p.column); ok && !understood {
			for _, m := range placedFixes {
				if _, ok := m.fix.Read(p.fix); ok {
					text, understood = m.do(text[:at], text[at:]), true
					break
				}
			}
		}
		if _, once := phrase.EachOnce.Read(p.fix); once {
			if inner, ok := jsonIn(text); ok {
				if v, ok := decoded(inner); ok {
					text, understood = encoded(v, text), true
				}
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
			b.Write(wrong.ExpandString(nil, shifted.ReplaceAllStringFunc(with, shiftedGroup), text, m))
		}
		end = m[1]
	}
	return b.String() + text[end:]
}

// The groups of a row are numbered as it writes them; the string's group comes
// before them.
var shifted = regexp.MustCompile(`\$\d`)

func shiftedGroup(group string) string { return "${" + string(group[1]+1) + "}" }

// decoded decodes JSON, with numbers as [json.Number].
func decoded(text string) (any, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	return v, true
}

// encoded returns a value as JSON, or the text unchanged if that is not possible.
func encoded(v any, otherwise string) string {
	text, err := schemagen.Encode(v)
	if err != nil {
		return otherwise
	}
	return text
}
