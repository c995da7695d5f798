// Package yamlfile reads the YAML and JSON files that people write, and says in plain
// words what is wrong with one that can't be read.
package yamlfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"llmcall/internal/say"
)

// Error is what is wrong with a file that can't be read, and where.
type Error struct {
	Line   int // 0: nowhere in particular
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Parse reads one document, YAML or JSON. It returns nil if the file has nothing but
// comments. Every error is an *[Error].
func Parse(data []byte) (*yaml.Node, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if json.Valid(data) && utf8.Valid(data) {
		return readJSON(data)
	}
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		for i, text := range bytes.Split(data, []byte("\n")) {
			if !utf8.Valid(text) {
				return nil, &Error{i + 1, "the file must be text in UTF-8"}
			}
		}
		if e := asJSON(data); e != nil {
			return nil, e
		}
		return nil, asYAML(data, err)
	}
	switch len(docs) {
	case 0:
		return nil, nil
	case 1:
		return docs[0].Content[0], nil
	}
	return nil, &Error{docs[1].Line, "must be one document, got more than one (--- begins another)"}
}

// asJSON returns what is wrong with a file that is meant to be JSON: it begins as JSON does.
// It returns nil for another one.
func asJSON(data []byte) *Error {
	text := bytes.TrimLeft(data, " \t\r\n")
	inner := bytes.TrimLeft(bytes.TrimLeft(text, "{["), " \t\r\n")
	if len(inner) == len(text) || !bytes.HasPrefix(inner, []byte(`"`)) && !bytes.HasPrefix(inner, []byte("}")) && !bytes.HasPrefix(inner, []byte("]")) {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	var value any
	err := decoder.Decode(&value)
	at := int(decoder.InputOffset())
	reason := ""
	switch syntax, bad := errors.AsType[*json.SyntaxError](err); {
	case err == nil:
		at += len(data[at:]) - len(bytes.TrimLeft(data[at:], " \t\r\n"))
		reason = fmt.Sprintf("must be one JSON value, got more after its end: %q", say.FirstLine(string(data[at:]), 40))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		at, reason = len(bytes.TrimRight(data, " \t\r\n")), "not JSON: the text ends too early (a bracket or a quote is not closed)"
	case bad:
		at, reason = max(0, int(syntax.Offset)-1), "not JSON: "+jsonWords.Replace(syntax.Error())
	default:
		reason = "not JSON: " + err.Error()
	}
	return &Error{1 + bytes.Count(data[:min(at, len(data))], []byte("\n")), reason}
}

// jsonWords says what was expected, where the library says what it was doing.
var jsonWords = strings.NewReplacer(
	"after object key:value pair", "where a comma or } must follow a value", "after array element", "where a comma or ] must follow a value",
	"after object key", "where a colon must follow a name", "looking for beginning of object key string", "where a name in double quotes must be",
	"looking for beginning of value", "where a value must be",
)

// asYAML puts an error of the library in plain words.
func asYAML(data []byte, err error) *Error {
	at, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return &Error{Reason: "not YAML: " + err.Error()}
	}
	line, begun := at.Mark.Line, at.ContextMark.Line
	if tab := tabAt(data, line); tab > 0 {
		return &Error{tab, "the line is indented with a tab: use spaces"}
	}
	// An error at the end of a file is said of what has no end.
	if last := 1 + bytes.Count(bytes.TrimRight(data, "\r\n \t"), []byte("\n")); line > last {
		if line = last; begun > 0 {
			line = min(begun, last)
		}
	}
	for _, known := range plainWords {
		said := at.ContextMsg + ": " + at.Message
		if found := known.library.FindStringSubmatchIndex(said); found != nil {
			return &Error{line, "not YAML: " + string(known.library.ExpandString(nil, known.reason, said, found))}
		}
	}
	return &Error{line, "not YAML: " + at.Message}
}

// plainWords has the errors of the library that people see most.
var plainWords = []struct {
	library *regexp.Regexp
	reason  string
}{
	{regexp.MustCompile(`quoted scalar.*(end of stream|document indicator)`), "a quote is not closed"},
	{regexp.MustCompile(`flow sequence`), "a list in brackets lacks a comma, or its ]"},
	{regexp.MustCompile(`flow mapping`), "a mapping in braces lacks a comma, or its }"},
	{regexp.MustCompile(`expected node content`), "a list in brackets or a mapping in braces is not closed, or lacks a value"},
	{regexp.MustCompile(`mapping values are not allowed`), `a value has ": " in it, or the line is indented too far: put such a value in quotes`},
	{regexp.MustCompile(`could not find expected ':'`), `a colon and a space must follow the name of a field`},
	{regexp.MustCompile(`did not find expected key`), "the line is not indented as the fields before it, or text follows a closed quote"},
	{regexp.MustCompile(`did not find expected '-' indicator`), `the line is not indented as the list before it, or lacks its "- "`},
	{regexp.MustCompile(`block sequence entries are not allowed`), `a list must begin on a line of its own, and be indented as the lines around it`},
	{regexp.MustCompile(`unknown anchor '(.*)' referenced`), "*$1 names an anchor that the file does not have (put a text that begins with * in quotes)"},
	{regexp.MustCompile(`alphabetic or numeric character`), "a text that begins with * or & must be in quotes"},
	{regexp.MustCompile(`unknown escape character`), `\ begins an escape in double quotes: write \\, or use single quotes`},
	{regexp.MustCompile(`cannot start any token`), "a text that begins with @, ` or % must be in quotes"},
	{regexp.MustCompile(`control characters`), "a text with control characters must be in double quotes, with escapes"},
	{regexp.MustCompile(`<document start>`), "the line is indented less than the first, or follows the end of the document"},
}

// tabAt returns the line, at or near the given one, whose indentation has a tab; 0 if
// there is none.
func tabAt(data []byte, line int) int {
	lines := bytes.Split(data, []byte("\n"))
	for _, n := range []int{line, line + 1, line - 1} {
		if n < 1 || n > len(lines) {
			continue
		}
		text := lines[n-1]
		if indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]; bytes.ContainsRune(indent, '\t') && len(bytes.TrimSpace(text)) > 0 {
			return n
		}
	}
	return 0
}
