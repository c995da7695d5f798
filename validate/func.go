package validate

import (
	"context"
	"errors"
	"strings"

	"llmcall/failure"
)

// Func returns a check that calls a function. The function's result means:
//
//   - nil: the answer passes;
//   - [Fail]: a complaint with a suggestion;
//   - [Complaints]: several complaints, or none if the list is empty. [errors.Join]
//     combines complaints;
//   - [StopAsking] and [NeedsHuman]: a complaint with advice;
//   - [Unavailable], any other *[CheckError], an error with a method FailureKind
//     (such as that of a failed call to a model), and the error of a context that
//     has ended: the check itself failed;
//   - any other error: a complaint with the error's text.
//
// For example,
//
//	validate.Func("capital", func(ctx context.Context, a *validate.Answer) error {
//		if !isCapital(a.Text) {
//			return validate.Fail("that is not a capital", "name a country's capital")
//		}
//		return nil
//	})
//
// The name appears in complaints and traces. Default "": "func". The function may be
// called from several goroutines at once.
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

// take adds the complaints and the advice of an error.
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
	// Keep the structure of wrapped complaints, and put the wrapping's words before
	// them.
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

// joined returns the text of [errors.Join] of the parts: an error with exactly this
// text adds no words of its own.
func joined(parts []error) string {
	texts := make([]string, 0, len(parts))
	for _, part := range parts {
		if part != nil {
			texts = append(texts, part.Error())
		}
	}
	return strings.Join(texts, "\n")
}

// Fail returns a complaint for a function given to [Func]: what is wrong with the
// answer, and how to fix it, addressed to the model. The suggestion may be "".
func Fail(problem, suggestion string) error {
	return Complaints{{Problem: problem, Suggestion: suggestion}}
}

// FailAt adds a place in the answer's JSON value to an error: a JSON pointer (RFC
// 6901), which is put before those of its complaints. It returns nil if err is nil.
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

// Unavailable returns a *[CheckError]: the function given to [Func] could not check
// the answer because of err. It returns nil if err is nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &CheckError{Err: err}
}

// GoUp gives a complaint the advice [NextStage]: the model can't fix it as it is helped
// now. It returns nil if err is nil.
func GoUp(err error) error { return advise(err, NextStage) }

// StopAsking gives a complaint the advice [Stop]: no further attempt can fix it. It
// returns nil if err is nil.
func StopAsking(err error) error { return advise(err, Stop) }

// NeedsHuman gives a complaint the advice [Human]: a person must look at it. It
// returns nil if err is nil.
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
