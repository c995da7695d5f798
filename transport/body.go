package transport

import (
	"bytes"
	"io"
	"net/http"
)

// body is a request's body, for as many attempts as it takes.
type body struct {
	replayable bool
	first      io.ReadCloser                 // nil once it was sent
	original   bool                          // first is the request's own
	again      func() (io.ReadCloser, error) // nil: there is none
}

// keep makes the body of a request one that can be sent again: by its GetBody,
// or by reading up to limit bytes of it.
func (b *body) keep(r *http.Request, limit int64) error {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		b.replayable = true
		return nil
	case r.GetBody != nil:
		b.replayable, b.first, b.original, b.again = true, r.Body, true, r.GetBody
		return nil
	case limit < 0 || r.ContentLength > limit:
		b.first, b.original = r.Body, true
		return nil
	}
	content := bytes.NewBuffer(make([]byte, 0, max(0, r.ContentLength)+bytes.MinRead))
	_, err := content.ReadFrom(io.LimitReader(r.Body, limit+1))
	if err != nil {
		r.Body.Close()
		return err
	}
	kept := content.Bytes()
	if int64(len(kept)) > limit {
		b.first = joined{io.MultiReader(bytes.NewReader(kept), r.Body), r.Body}
		return nil
	}
	r.Body.Close()
	b.replayable = true
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

// stream returns the body's content, for Config.Key.
func (b *body) stream() io.ReadCloser {
	if b.again == nil {
		return http.NoBody
	}
	content, err := b.again()
	if err != nil || content == nil {
		return http.NoBody
	}
	return content
}

// Close closes a body that was never sent: whoever sends a request must.
func (b *body) Close() error {
	if b.first == nil {
		return nil
	}
	return b.first.Close()
}
