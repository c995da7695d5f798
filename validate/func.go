package validate

import (
	"context"
	"errors"
	"strings"

	"llmcall/failure"
)

// Func makes a check of a function. What the function returns decides:
//
//   - nil passes the answer;
//   - an error is a complaint, in the error's words;
//   - Fail is a complaint with a suggestion, and Complaints are several (none,
//     if the list is empty); errors.Join joins them;
//   - StopAsking and NeedsHuman are complaints with advice;
//   - Unavailable, any other *CheckError, an error that carries a failure kind
//     (a call to a judge that failed, say) and the error of a context that has
//     ended mean that the check itself failed.
//
// So a check is as short as
//
//	validate.Func("capital", func(ctx context.Context, a *validate.Answer) error {
//		if !isCapital(a.Text) {
//			return validate.Fail("that is not a capital", "name a country's capital")
//		}
//		return nil
//	})
//
// The name goes into complaints and traces; "" is "func".
func Func(name string, check func(ctx context.Context, a *Answer) error) Strategy {
	if name == "" {
		name = "func"
	}
	return funcCheck{name, check}
}

type funcCheck struct {
	name  string
	check func(context.Context, *Answer) error
}

func (c funcCheck) Name() string { return c.name }

func (c funcCheck) Check(ctx context.Context, a *Answer) (Verdict, error) {
	if c.check == nil {
		return Verdict{}, errors.New("its function is nil")
	}
	err := c.check(ctx, a)
	if err == nil {
		return Verdict{}, nil
	}
	var kind interface{ FailureKind() failure.Kind }
	if errors.As(err, &kind) || ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return Verdict{}, err
	}
	var v Verdict
	v.take(err)
	return v, nil
}

// take adds what err complains of, and its advice.
func (v *Verdict) take(err error) {
	switch e := err.(type) {
	case Complaints:
		v.Complaints = append(v.Complaints, e...)
		return
	case *advised:
		v.take(e.err)
		v.Advice = max(v.Advice, e.advice)
		return
	case *placed:
		before := len(v.Complaints)
		v.take(e.err)
		for i := range v.Complaints[before:] {
			c := &v.Complaints[before+i]
			c.Pointer = e.pointer + c.Pointer
		}
		return
	case interface{ Unwrap() []error }:
		if parts := e.Unwrap(); joined(parts) == err.Error() {
			for _, part := range parts {
				v.take(part)
			}
			return
		}
	}
	// What is wrapped is taken from inside, and what the wrapping says is put
	// before it.
	var within Complaints
	var advice *advised
	if errors.As(err, &advice) {
		v.Advice = max(v.Advice, advice.advice)
	}
	if errors.As(err, &within) && len(within) > 0 {
		if before, ok := strings.CutSuffix(err.Error(), within.Error()); ok {
			for _, c := range within {
				c.Problem = before + c.Problem
				v.Complaints = append(v.Complaints, c)
			}
			return
		}
	}
	problem := err.Error()
	if strings.TrimSpace(problem) == "" {
		problem = "the answer did not pass"
	}
	v.Complaints = append(v.Complaints, Complaint{Problem: problem})
}

// joined is what errors.Join of the parts says: an error of just these words
// adds none of its own.
func joined(parts []error) string {
	texts := make([]string, 0, len(parts))
	for _, part := range parts {
		if part != nil {
			texts = append(texts, part.Error())
		}
	}
	return strings.Join(texts, "\n")
}

// Fail returns the complaint of a caller's function: what is wrong with the
// answer, and how to fix it, said to the model. The suggestion may be "".
func Fail(problem, suggestion string) error {
	return Complaints{{Problem: problem, Suggestion: suggestion}}
}

// FailAt says where in the answer's JSON value an error complains: the pointer
// (RFC 6901) goes before those of its complaints. It returns nil if err is nil.
func FailAt(pointer string, err error) error {
	if err == nil || pointer == "" {
		return err
	}
	return &placed{err, pointer}
}

type placed struct {
	err     error
	pointer string
}

func (e *placed) Error() string { return "at " + e.pointer + ": " + e.err.Error() }
func (e *placed) Unwrap() error { return e.err }

// Unavailable says that a caller's function could not make its check, because
// of err; nothing is said about the answer. It returns nil if err is nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &CheckError{Err: err}
}

// StopAsking marks a complaint as one that no further attempt can fix. It returns
// nil if err is nil.
func StopAsking(err error) error { return advise(err, Stop) }

// NeedsHuman marks a complaint as one that a person must look at. It returns nil
// if err is nil.
func NeedsHuman(err error) error { return advise(err, Human) }

func advise(err error, advice Advice) error {
	if err == nil {
		return nil
	}
	return &advised{err, advice}
}

type advised struct {
	err    error
	advice Advice
}

func (e *advised) Error() string { return e.err.Error() }
func (e *advised) Unwrap() error { return e.err }
