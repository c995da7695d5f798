package rows

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"llmcall/internal/say"
)

// lines reads JSONL.
type lines struct {
	source *Source
	from   *bufio.Reader
	line   int
	begun  bool // a line that is not blank was read
}

func newLines(s *Source, content io.Reader) *lines {
	return &lines{source: s, from: newBuffer(content)}
}

// next reads the next row.
func (l *lines) next() (*Row, error) {
	for {
		text, err := l.text()
		if err != nil {
			return nil, err
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			first := !l.begun
			l.begun = true
			return l.row(text, first)
		}
	}
}

// text reads the next line, which may be the last without a line end.
func (l *lines) text() ([]byte, error) {
	l.line++
	var text []byte
	for {
		part, err := l.from.ReadSlice('\n')
		if len(text)+len(part) > maxRow {
			return nil, l.source.fault(l.line, "is longer than %d MiB", maxRow>>20)
		}
		text = append(text, part...)
		switch {
		case err == nil:
			return text, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(text) > 0:
			return text, nil
		default:
			return nil, err
		}
	}
}

func (l *lines) row(text []byte, first bool) (*Row, error) {
	if at := invalid(text); at >= 0 {
		return nil, l.source.fault(l.line, "is not UTF-8 (the byte 0x%02x at column %d): save the file as UTF-8", text[at], at+1)
	}
	if text[0] == '[' && first {
		return nil, l.source.fault(0, "is a JSON array, and must have one object on each line: jq -c '.[]' FILE makes that of it")
	}
	if text[0] != '{' {
		return nil, l.source.fault(l.line, "must be a JSON object, got %s", shown(text))
	}
	value, names, err := decode(text)
	if err != nil {
		problem := err.Error()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			problem = "ends in the middle of a JSON object, which must be on one line: jq -c . FILE makes that of it"
		}
		return nil, l.source.fault(l.line, "%s", problem)
	}
	row, err := newRow(l.line, value, names)
	if err == nil {
		row.text = text
	}
	return row, err
}

// newRow returns a row without its number.
func newRow(line int, fields map[string]any, names []string) (*Row, error) {
	raw, err := canonical(fields)
	if err != nil {
		return nil, err
	}
	return &Row{Line: line, Fields: fields, Raw: raw, names: names}, nil
}

// canonical returns the JSON of a value, with the fields of objects sorted.
func canonical(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSpace(b.Bytes()), err
}

// invalid returns where a text is not UTF-8, or -1.
func invalid(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// shown describes JSON that should have been an object.
func shown(text []byte) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return fmt.Sprintf("%q", say.Short(string(text), 40))
	}
	return describe(value)
}

// describe names a decoded value: "the number 5", "a list".
func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("the string %q", say.Short(v, 40))
	case bool:
		return fmt.Sprint(v)
	case json.Number:
		return "the number " + say.Short(v.String(), 40)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case []any:
		return "a list"
	}
	return "an object"
}

// decoder reads JSON without the leniency of encoding/json towards fields that are given
// twice, of which it would drop one.
type decoder struct{ *json.Decoder }

// decode reads a JSON object. The names are those of its fields, in their order.
func decode(text []byte) (map[string]any, []string, error) {
	d := decoder{json.NewDecoder(bytes.NewReader(text))}
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil, nil, d.plain(err)
	}
	value, names, err := d.object(0)
	if err != nil {
		return nil, nil, d.plain(err)
	}
	if rest := bytes.TrimSpace(text[d.InputOffset():]); len(rest) > 0 {
		return nil, nil, fmt.Errorf("must be one JSON object, got %q after it", say.Short(string(rest), 40))
	}
	return value, names, nil
}

func (d decoder) plain(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("is not JSON: %s at column %d", syntax.Error(), syntax.Offset)
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxDepth is how deep values may be nested.
const maxDepth = 1000

// object reads what follows a "{".
func (d decoder) object(depth int) (map[string]any, []string, error) {
	fields := map[string]any{}
	var names []string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		name, _ := key.(string) // the decoder takes nothing else
		if _, twice := fields[name]; twice {
			return nil, nil, fmt.Errorf("has the field %q twice", say.Short(name, 60))
		}
		if fields[name], err = d.value(depth + 1); err != nil {
			return nil, nil, err
		}
		names = append(names, name)
	}
	_, err := d.Token()
	return fields, names, err
}

func (d decoder) value(depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("is nested more than %d deep", maxDepth)
	}
	switch token {
	case json.Delim('{'):
		fields, _, err := d.object(depth)
		return fields, err
	case json.Delim('['):
		items := []any{}
		for d.More() {
			item, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		_, err := d.Token()
		return items, err
	}
	return token, nil
}
