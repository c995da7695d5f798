package wire_test

import (
	"errors"
	"testing"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

func TestWhatComesInOnePiece(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON": true, "application/problem+json": true, "text/html; charset=utf-8": true,
		"text/event-stream": false, "text/plain": false, "application/x-ndjson": false, "": false, "/": false,
	} {
		if got := wire.InOnePiece(contentType); got != want {
			t.Errorf("%q: %v", contentType, got)
		}
	}
}

func TestYieldAllEndsWithTheErrorOrWhenItsReaderLeaves(t *testing.T) {
	chunks := []llm.Chunk{{Text: "a"}, {Text: "b"}}
	broken := errors.New("broken")
	for _, c := range []struct {
		err   error
		leave int // after so many
		want  string
		goOn  bool
	}{
		{nil, 9, "ab", true}, {broken, 9, "ab!", false}, {broken, 1, "a", false}, {nil, 2, "ab", false},
	} {
		got := ""
		goOn := wire.YieldAll(chunks, c.err, func(chunk llm.Chunk, err error) bool {
			if got += chunk.Text; err != nil {
				got += "!"
			}
			return len(got) < c.leave
		})
		if got != c.want || goOn != c.goOn {
			t.Errorf("%q, %v, want %+v", got, goOn, c)
		}
	}
}
