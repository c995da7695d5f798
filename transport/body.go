package transport

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// body is a request's body, for as many attempts as it takes.
type body struct {
	replayable bool
	first      io.ReadCloser                 // nil once it was sent
	original   bool                          // first is the request's own
	again      func() (io.ReadCloser, error) // nil: there is none
	limit      int64
	looked     *bytes.Buffer // what bytes read
	limited    io.LimitedReader
}

// keep makes the body of a request one that can be sent again: by its GetBody,
// or by reading up to limit bytes of it.
func (b *body) keep(r *http.Request, limit int64) error {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		b.replayable = true
		return nil
	case r.GetBody != nil:
		b.replayable, b.first, b.original, b.again, b.limit = true, r.Body, true, r.GetBody, limit
		return nil
	case limit < 0 || r.ContentLength > limit:
		b.first, b.original = r.Body, true
		return nil
	}
	kept, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		r.Body.Close()
		return err
	}
	if int64(len(kept)) > limit {
		b.first = joined{io.MultiReader(bytes.NewReader(kept), r.Body), r.Body}
		return nil
	}
	r.Body.Close()
	b.replayable, b.limit = true, limit
	b.again = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept)), nil }
	return nil
}

type joined struct {
	io.Reader
	io.Closer
}

// next returns the body for an attempt; nil is the one that the request has.
func (b *body) next() (io.ReadCloser, error) {
	first := b.first
	b.first = nil
	switch {
	case first != nil && b.original:
		return nil, nil
	case first != nil:
		return first, nil
	case b.again == nil: // there is none
		return nil, nil
	}
	content, err := b.again()
	if content == nil {
		content = http.NoBody
	}
	return content, err
}

// bytes returns the body's content, for Config.Key; nil if it is not kept. It
// holds until release.
func (b *body) bytes() []byte {
	if b.again == nil {
		return nil
	}
	content, err := b.again()
	if err != nil {
		return nil
	}
	defer content.Close()
	if b.looked == nil {
		b.looked = buffers.Get().(*bytes.Buffer)
	}
	b.looked.Reset()
	b.limited = io.LimitedReader{R: content, N: b.limit + 1}
	if n, err := b.looked.ReadFrom(&b.limited); err != nil || n > b.limit {
		return nil
	}
	return b.looked.Bytes()
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// release gives back what bytes read into. Large ones are left to the garbage
// collector.
func (b *body) release() {
	if b.looked != nil && b.looked.Cap() <= maxProblem {
		buffers.Put(b.looked)
	}
	b.looked = nil
}

// Close closes a body that was never sent: whoever sends a request must.
func (b *body) Close() error {
	if b.first == nil {
		return nil
	}
	return b.first.Close()
}
