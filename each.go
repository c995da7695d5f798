package llmcall

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"llmcall/internal/say"
	"llmcall/llm"
)

// The defaults of [EachConfig].
const (
	DefaultEachConcurrency = 64
	DefaultGiveUpAfter     = 10 * time.Minute
)

// EachConfig says how [Each] goes through rows. The zero value of every field means
// its default.
type EachConfig struct {
	// Concurrency is the largest number of rows in flight. At least 1. Each begins with
	// 8, or with Concurrency if that is less, and doubles the number whenever as many rows
	// have ended without a refusal or another failure of the provider among them. The
	// rate is the pacer's; see package [llmcall/pace]. Default 64.
	Concurrency int
	// GiveUpAfter is how long Each goes on without one answer of the provider whose
	// checks could be run. It is the only limit of the waits for rate limits and open
	// circuits. Default 10 min; negative: it never gives up.
	GiveUpAfter time.Duration
	// Grace is how long requests in flight may go on when the context ends. No further
	// row is begun then, no wait goes on, and no other request is made. Default 0: they
	// end at once.
	Grace time.Duration
}

// EachRow says how a row ended; see [Each].
type EachRow[R any] struct {
	Index  int     // of the row among the rows, from 0
	Row    R       // as rows yielded it
	Result *Result // nil if Err is set
	// Err is the error of [Client.Do], with the attempts of all calls for the row in its
	// [Trace]; a [*PanicError] if the call or the function request panicked; what request
	// returned; or why the range ended, if that was before a call for the row began. nil if
	// there is a Result.
	Err error
	// NotDone says that the row was stopped by the state of its provider, of the client's
	// Account or of its caller: nothing is known about the row itself, and it should be
	// asked again later. If Err is set and NotDone is false, the fault is the row's own,
	// such as a request that the provider refuses, or answers that do not pass their
	// checks.
	NotDone bool
}

// EachReason says why [Each] ended before all rows were done.
type EachReason string

// The reasons.
const (
	EachGaveUp       EachReason = "gave_up"       // there was no answer for [EachConfig.GiveUpAfter]
	EachNoModel      EachReason = "no_model"      // no model can serve any row: a bad key, no quota, no such model
	EachAccountSpent EachReason = "account_spent" // too little is left in [RetryConfig.Account] for another request
)

// EachError is the error with which [Each] ends the rows before all are done, unless its
// context or its configuration is the reason. It unwraps to Last.
type EachError struct {
	Reason EachReason
	// After is how long there was no answer, if Reason is [EachGaveUp]; else 0.
	After time.Duration
	Last  error // the last failure of a row or an attempt; nil if there was none
}

// Error says why no further row is asked, and names the last failure.
func (e *EachError) Error() string {
	why := ""
	switch e.Reason {
	case EachGaveUp:
		why = fmt.Sprintf("gave up after %v without an answer", e.After.Round(time.Second))
	case EachNoModel:
		why = "no model can serve the rows"
	case EachAccountSpent:
		why = "what the rows may use is spent"
	}
	if e.Last == nil {
		return why
	}
	return why + ": " + say.Middle(e.Last.Error(), maxLast)
}

// maxLast is the size of a row's failure in the text of an EachError: a failed call
// names what each guard and the provider said.
const maxLast = 2000

// Unwrap returns e.Last.
func (e *EachError) Unwrap() error { return e.Last }

