package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"

	"llmcall"
	"llmcall/llm"
	"llmcall/validate"
)

// Key is the identity of a row: a hash of everything that its answer depends on. It is
// written as 16 hexadecimal digits.
type Key uint64

// Identify returns the key of what the parts say together: the row's content, the prompt,
// the models, checks and settings. It is the first 8 bytes of a SHA-256: with a million
// rows, the chance that any two are taken for each other is 1 in 30 million.
func Identify(parts ...[]byte) Key {
	h := sha256.New()
	var size [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	return Key(binary.BigEndian.Uint64(h.Sum(nil)))
}

// MarshalText writes 16 hexadecimal digits.
func (k Key) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(k)), nil }

// UnmarshalText reads what [Key.MarshalText] writes.
func (k *Key) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil || len(text) != 16 {
		return fmt.Errorf("a hash must have 16 hexadecimal digits, got %q", text)
	}
	*k = Key(n)
	return nil
}

// Line is what became of one row: an answer, or an error.
type Line struct {
	// Row is the row's number, from 1. [File.Order] gives it the number that the row has by
	// then.
	Row int `json:"row"`
	// ID is the row's id, under the name that the input has for it: this, or CustomID.
	ID       json.RawMessage `json:"id,omitempty"`
	CustomID json.RawMessage `json:"custom_id,omitempty"`
	// Answer is the text of the answer; nil with an Error.
	Answer *string `json:"answer,omitempty"`
	// Value is the decoded answer, if a check has decoded it.
	Value any `json:"value,omitempty"`
	// ToolCalls are the calls of tools in the answer.
	ToolCalls []llm.ToolCall `json:"tool_calls,omitempty"`
	// Error is why there is no answer.
	Error *LineError `json:"error,omitempty"`
	// Model is the model that answered last; "" if none did.
	Model string `json:"model,omitempty"`
	// Practice says that the answer is invented.
	Practice bool `json:"practice,omitempty"`
	// Attempts is how many requests were sent.
	Attempts int `json:"attempts"`
	// Usage is what all of them have used.
	Usage llm.Usage `json:"usage"`
	// Cost is in dollars; nil if a price is not known.
	Cost *llmcall.Cost `json:"cost,omitempty"`
	// Key is the row's identity.
	Key Key `json:"hash"`
}

// LineError is why a row has no answer.
type LineError struct {
	// Reason is a [llmcall.Reason], or another word for what kind of thing it was.
	Reason string `json:"reason"`
	// Message says what happened.
	Message string `json:"message"`
	// Complaints are those about the last answer.
	Complaints []validate.Complaint `json:"complaints,omitempty"`
	// Answer is the last answer, which was not valid; "" if there is none.
	Answer string `json:"last_answer,omitempty"`
	// Review is the file with a call that waits for a person; "" if none does.
	Review string `json:"review_file,omitempty"`
}

// begin is how each line begins, by which a line that was cut off is known as ours.
const begin = `{"row":`

// text returns the line with its end.
func (l *Line) text() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(l)
	return b.Bytes(), err
}

// head is what is read of a line again.
type head struct {
	Row   int
	Key   *Key `json:"hash"`
	Error *struct{ Reason string }
}

// readHead reads a line; ok is false if it is not one of a batch.
func readHead(text []byte) (h head, ok bool) {
	err := json.Unmarshal(text, &h)
	return h, err == nil && h.Key != nil && h.Row > 0
}

// numbered returns a line with another number. One that another program has written again, in
// its own form, keeps its fields but not their order.
func numbered(text []byte, row int) ([]byte, error) {
	if rest, ours := bytes.CutPrefix(text, []byte(begin)); ours {
		if after := bytes.TrimLeft(rest, "0123456789"); len(after) < len(rest) {
			return append(strconv.AppendInt([]byte(begin), int64(row), 10), after...), nil
		}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	fields["row"] = strconv.AppendInt(nil, int64(row), 10)
	again, err := json.Marshal(fields)
	return append(again, '\n'), err
}
