package validate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Report is what all checks together say of an answer. It passes when there
// are neither Complaints nor Failed checks.
type Report struct {
	Complaints []Complaint   // in the order of the checks, each with its check's name
	Failed     []*CheckError // the checks that could not be made
	Decoded    bool          // Value and Text are set, by the first check that decoded the answer
	Value      any           // the decoded JSON value, with numbers as json.Number
	Text       string        // the cleaned text that Value was decoded from
	Repaired   []Repair      // what was changed in the answer to make JSON of it
	Advice     Advice        // the weightiest of all checks
}

// Run makes all checks, one after the other in the order of the slice; none is
// left out because another complained. A check that panics, returns an error
// or takes longer than timeout (0: no limit) is a CheckError and keeps no other
// from being made. Once ctx has ended, the checks that are left are CheckErrors
// with ctx's error.
//
// A check that ignores its context is left behind at its timeout, or when ctx
// ends: its goroutine ends when the check returns. Where there is neither a
// timeout nor a context that can end, the check runs on the caller's own
// goroutine, so that a check that calls runtime.Goexit (as testing.T.FailNow
// does) ends that one; else that is a CheckError too. NotEmpty, Length, Contains
// and JSON, which can't hang, run there always, unless the text is very long.
func Run(ctx context.Context, checks []Strategy, a *Answer, timeout time.Duration) Report {
	var report Report
	if len(checks) == 0 {
		return report
	}
	shared := Answer{decoded: &memo{repair: anyRepairs(checks)}}
	if a != nil {
		shared.Text, shared.Response, shared.Request, shared.Attempt = a.Text, a.Response, a.Request, a.Attempt
	}
	for i, check := range checks {
		verdict, failed := run(ctx, check, &shared, timeout)
		if failed != nil {
			if failed.Check == "" {
				failed.Check = fmt.Sprintf("check %d", i+1)
			}
			failed.Index = i
			report.Failed = append(report.Failed, failed)
			continue
		}
		report.add(nameOf(check), verdict)
	}
	return report
}

func (r *Report) add(name string, v Verdict) {
	if len(v.Complaints) == 0 && v.Advice != Again {
		// Without a complaint the answer would pass, and the advice be lost.
		v.Complaints = []Complaint{{Problem: "the check gave the advice " + fmt.Sprintf("%q", v.Advice) + " and no reason"}}
	}
	for _, c := range v.Complaints {
		if c.Check == "" {
			c.Check = name
		}
		r.Complaints = append(r.Complaints, c)
	}
	r.Advice = max(r.Advice, v.Advice)
	if v.Decoded && !r.Decoded {
		r.Decoded, r.Value, r.Text, r.Repaired = true, v.Value, v.Text, v.Repaired
	}
}

// run makes one check, on a goroutine of its own if it may have to be left
// behind.
func run(ctx context.Context, check Strategy, a *Answer, timeout time.Duration) (Verdict, *CheckError) {
	if timeout <= 0 && ctx.Done() == nil || isInstant(check, a) {
		return guard(ctx, check, a)
	}
	own := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		own, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	type outcome struct {
		verdict Verdict
		failed  *CheckError
	}
	ended := make(chan outcome, 1) // room for one, so that a check left behind can end
	go func() {
		o := outcome{failed: &CheckError{Err: errors.New("it called runtime.Goexit")}}
		defer func() { ended <- o }()
		o.verdict, o.failed = guard(own, check, a)
	}()

	var o outcome
	select {
	case o = <-ended:
	case <-own.Done():
		select {
		case o = <-ended: // in time after all
		default:
			o.failed = &CheckError{Err: own.Err()}
		}
	}
	if o.failed == nil {
		return o.verdict, nil
	}
	if o.failed.Check == "" {
		o.failed.Check = nameOf(check)
	}
	if why := own.Err(); why != nil && !o.failed.Panicked {
		if ctx.Err() == nil {
			why = fmt.Errorf("%w (the limit is %v)", ErrTimeout, timeout)
		}
		if !errors.Is(o.failed.Err, own.Err()) {
			why = fmt.Errorf("%w: %w", why, o.failed.Err)
		}
		o.failed.Err = why
	}
	return Verdict{}, o.failed
}

// instant is what a check has that ends within microseconds for each kilobyte
// of text, whatever the text. A goroutine would cost more than the check.
type instant interface{ instant() bool }

func isInstant(check Strategy, a *Answer) bool {
	const longest = 64 << 10
	i, ok := check.(instant)
	return ok && len(a.Text) <= longest && i.instant() && !a.decoded.repairs()
}

// guard makes one check on this goroutine and turns a panic, an error and a
// context that has ended into a CheckError.
func guard(ctx context.Context, check Strategy, a *Answer) (v Verdict, failed *CheckError) {
	if check == nil {
		return Verdict{}, &CheckError{Err: errors.New("it is nil")}
	}
	defer func() {
		if p := recover(); p != nil {
			v = Verdict{}
			failed = &CheckError{Check: nameOf(check), Err: &PanicError{p, debug.Stack()}, Panicked: true}
		}
	}()
	if err := ctx.Err(); err != nil {
		return Verdict{}, &CheckError{Check: check.Name(), Err: err}
	}
	v, err := check.Check(ctx, a)
	if err == nil {
		return v, nil
	}
	failed = &CheckError{Check: check.Name(), Err: err}
	if own, ok := err.(*CheckError); ok && own != nil && (own.Check == "" || own.Check == failed.Check) {
		failed.Err, failed.Panicked = own.Err, own.Panicked
	}
	return Verdict{}, failed
}

// nameOf returns the check's name; "" if there is none to be had, since a
// check that panics may do so in Name too.
func nameOf(check Strategy) (name string) {
	defer func() { _ = recover() }()
	if check == nil {
		return ""
	}
	return check.Name()
}
