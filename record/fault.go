package record

import (
	"context"
	"errors"
	"io"
	"syscall"

	"llmcall/classify"
	"llmcall/failure"
)

// fault is a failure in a file. Without any of the fields from Provider to Cause, it was not a
// *failure.Error, and Text is what it said.
type fault struct {
	Kind       failure.Kind `json:"kind"`
	Provider   string       `json:"provider,omitempty"`
	Model      string       `json:"model,omitempty"`
	Status     int          `json:"status,omitempty"`
	Code       string       `json:"code,omitempty"`
	Message    string       `json:"message,omitempty"`
	RequestID  string       `json:"request_id,omitempty"`
	RetryAfter *span        `json:"retry_after,omitempty"` // if it was told
	NoRetry    bool         `json:"no_retry,omitempty"`
	Written    string       `json:"written,omitempty"`
	Cause      string       `json:"cause,omitempty"` // the text of failure.Error.Err
	Is         string       `json:"is,omitempty"`    // a name of sentinels, that the cause is
	Text       string       `json:"text,omitempty"`  // of the whole error, if that says more
}

// sentinels are the errors of Go that others look for with errors.Is.
var sentinels = []struct {
	name string
	err  error
}{
	{"connection reset", syscall.ECONNRESET},
	{"connection refused", syscall.ECONNREFUSED},
	{"connection aborted", syscall.ECONNABORTED},
	{"broken pipe", syscall.EPIPE},
	{"unexpected end", io.ErrUnexpectedEOF},
	{"end", io.EOF},
	{"deadline exceeded", context.DeadlineExceeded},
	{"cancelled", context.Canceled},
}

func sentinelOf(err error) string {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	return ""
}

// modelFault returns what is written of a model's error. ctx is that of the request.
func modelFault(ctx context.Context, err error) *fault {
	f := &fault{Kind: ended(ctx, failure.KindOf(err)), Text: err.Error()}
	var e *failure.Error
	failure.Find(err, func(inner error) bool {
		found, ok := inner.(*failure.Error)
		if ok && found != nil {
			e = found
		}
		return e != nil
	})
	if e == nil {
		f.Is = sentinelOf(err)
		return f
	}
	f.Provider, f.Model, f.Status, f.Code, f.Message = e.Provider, e.Model, e.Status, e.Code, e.Message
	f.RequestID, f.NoRetry, f.Written = e.RequestID, e.NoRetry, e.Written
	if e.Told {
		f.RetryAfter = new(span(e.RetryAfter))
	}
	if e.Err != nil {
		f.Cause, f.Is = e.Err.Error(), sentinelOf(e.Err)
	}
	if f.Text == e.Error() && f.Kind == e.Kind {
		f.Text = ""
	}
	return f
}

// ended returns the kind of a failure whose context may have ended. The recorder can't see
// whose limit that was; a caller that is still there has set one for the attempt.
func ended(ctx context.Context, k failure.Kind) failure.Kind {
	switch k {
	case failure.DeadlineExceeded, failure.Cancelled, failure.Transient, failure.Unknown, failure.AttemptTimeout:
	default:
		return k
	}
	switch ctx.Err() {
	case context.Canceled:
		return failure.Cancelled
	case context.DeadlineExceeded:
		return failure.AttemptTimeout
	}
	return k
}

// networkFault returns what is written of an HTTP client's error.
func networkFault(ctx context.Context, err error) *fault {
	return &fault{Kind: ended(ctx, classify.Network(err)), Text: err.Error(), Is: sentinelOf(err)}
}

// err returns the error that is replayed.
func (f *fault) err() error {
	var is error
	for _, s := range sentinels {
		if s.name == f.Is {
			is = s.err
		}
	}
	bare := *f
	bare.Kind, bare.Is, bare.Text = 0, "", ""
	if bare == (fault{}) && f.Text != "" {
		if is != nil && is.Error() == f.Text && failure.KindOf(is) == f.Kind {
			return is // some compare it with ==
		}
		return &replayed{kind: f.Kind, text: f.Text, is: is}
	}
	e := &failure.Error{
		Kind: f.Kind, Provider: f.Provider, Model: f.Model, Status: f.Status, Code: f.Code, Message: f.Message,
		RequestID: f.RequestID, NoRetry: f.NoRetry, Written: f.Written,
	}
	if f.RetryAfter != nil {
		e.RetryAfter, e.Told = f.RetryAfter.duration(), true
	}
	if f.Cause != "" || is != nil {
		e.Err = &cause{f.Cause, is}
	}
	if f.Text != "" {
		return &replayed{kind: f.Kind, text: f.Text, is: e}
	}
	return e
}

// replayed is an error as it was.
type replayed struct {
	kind failure.Kind
	text string
	is   error
}

func (e *replayed) Error() string             { return e.text }
func (e *replayed) Unwrap() error             { return e.is }
func (e *replayed) FailureKind() failure.Kind { return e.kind }

// Timeout and Temporary make it a net.Error, which the SDKs ask whether it was a time-out.
func (e *replayed) Timeout() bool   { return e.kind == failure.AttemptTimeout }
func (e *replayed) Temporary() bool { return e.kind == failure.Transient }

// cause is the error that a *failure.Error wrapped.
type cause struct {
	text string
	is   error
}

func (e *cause) Error() string {
	if e.text == "" {
		return e.is.Error()
	}
	return e.text
}
func (e *cause) Unwrap() error { return e.is }