// Each makes a call for each of many rows, with a bounded number of them at a time, and
// yields each row when it is done, in any order:
//
//	request := func(city string) (*llm.Request, error) { return llm.Prompt("Where is " + city + "?"), nil }
//	for row, err := range llmcall.Each(ctx, client, slices.Values(cities), request, llmcall.EachConfig{}) {
//		if err != nil {
//			return err // not all rows are done
//		}
//		…
//	}
//
// If it ends before all rows are done, it yields the reason at the end, once, with a zero
// row: the cause of ctx, an [*EachError], or a [*ConfigError] if cfg is impossible. Rows
// that were taken from rows and not done are yielded before, with NotDone set.
//
// The calls have the client's configuration, but are patient, because many rows have time.
// They wait for open circuits and rate limits for as long as it takes, whatever
// MaxRateLimitWait and MaxRetryAfter say; [EachConfig.GiveUpAfter] limits this. They have
// a circuit breaker: the client's, or else the default one, with a threshold of a quarter
// of Concurrency, but at most 64, if that is more. MaxTime holds for each call.
//
// A row that the provider's state has stopped is asked again in its place: once while other
// rows are answered, or if it is the last; and three times while none is. It is asked as
// often as it takes while none is and the provider, or that of a judge, refuses for its rate
// or its load, or if the other rows have left the call too little of its MaxTime or of the
// retry budget. After that it is yielded with NotDone set. So are the last rows, without a
// wait for their circuit, if their provider has failed all of them while it answered others:
// nobody is left who could close it.
//
// Each ends the run if no model can serve the rows, because all have refused the key, the
// quota or the name, and if the client's Account is spent. A request for which too little
// is left of that account waits as long as others are under way, since they may give back
// a part of what is reserved for them. The ceilings of each call, MaxCost and
// MaxTokensTotal, are those of its row.
//
// rows and request are used on one goroutine that is not the caller's, one row at a time
// and only when there is a place for another row, so that rows may be endless. Each waits
// for rows to return: one that may block should end with ctx. The rows that are done wait
// for the loop, and keep their places.
//
// Whoever leaves the loop ends all calls that are in flight; no goroutine is left when the
// loop has ended. A panic in a call or in request is the error of its row, a
// [*PanicError]. A panic in rows is passed on to the loop, once all calls have ended.
// Each range over the sequence goes through the rows again.
func Each[R any](
	ctx context.Context, c *Client, rows iter.Seq[R], request func(R) (*llm.Request, error), cfg EachConfig,
) iter.Seq2[EachRow[R], error] {
	return func(yield func(EachRow[R], error) bool) {
		r, err := c.each(ctx, cfg)
		if err != nil {
			yield(EachRow[R]{}, err)
			return
		}
		done := make(chan EachRow[R])
		go func() {
			defer close(done)
			defer r.calls.Wait()
			r.feed(func() {
				feed(r, rows, request, done)
			})
		}()
		finish := func() {
			r.leave()
			for range done {
			}
		}
		defer finish() // if the loop panics
		for row := range done {
			r.free()
			if !yield(row, nil) {
				finish()
				r.rethrow()
				return
			}
		}
		r.rethrow()
		if err := r.reason(); err != nil {
			yield(EachRow[R]{}, err)
		}
	}
}

// feed begins a call for each of the rows when there is a place for it. What becomes of
// them goes to done.
func feed[R any](r *eachRun, rows iter.Seq[R], request func(R) (*llm.Request, error), done chan<- EachRow[R]) {
	if !r.place() {
		return
	}
	index := 0
	for row := range rows {
		next := EachRow[R]{Index: index, Row: row}
		index++
		req, err := requested(request, row)
		var k *eachCall
		if err == nil {
			k, err = r.begin(req)
			next.NotDone = err != nil
		}
		if next.Err = err; err != nil {
			done <- next
		} else {
			r.calls.Go(func() {
				defer func() { done <- next }() // also after runtime.Goexit in a model
				next.Err = errGoexit
				next.Result, next.NotDone, next.Err = r.ask(k)
			})
		}
		if !r.place() {
			return
		}
	}
	r.free()
	r.exhausted()
}

// requested returns the request of a row. A panic is an error.
func requested[R any](request func(R) (*llm.Request, error), row R) (req *llm.Request, err error) {
	defer caught(&err)
	return request(row)
}

// errLeft is the cause of the end of calls whose loop was left.
var errLeft = errors.New("the loop over the rows was left")
