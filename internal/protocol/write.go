package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// raw is JSON that is written already.
type raw []byte

// fill writes JSON as a template has it: each %s becomes the JSON of an
// argument. So what goes over the wire can be read in the source.
func fill(template string, args ...any) []byte {
	written := make([]any, len(args))
	for i, a := range args {
		if text, ok := a.(raw); ok {
			written[i] = []byte(text)
		} else {
			written[i] = marshal(a)
		}
	}
	return fmt.Appendf(nil, template, written...)
}

// marshal writes JSON on one line, with < and > as they are.
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

// chunkRunes is the size of a piece of a stream; a model's tokens are about
// half as long.
const chunkRunes = 8

// chunks splits a text into the pieces of a stream.
func chunks(text string) []string {
	var parts []string
	for text != "" {
		end, runes := len(text), 0
		for i := range text {
			if runes == chunkRunes {
				end = i
				break
			}
			runes++
		}
		parts, text = append(parts, text[:end]), text[end:]
	}
	return parts
}

// finishWord returns the word for why an answer ended; nil for none.
func (t *Turn) finishWord(words map[Finish]string) any {
	if t.Native != "" {
		return t.Native
	}
	return orNull(words[t.Finish])
}

// rounded rounds a time up: rounded down it would bring clients back too early.
func rounded(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }

func decimal(n int64) []string { return []string{strconv.FormatInt(n, 10)} }
