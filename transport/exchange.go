package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// exchange is one RoundTrip, and then the body of the response that it returned.
type exchange struct {
	*Transport
	request    *http.Request
	body       body
	repeatable bool // it may be sent twice though the first may have been carried out
	target     [1]retry.Target
	call       retry.Call
	last       *http.Response // of the last attempt, if its status was a failure
	handed     bool           // an answer was returned, whose body ends the call
	answer     answer
}

// close closes what was neither sent nor handed on, and ends the call. A panic
// of the Base's is a failure and goes on.
func (x *exchange) close() {
	x.body.Close()
	x.drop()
	if x.handed {
		return
	}
	if v := recover(); v != nil {
		x.settle(&retry.PanicError{Value: v})
		x.call.Close()
		panic(v)
	}
	x.call.Close()
}

// drop gives up the response of the attempt before.
func (x *exchange) drop() {
	if x.last != nil {
		x.last.Body.Close()
		x.last = nil
	}
}

// gaveUp returns what the call ends with after its last attempt.
func (x *exchange) gaveUp() (*http.Response, error) {
	err := x.call.Err()
	e, ok := errors.AsType[*retry.Error](err)
	if x.last == nil || !ok || e.Reason == retry.Cancelled || x.request.Context().Err() != nil {
		return nil, err
	}
	response := x.last
	x.last = nil
	response.Header.Set("X-Should-Retry", "false")
	return response, nil
}

// attempt sends the request once, and settles an attempt that failed. It returns
// the response of one that did not.
func (x *exchange) attempt() *http.Response {
	x.drop()
	content, err := x.body.next()
	if err != nil {
		x.settle(retry.Stop(&failure.Error{Kind: failure.InvalidRequest, Message: "the request's body can't be read again: " + err.Error(), Err: err}))
		return nil
	}
	sent := sending{limit: x.cfg.AttemptTimeout, stoppable: x.cfg.IdleTimeout > 0}
	var ctx context.Context // the request's own
	if x.cfg.Observer != nil {
		ctx = x.call.Context() // with a span, say
	}
	request := sent.begin(ctx, x.request, content, x.body.again, x.body.replayable && !x.repeatable)
	response, err := x.cfg.Base.RoundTrip(request)
	if response == nil && err == nil {
		err = fmt.Errorf("%T returned neither a response nor an error", x.cfg.Base)
	}
	if err != nil {
		expired := sent.answered()
		sent.end()
		x.settle(x.broken(&sent, expired, err))
		return nil
	}
	complete(response, request)
	if isNoAnswer(x.request, response) {
		response.StatusCode, response.Status = http.StatusBadGateway, "502 Bad Gateway"
	}
	if response.StatusCode >= 400 {
		x.settle(x.refused(&sent, response))
		return nil
	}
	if sent.answered() {
		// Its context has ended, and with it what would be read of its body.
		response.Body.Close()
		x.settle(x.broken(&sent, true, request.Context().Err()))
		return nil
	}
	x.accept(&sent, response)
	return response
}

// complete fills in what http.Client allows a RoundTripper to leave out.
func complete(response *http.Response, request *http.Request) {
	if response.Header == nil {
		response.Header = http.Header{}
	}
	if response.Body == nil {
		response.Body = http.NoBody
	}
	if response.Request == nil {
		response.Request = request
	}
}

// settle tells the endpoint how the attempt ended: with an answer if err is nil.
func (x *exchange) settle(err error) { x.call.Settle(endpoint.Outcome{Err: err}) }

// broken is an attempt without a response.
func (x *exchange) broken(sent *sending, expired bool, err error) error {
	if x.request.Context().Err() != nil {
		return err
	}
	var f error = &failure.Error{Kind: classify.Network(err), Err: err}
	if expired {
		f = &retry.AttemptTimeoutError{Limit: x.cfg.AttemptTimeout, Err: err}
	}
	if !x.body.replayable || !x.repeatable && !sent.unsent(err) {
		return retry.Stop(f) // it may have been carried out
	}
	return f
}

// refused is a response that tells of a failure. Its body is read as far as it
// is needed, and comes to the caller whole all the same.
func (x *exchange) refused(sent *sending, response *http.Response) error {
	x.last = response
	at := time.Now()
	x.call.Told(classify.Told(x.protocol(), response.Header, at))
	sent.answered() // before the body is read, whose time is bounded by itself: it is to come to the caller whole
	head := peek(x.request.Context(), response.Body)
	response.Body = sent.until(head)
	f := classify.Response(x.protocol(), response, head.beginning())
	f.Provider = x.request.URL.Host // whoever it is: any API may be called
	// A wait counts from the header.
	f.RetryAfter = max(0, f.RetryAfter-time.Since(at).Truncate(time.Second))
	switch {
	case !x.body.replayable:
		return retry.Stop(f)
	case x.repeatable, f.Told, response.Header.Get("X-Should-Retry") == "true",
		f.Kind == failure.RateLimited, f.Kind == failure.Overloaded:
		return f
	}
	return retry.Stop(f) // it may have been carried out
}

func (x *exchange) protocol() string {
	if x.cfg.Protocol != "" {
		return x.cfg.Protocol
	}
	return protocolOf(x.request)
}
