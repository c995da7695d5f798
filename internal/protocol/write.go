package protocol

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// raw is encoded JSON.
type raw []byte

// fill replaces each %s of a template with the JSON of an argument. With templates the
// source shows what is sent.
func fill(template string, args ...any) []byte {
	out := make([]byte, 0, 2*len(template))
	for _, a := range args {
		before, after, _ := strings.Cut(template, "%s")
		out, template = appendJSON(append(out, before...), a), after
	}
	return append(out, template...)
}

// appendJSON appends the JSON of a value. A stream has many short texts and numbers, for
// which an encoder is not needed.
func appendJSON(out []byte, v any) []byte {
	switch v := v.(type) {
	case raw:
		return append(out, v...)
	case string:
		if isPlain(v) {
			return append(append(append(out, '"'), v...), '"')
		}
	case int:
		return strconv.AppendInt(out, int64(v), 10)
	case int64:
		return strconv.AppendInt(out, v, 10)
	}
	return append(out, marshal(v)...)
}

// isPlain reports whether JSON writes a text as it is.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// list writes a list of encoded items.
func list(items [][]byte) raw { return fill("[%s]", raw(bytes.Join(items, []byte(",")))) }

// marshal returns JSON on one line, without escaping < and >.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // what is given here always marshals
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// orNull is JSON's null for an empty text.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Compact returns JSON on one line, as a stream needs it; ok is false if body is
// not JSON.
func Compact(body []byte) (line []byte, ok bool) {
	var v json.RawMessage
	if json.Unmarshal(body, &v) != nil {
		return nil, false
	}
	return marshal(v), true
}

// data writes a server-sent event without a name.
func data(text []byte) []byte { return append(append([]byte("data: "), text...), "\n\n"...) }

// namedData writes a server-sent event with a name.
func namedData(name string, text []byte) []byte {
	return append([]byte("event: "+name+"\n"), data(text)...)
}

// chunkRunes is the size of a piece of a stream, about two tokens of a model.
const chunkRunes = 8

// chunks splits a text into the pieces of a stream.
func chunks(text string) []string { return split(text, chunkRunes) }

// split splits a text into parts of a number of runes; the last may be shorter.
func split(text string, size int) []string {
	var parts []string
	for text != "" {
		end, runes := len(text), 0
		for i := range text {
			if runes == size {
				end = i
				break
			}
			runes++
		}
		parts, text = append(parts, text[:end]), text[end:]
	}
	return parts
}

// finishWord returns the word for why an answer ended; nil if there is none.
func (t *Turn) finishWord(words map[Finish]string) any {
	if t.Native != "" {
		return t.Native
	}
	return orNull(words[t.Finish])
}

// tier is the tier of OpenAI's service in which the answer was made; null if it is not known.
func (t *Turn) tier() raw {
	if !t.Plays {
		return raw("null")
	}
	return raw(`"default"`)
}

// rounded rounds a time up, so that clients don't retry too early.
func rounded(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }

func decimal(n int64) []string { return []string{strconv.FormatInt(n, 10)} }
