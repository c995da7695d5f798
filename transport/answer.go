package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"llmcall/classify"
	"llmcall/failure"
)

// answer is the body of a success. The call ends with it.
type answer struct {
	io.ReadCloser
	x        *exchange
	response *http.Response
	cancel   context.CancelFunc // the attempt's; nil if it needs none
	events   *events            // nil if it is not a stream whose end is known
	ended    atomic.Bool
	forget   func() bool // that the request's context may end; nil if it can't
	idle     *time.Timer // ends a Read that waits for too long; nil without a limit
	stalled  atomic.Bool // it has
}

// accept takes a response for an answer that has begun to come.
func (x *exchange) accept(sent *sending, response *http.Response) {
	x.call.Accepted(classify.Told(x.protocol(), response.Header, time.Now()))
	switch {
	case response.StatusCode == http.StatusSwitchingProtocols:
		// The provider has done what it was asked for. The body is written to,
		// and is handed on with all that it is.
		x.settle(nil)
		if sent.cancel != nil {
			response.Body = upgraded(response.Body, sent.cancel)
		}
	case response.Body == http.NoBody:
		x.settle(nil)
		sent.end()
	default:
		x.handed = true
		x.answer = answer{ReadCloser: response.Body, x: x, response: response, cancel: sent.cancel, events: eventsOf(x.request, response)}
		response.Body = &x.answer
		if x.cfg.IdleTimeout > 0 {
			x.answer.idle = time.AfterFunc(math.MaxInt64, x.answer.stall)
		}
		if ctx := x.request.Context(); ctx.Done() != nil {
			x.answer.forget = context.AfterFunc(ctx, x.answer.gone)
		}
	}
}

func (a *answer) Read(to []byte) (int, error) {
	if a.idle != nil {
		a.idle.Reset(a.x.cfg.IdleTimeout)
	}
	n, err := a.ReadCloser.Read(to)
	if a.idle != nil {
		a.idle.Stop()
	}
	if a.events != nil && n > 0 {
		a.events.see(to[:n])
	}
	switch {
	case err == nil:
		return n, nil
	case a.stalled.Load() && err != io.EOF && a.x.request.Context().Err() == nil:
		err = &failure.Error{
			Kind: failure.AttemptTimeout, Provider: a.x.request.URL.Host, Err: err,
			Message: fmt.Sprintf("nothing came for %v (IdleTimeout)", a.x.cfg.IdleTimeout),
		}
	case err == io.EOF && a.events != nil && a.events.failure(true) == error(errCutOff):
		err = fmt.Errorf("%s: %w", a.x.request.URL.Host, errCutOff)
	}
	a.over(err)
	return n, err
}

// stall ends a Read that has waited for longer than Config.IdleTimeout.
func (a *answer) stall() {
	a.stalled.Store(true)
	a.cancel()
}

// Close may be called while a Read is under way: the first of them ends the call.
func (a *answer) Close() error {
	a.over(nil)
	if a.cancel != nil {
		defer a.cancel()
	}
	return a.ReadCloser.Close()
}

// over ends the call, if nothing else has.
func (a *answer) over(err error) {
	if a.idle != nil {
		a.idle.Stop()
	}
	if !a.ended.CompareAndSwap(false, true) {
		return
	}
	if a.forget != nil {
		a.forget()
	}
	a.end(err)
}

// gone ends the call of a body whose reader has left without a Close: with the
// request's context net/http ends the connection, too. A place would be held for
// ever.
func (a *answer) gone() {
	if a.ended.CompareAndSwap(false, true) {
		a.end(nil)
	}
}

// end settles the answer and ends the call. err is what the body ended with; nil
// if its reader has left.
func (a *answer) end(err error) {
	defer a.x.call.Close()
	a.x.settle(a.failure(err))
}

// failure is what an answer failed by; nil if it did not.
func (a *answer) failure(err error) error {
	if a.x.request.Context().Err() != nil {
		return nil // its reader's end, not its own
	}
	if f, ok := errors.AsType[*failure.Error](err); ok {
		return f
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return &failure.Error{Kind: classify.Network(err), Message: "the response's body broke off", Err: err}
	}
	if a.events == nil {
		return nil
	}
	return a.events.failure(err != nil)
}

// upgraded returns the body of a response that switched protocols, which ends
// the attempt when it is closed.
func upgraded(content io.ReadCloser, end context.CancelFunc) io.ReadCloser {
	connection, ok := content.(io.ReadWriteCloser)
	if !ok {
		return ending{content, end}
	}
	return upgrade{connection, end}
}

type upgrade struct {
	io.ReadWriteCloser
	end context.CancelFunc
}

// CloseWrite ends what is written, as net/http's own body does.
func (u upgrade) CloseWrite() error {
	if half, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}

func (u upgrade) Close() error {
	defer u.end()
	return u.ReadWriteCloser.Close()
}
