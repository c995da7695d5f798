package failure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"llmcall/failure"
)

// fragile is an error whose methods need a receiver, as most have.
type fragile struct{ inner error }

func (f *fragile) Error() string             { return f.inner.Error() }
func (f *fragile) Unwrap() error             { return f.inner }
func (f *fragile) Is(target error) bool      { return f.inner == target }
func (f *fragile) As(any) bool               { return f.inner == nil }
func (f *fragile) FailureKind() failure.Kind { return failure.KindOf(f.inner) }
func (f *fragile) CircuitOpen() bool         { return f.inner == nil }
func (f *fragile) Timeout() bool             { return f.inner == nil }
func (f *fragile) Temporary() bool           { return f.inner == nil }

// unwraps is an error that only unwraps, to one or to several.
type (
	unwraps struct{ inner error }
	several struct{ inner []error }
)

func (u *unwraps) Error() string   { return "unwraps" }
func (u *unwraps) Unwrap() error   { return u.inner }
func (s *several) Error() string   { return "several" }
func (s *several) Unwrap() []error { return s.inner }

// uncomparable is an error that == panics on.
type uncomparable struct{ causes []error }

func (uncomparable) Error() string     { return "uncomparable" }
func (u uncomparable) Unwrap() []error { return u.causes }

// A typed nil is the best known trap of Go's errors: var e *failure.Error;
// return v, e.
func TestTypedNilsAreSkipped(t *testing.T) {
	limited := &failure.Error{Kind: failure.RateLimited, Told: true, RetryAfter: time.Second, NoRetry: true}
	for _, none := range []error{
		(*failure.Error)(nil), (*fragile)(nil), (*unwraps)(nil), (*several)(nil), (*net.OpError)(nil), (*net.DNSError)(nil),
		uncomparable{}, &uncomparable{}, (*uncomparable)(nil),
	} {
		for name, err := range map[string]error{
			"itself": none, "wrapped": fmt.Errorf("call 3: %w", none), "in an Error": &unwraps{none}, "joined": errors.Join(none, none),
		} {
			kind := failure.KindOf(err)
			_, told := failure.RetryAfterOf(err)
			_, refused := failure.MaxTokens(err, 1, 2)
			if kind != failure.Unknown || told || refused || failure.NoRetryOf(err) || failure.Network(err) {
				t.Errorf("%T, %s: %v, told %v", none, name, kind, told)
			}
		}
		err := &unwraps{errors.Join(none, limited)}
		wait, told := failure.RetryAfterOf(err)
		if kind := failure.KindOf(err); kind != failure.RateLimited || wait != time.Second || !told || !failure.NoRetryOf(err) {
			t.Errorf("%T before an Error: %v, %v, %v, %v", none, kind, wait, told, failure.NoRetryOf(err))
		}
	}
}

func TestANilErrorHasTextAndKind(t *testing.T) {
	var none *failure.Error
	if none.Error() != "<nil>" || none.FailureKind() != failure.Unknown || none.Unwrap() != nil {
		t.Errorf("%q, %v, %v", none.Error(), none.FailureKind(), none.Unwrap())
	}
}

func TestUncomparableErrorsAreSearched(t *testing.T) {
	for _, step := range []struct {
		cause error
		want  failure.Kind
	}{
		{io.EOF, failure.Transient},
		{context.Canceled, failure.Cancelled},
		{context.DeadlineExceeded, failure.DeadlineExceeded},
		{&failure.Error{Kind: failure.CutOff}, failure.CutOff},
		{errors.New("what"), failure.Unknown},
	} {
		err := uncomparable{[]error{uncomparable{}, step.cause}}
		if got := failure.KindOf(err); got != step.want {
			t.Errorf("%v: got %v", step.cause, got)
		}
	}
}

// as claims by its method As to be another error, as some libraries' do.
type as struct{}

func (as) Error() string { return "as" }
func (as) As(target any) bool {
	op, ok := target.(**net.OpError)
	if ok {
		*op = &net.OpError{Op: "read"}
	}
	return ok
}

func TestNetworkHearsWhatAnErrorClaimsToBe(t *testing.T) {
	if !failure.Network(fmt.Errorf("x: %w", as{})) {
		t.Error("an error that is a *net.OpError by its method As is not of the network")
	}
}

func TestNoRetryIsTheOutermostErrorsWord(t *testing.T) {
	no := &failure.Error{NoRetry: true}
	for name, step := range map[string]struct {
		err  error
		want bool
	}{
		"none":                           {nil, false},
		"itself":                         {no, true},
		"wrapped":                        {fmt.Errorf("x: %w", no), true},
		"joined after a stranger":        {errors.Join(io.EOF, no), true},
		"below an Error that says less":  {&failure.Error{Err: no}, false},
		"beside an Error that says less": {errors.Join(&failure.Error{}, no), false},
	} {
		if got := failure.NoRetryOf(step.err); got != step.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestFind(t *testing.T) {
	var seen []error
	inner, other := errors.New("inner"), errors.New("other")
	tree := errors.Join(&unwraps{inner}, (*fragile)(nil), other)
	found := failure.Find(tree, func(e error) bool { seen = append(seen, e); return e == other })
	if !found || len(seen) != 4 || seen[0] != tree || seen[2] != inner || seen[3] != other {
		t.Errorf("%v, in the order %v", found, seen)
	}
	if failure.Find(nil, func(error) bool { return true }) || failure.Find(tree, func(error) bool { return false }) {
		t.Error("found what is not there")
	}
}
