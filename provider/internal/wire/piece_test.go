package wire

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestWhatComesInOnePiece(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON": true, "application/problem+json": true, "text/html; charset=utf-8": true,
		"text/event-stream": false, "text/plain": false, "application/x-ndjson": false, "": false, "/": false,
	} {
		body, got := inOnePiece(io.NopCloser(strings.NewReader("?")), http.Header{"Content-Type": {contentType}})
		if text, err := io.ReadAll(body); err != nil || string(text) != "?" {
			t.Errorf("%q: what is left is %q, %v", contentType, text, err)
		}
		if got != want {
			t.Errorf("%q: %v", contentType, got)
		}
	}
}

// How a body begins says more than its Content-Type.
func TestTheBeginningOfABodyCounts(t *testing.T) {
	for beginning, want := range map[string]bool{
		"{": true, "[": true, "<": true, "data:": false, "event:": false, "id:": false, "retry:": false, ": ping": false,
	} {
		for _, contentType := range []string{"text/event-stream", "application/json", ""} {
			if _, got := inOnePiece(io.NopCloser(strings.NewReader(beginning)), http.Header{"Content-Type": {contentType}}); got != want {
				t.Errorf("%q as %q: %v", beginning, contentType, got)
			}
		}
	}
}
