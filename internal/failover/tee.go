package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
)

// tee keeps what comes over the wire, so that what the client sees is not judged by an
// SDK's words.
type tee struct {
	http.RoundTripper
	mu     sync.Mutex
	status int
	header http.Header
	body   bytes.Buffer
	broken bool // the connection ended before the response
}

func (t *tee) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status, t.header = resp.StatusCode, resp.Header
	resp.Body = teeBody{resp.Body, t}
	return resp, nil
}

type teeBody struct {
	io.ReadCloser
	t *tee
}

func (b teeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	b.t.body.Write(p[:n])
	b.t.broken = b.t.broken || err != nil && err != io.EOF
	return n, err
}

// failed reports whether the response has an error in the protocol's own form: as its body,
// or as an event of its stream.
func (t *tee) failed(protocol string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !strings.HasPrefix(t.header.Get("Content-Type"), "text/event-stream") {
		return isError(protocol, t.body.Bytes())
	}
	for line := range bytes.Lines(t.body.Bytes()) {
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok && isError(protocol, data) {
			return true
		}
	}
	return false
}

// isError reports whether a body or the data of an event is an error as a provider of the
// protocol writes it.
func isError(protocol string, text []byte) bool {
	if !gjson.ValidBytes(text) {
		return false
	}
	v := gjson.ParseBytes(text)
	message := v.Get("error.message").String()
	switch protocol {
	case "anthropic":
		return v.Get("type").String() == "error" && v.Get("error.type").String() != "" && message != ""
	case "gemini":
		return message != "" && v.Get("error.code").Int() >= http.StatusBadRequest && v.Get("error.status").String() != ""
	case "openai-responses":
		// In a stream it is an event, or the end of a response that failed.
		return message != "" || v.Get("type").String() == "error" && v.Get("message").String() != "" || v.Get("response.error.message").String() != ""
	}
	return message != ""
}

// response returns the status, 0 if there was no response, the header, and whether the
// connection ended before the response.
func (t *tee) response() (status int, header http.Header, broken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status, t.header, t.broken
}
