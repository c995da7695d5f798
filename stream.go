package llmcall

import (
	"context"
	"fmt"
	"math"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// Piece is what [Client.Stream] yields.
type Piece struct {
	Text string   // the next of the answer's text
	Part llm.Part // a whole part that is not text: a tool call, the model's reasoning
	// Restart says that all that came before is void: another attempt begins.
	// Only with RetryConfig.RestartStreams.
	Restart bool
	// Result is the whole answer, checked. It comes with the last piece, which
	// has nothing else.
	Result *Result
}

// outlet is where a stream's pieces go.
type outlet struct {
	yield    func(Piece, error) bool
	handed   bool // something of this answer was handed on
	void     bool // what was handed on is not of this answer
	left     bool // the caller wants no more
	panicked bool // in the caller's loop,
	panic    any  // with this
}

// leftError ends an attempt whose caller left. It is the caller's doing, and
// says nothing of the provider.
type leftError struct{}

func (leftError) Error() string             { return "the stream was left by its caller" }
func (leftError) FailureKind() failure.Kind { return failure.Cancelled }

// hand hands a piece on. A panic in the caller's loop is kept, for Stream to go
// on with: in between it would pass for one of the model, which the breaker
// counts.
func (o *outlet) hand(p Piece) (err error) {
	defer func() {
		if v := recover(); v != nil {
			o.panicked, o.panic = true, v
			err = retry.Stop(leftError{})
		}
	}()
	if o.void {
		o.void = false
		if !o.yield(Piece{Restart: true}, nil) {
			o.left = true
			return retry.Stop(leftError{})
		}
	}
	o.handed = true
	if !o.yield(p, nil) {
		o.left = true
		return retry.Stop(leftError{})
	}
	return nil
}

// handAll hands on an answer that is whole.
func (o *outlet) handAll(answer *llm.Response) error {
	for _, part := range answer.Message.Parts {
		p := Piece{Part: part}
		if text, ok := part.(llm.Text); ok {
			p = Piece{Text: string(text)}
		}
		if err := o.hand(p); err != nil {
			return err
		}
	}
	return nil
}

// restart makes what was handed on void, for another attempt.
func (o *outlet) restart() {
	o.void = o.void || o.handed
	o.handed = false
}

// streams reports whether an attempt's answer is handed on as it comes.
func (c *call) streams() bool {
	_, able := c.model.(llm.Streamer)
	return c.out != nil && able && !(c.stage == StageTool && c.cfg.Tool.Run != nil)
}

// stream asks for one answer and hands it on as it comes.
func (c *call) stream(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := c.cfg.IdleTimeout
	if limit == 0 {
		limit = math.MaxInt64
	}
	idle := time.AfterFunc(limit, cancel)
	defer idle.Stop()
	watcher := validate.Watch(c.checks, req)
	var whole llm.Assembly
	for chunk, err := range c.model.(llm.Streamer).Stream(own, req) {
		expired := !idle.Stop()
		if err == nil {
			whole.Add(chunk)
			if watcher != nil {
				// Before it is handed on: what was not can still be asked for again.
				if c.hopeless = watcher.Feed(chunk.Text); c.hopeless != nil {
					return whole.Response(), nil
				}
			}
			if chunk.Text != "" || chunk.Part != nil {
				endpoint.Accepted(ctx, nil)
				err = c.out.hand(Piece{Text: chunk.Text, Part: chunk.Part})
			}
		} else if expired && ctx.Err() == nil {
			err = c.fellSilent()
		}
		if err != nil {
			c.broke(whole.Response())
			return nil, err
		}
		if !expired { // a piece that was on its way may still come; the stream has ended all the same
			idle.Reset(limit)
		}
	}
	answer := whole.Response()
	if answer.Finish == llm.FinishNone {
		c.broke(answer)
		// Some streams end without an error when their context does.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if own.Err() != nil {
			return nil, c.fellSilent()
		}
		return nil, &failure.Error{
			Kind: failure.Transient, Model: c.model.Name(), Code: "no_terminal_event", RequestID: answer.RequestID,
			Message: "the answer was cut off: its stream ended without the event that ends it",
		}
	}
	return answer, nil
}

// fellSilent is the failure of a stream of which nothing came for too long.
// Without what it came from: our own cancellation would pass for one of the
// caller's, which the breaker does not count.
func (c *call) fellSilent() error {
	return &failure.Error{
		Kind: failure.AttemptTimeout, Model: c.model.Name(),
		Message: fmt.Sprintf("nothing came for %v (idle_timeout)", c.cfg.IdleTimeout),
	}
}

// broke notes what was used by a stream that came to no end.
func (c *call) broke(partial *llm.Response) {
	r := c.current()
	r.Usage = r.Usage.Add(partial.Usage)
	c.lost = endpoint.Used(partial)
}
