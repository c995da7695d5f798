package record

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Transport returns an http.RoundTripper that answers with the recordings of HTTP requests,
// and never opens a connection. The response has the status, the recorded headers and
// the body, whose pieces are read as they were, each by a Read of its own. A body that
// broke off or was left ends with the error that it had, or [io.ErrUnexpectedEOF].
func (p *Player) Transport() http.RoundTripper { return replaying{p} }

type replaying struct{ player *Player }

func (t replaying) RoundTrip(request *http.Request) (*http.Response, error) {
	times := t.player.begin()
	body, err := readBody(request)
	if err != nil {
		return nil, err
	}
	ctx := request.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	asked := &Recording{HTTP: &Exchange{
		Method: methodOf(request), URL: addressOf(request.URL), RequestHeader: keptOf(request.Header), RequestBody: body,
	}}
	k, err := asked.key()
	if err != nil {
		return nil, err
	}
	r, err := t.player.take(k, asked)
	if err != nil {
		return nil, err
	}
	if r.HTTP.Status == 0 {
		if err := times.until(ctx, r.Took); err != nil {
			return nil, err
		}
		return nil, r.Err
	}
	first := r.Took
	if len(r.Pieces) > 0 {
		first = r.Pieces[0].At
	}
	if err := times.until(ctx, first); err != nil {
		return nil, err
	}
	response := &http.Response{
		Status: fmt.Sprintf("%d %s", r.HTTP.Status, http.StatusText(r.HTTP.Status)), StatusCode: r.HTTP.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.HTTP.Header, ContentLength: -1, Request: request,
		Body: &replayedBody{ctx: ctx, times: times, recording: r, rest: r.HTTP.Body, pieces: r.Pieces},
	}
	if response.Header == nil {
		response.Header = http.Header{}
	}
	if len(r.Pieces) == 0 && r.Err == nil && !r.Left {
		response.ContentLength = int64(len(r.HTTP.Body))
	}
	return response, nil
}

// readBody reads the body of a request to its end, and closes it.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

// replayedBody is the body of a recorded response. Close may be called while a Read waits.
type replayedBody struct {
	ctx       context.Context
	times     timing
	recording *Recording

	lock   sync.Mutex
	rest   []byte
	pieces []Piece // those that have not begun
	left   int     // of the piece that was begun
	closed bool
}

func (b *replayedBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	at, n := b.piece()
	if err := b.times.until(b.ctx, at); err != nil {
		return 0, err
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	if n == 0 {
		return 0, b.end()
	}
	n = copy(p, b.rest[:min(n, len(b.rest))])
	b.rest = b.rest[n:]
	b.left = max(0, b.left-n)
	return n, nil
}

// piece returns when the next bytes come, and how many. An edited body may be longer or
// shorter than its pieces: the last one has the rest.
func (b *replayedBody) piece() (at time.Duration, n int) {
	b.lock.Lock()
	defer b.lock.Unlock()
	switch {
	case len(b.rest) == 0:
		return b.recording.Took, 0
	case b.left > 0:
		return 0, b.left
	case len(b.pieces) == 0:
		return 0, len(b.rest)
	}
	next := b.pieces[0]
	b.pieces = b.pieces[1:]
	if b.left = next.Size; len(b.pieces) == 0 {
		b.left = len(b.rest)
	}
	return next.At, b.left
}

// end returns what is read after the last byte.
func (b *replayedBody) end() error {
	switch {
	case b.recording.Err != nil:
		return b.recording.Err
	case b.recording.Left:
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func (b *replayedBody) Close() error {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.closed = true
	return nil
}
