package record

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	"llmcall/failure"
)

// Transport returns an http.RoundTripper that sends by base (default
// [http.DefaultTransport]), and writes a file for each request when the body of its response
// has been read to its end, or is closed. Where a retry loop is to be recorded with each of
// its attempts, this is what the loop sends by: the Base of [llmcall/transport.Config].
//
// Streams (text/event-stream, NDJSON) are recorded in the pieces that were read, with their
// times, while they pass: nothing is held back. A request's body is kept in memory; one that
// is longer than [Config.MaxFile] is sent as it is and not recorded.
func (r *Recorder) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &recordedTransport{base, r}
}

type recordedTransport struct {
	base     http.RoundTripper
	recorder *Recorder
}

func (t *recordedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	body, sent, err := bodyOf(request, t.recorder.config.MaxFile)
	if err != nil {
		if request.Body != nil {
			request.Body.Close()
		}
		return nil, err
	}
	rec := t.recorder.begin()
	rec.HTTP = &Exchange{Method: methodOf(request), URL: addressOf(request.URL), RequestHeader: keptOf(request.Header), RequestBody: body}
	x := &exchange{recorder: t.recorder, recording: rec, ctx: request.Context(), secrets: within(request), tooLong: body == nil && sent != request}
	response, err := t.base.RoundTrip(sent)
	if err != nil {
		x.finish(err, false)
		return response, err
	}
	rec.HTTP.Status, rec.HTTP.Header = response.StatusCode, keptOf(response.Header)
	x.streams = streams(response.Header)
	if _, writes := response.Body.(io.Writer); writes { // Switching Protocols: a connection
		return response, nil
	}
	x.body, x.length = response.Body, response.ContentLength
	response.Body = x
	return response, nil
}

// CloseIdleConnections closes those of base, if it has such a method.
func (t *recordedTransport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

func methodOf(r *http.Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

// bodyOf returns the body of a request, and the request to be sent. Of a body longer than
// most it returns nil, and a request that still has all of it.
func bodyOf(r *http.Request, most int64) ([]byte, *http.Request, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return []byte{}, r, nil
	}
	source := r.Body
	if r.GetBody != nil {
		again, err := r.GetBody()
		if err != nil {
			return nil, nil, err
		}
		defer again.Close()
		source = again
	}
	read, err := io.ReadAll(io.LimitReader(source, most+1))
	if err != nil {
		return nil, nil, err
	}
	long := int64(len(read)) > most
	if r.GetBody != nil && !long {
		return read, r, nil
	}
	sent := r.Clone(r.Context())
	if r.GetBody == nil {
		sent.Body = &joined{io.MultiReader(bytes.NewReader(read), r.Body), r.Body}
	}
	if long {
		return nil, sent, nil
	}
	return read, sent, nil
}

// joined is a body of which some was read.
type joined struct {
	io.Reader
	io.Closer
}

// streams reports whether a response comes in pieces that mean something.
func streams(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "text/event-stream" || strings.Contains(kind, "ndjson") || strings.Contains(kind, "jsonl") || strings.Contains(kind, "eventstream"))
}

// exchange is the body of a response that is recorded while it is read. Close may be called
// while a Read waits.
type exchange struct {
	recorder  *Recorder
	recording *Recording
	ctx       context.Context // of the request
	secrets   []secret        // of the request
	body      io.ReadCloser
	streams   bool
	length    int64 // of the body; -1: unknown

	lock    sync.Mutex
	tooLong bool
	over    bool
}

func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.body.Read(p)
	x.take(p[:n])
	if err != nil {
		failed := err
		if err == io.EOF {
			failed = nil
		}
		x.finish(failed, false)
	}
	return n, err
}

func (x *exchange) take(piece []byte) {
	x.lock.Lock()
	defer x.lock.Unlock()
	if x.over || x.tooLong || len(piece) == 0 {
		return
	}
	kept := &x.recording.HTTP.Body
	if x.tooLong = int64(len(*kept)+len(piece)) > x.recorder.config.MaxFile; x.tooLong {
		*kept = nil
		return
	}
	*kept = append(*kept, piece...)
	if x.streams {
		x.recording.Pieces = append(x.recording.Pieces, Piece{At: x.recording.since(), Size: len(piece)})
	}
}

// Close closes the body. Before its end, its caller has left it.
func (x *exchange) Close() error {
	x.finish(nil, true)
	return x.body.Close()
}

// finish writes the recording, once.
func (x *exchange) finish(failed error, closed bool) {
	x.lock.Lock()
	over := x.over
	x.over = true
	x.lock.Unlock()
	if over {
		return
	}
	rec := x.recording
	rec.Took = rec.since()
	if x.tooLong {
		x.recorder.config.Report(x.recorder.tooLong(rec))
		return
	}
	var f *fault
	if failed != nil {
		if f = networkFault(x.ctx, failed); f.Kind == failure.Cancelled && len(rec.HTTP.Body) > 0 {
			f, closed = nil, true // left by another way
		}
	}
	rec.Left = closed && !x.whole()
	x.recorder.write(rec, f, x.secrets)
}

// whole reports whether what was read of a body is all of it, although its end was not read:
// SDKs don't read on after a stream's last event, nor decoders after a value.
func (x *exchange) whole() bool {
	body := x.recording.HTTP.Body
	if x.length >= 0 && int64(len(body)) == x.length {
		return true
	}
	if !x.streams {
		return json.Valid(body)
	}
	blocks := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(body), "\r\n", "\n")), "\n\n")
	last := blocks[len(blocks)-1]
	return slices.ContainsFunc(lastEvents, func(mark string) bool { return strings.Contains(last, mark) })
}

// lastEvents are the marks of the last event of a stream, in OpenAI's protocols and
// Anthropic's. The streams of Gemini have none, and their readers read to the end.
var lastEvents = []string{"[DONE]", `"message_stop"`, "response.completed", "response.incomplete", "response.failed"}
