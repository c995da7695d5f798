package llmcall

import (
	"context"
	"fmt"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// Piece is a piece of an answer, as [Client.Stream] yields it.
type Piece struct {
	Text string   // the next piece of the answer's text
	Part llm.Part // a whole part that is not text: a tool call, the model's reasoning
	// Restart says that everything before is void: another attempt begins. Only with
	// [RetryConfig.RestartStreams].
	Restart bool
	// Result is the checked answer. Only the last piece has it.
	Result *Result
}

// outlet yields a stream's pieces to the caller.
type outlet struct {
	yield    func(Piece, error) bool
	handed   bool // a piece of this answer was yielded
	void     bool // pieces of an earlier answer were yielded
	left     bool // the caller has left the loop
	panicked bool // the caller's loop panicked,
	panic    any  // with this value
}

// leftError ends an attempt whose caller left the loop, which says nothing about
// the provider.
type leftError struct{}

func (leftError) Error() string             { return "the stream was left by its caller" }
func (leftError) FailureKind() failure.Kind { return failure.Cancelled }

// hand yields a piece. It keeps a panic in the caller's loop for Stream to repeat:
// otherwise the breaker would count it as a panic of the model.
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

// handAll yields the parts of a whole answer.
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

// restart makes the yielded pieces void, for another attempt.
func (o *outlet) restart() {
	o.void = o.void || o.handed
	o.handed = false
}

// streams reports whether the attempt's answer is yielded as it arrives.
func (c *call) streams() bool {
	_, able := c.model.(llm.Streamer)
	return c.out != nil && able && !c.at().runs()
}

// stream asks for one answer and yields it as it arrives.
func (c *call) stream(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := silence{end: cancel, first: c.cfg.FirstPieceTimeout, idle: c.cfg.IdleTimeout, left: c.cfg.FirstPieceTimeout}
	quiet.resume()
	defer quiet.pause()
	watcher := validate.Watch(c.checks, req)
	var whole llm.Assembly
	for chunk, err := range c.model.(llm.Streamer).Stream(own, req) {
		expired := quiet.pause()
		if err == nil {
			whole.Add(chunk)
			if watcher != nil {
				// Before the chunk is yielded, because if nothing was, the model can still be
				// asked again.
				if c.hopeless = watcher.Feed(chunk.Text); c.hopeless != nil {
					return whole.Response(), nil
				}
			}
			if chunk.Grows() {
				quiet.grew()
				endpoint.Accepted(ctx, nil)
			}
			if chunk.Text != "" || chunk.Part != nil {
				err = c.out.hand(Piece{Text: chunk.Text, Part: chunk.Part})
			}
		} else if expired && ctx.Err() == nil {
			err = c.fellSilent(&quiet)
		}
		if err != nil {
			c.broke(whole.Response())
			return nil, err
		}
		if !expired { // else a piece may still arrive, but the stream has ended
			quiet.resume()
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
			return nil, c.fellSilent(&quiet)
		}
		return nil, &failure.Error{
			Kind: failure.Transient, Model: c.model.Name(), Code: "no_terminal_event", RequestID: answer.RequestID,
			Message: "the answer was cut off: its stream ended without the event that ends it",
		}
	}
	return answer, nil
}

// fellSilent returns the failure of a stream that did not grow for too long. It does not
// wrap the cause: the breaker would take our own cancellation for one by the caller, and
// not count it.
func (c *call) fellSilent(s *silence) error {
	limit, name := s.limit()
	return &failure.Error{
		Kind: failure.AttemptTimeout, Model: c.model.Name(), Message: fmt.Sprintf("nothing came for %v (%s)", limit, name),
	}
}

// silence ends a stream that does not grow. It is paused while the consumer has the
// stream: a slow consumer is not the provider's silence.
type silence struct {
	end         context.CancelFunc
	first, idle time.Duration // the limits before and after the first piece; 0: none
	begun       bool          // the first piece has come
	timer       *time.Timer   // nil before there was a limit
	runs, over  bool
	left        time.Duration // of the limit, at since
	since       time.Time
}

// limit returns the limit that applies now, and the name of its setting.
func (s *silence) limit() (time.Duration, string) {
	if s.begun {
		return s.idle, "idle_timeout"
	}
	return s.first, "first_piece_timeout"
}

// grew begins the time until the next piece, unless the last one came too late.
func (s *silence) grew() {
	if !s.over {
		s.begun, s.left = true, s.idle
	}
}

// resume lets the time pass.
func (s *silence) resume() {
	if limit, _ := s.limit(); limit == 0 {
		return
	}
	s.runs, s.since = true, time.Now()
	if s.timer == nil {
		s.timer = time.AfterFunc(s.left, s.end)
		return
	}
	s.timer.Reset(s.left)
}

// pause stops the time, and reports whether it is over.
func (s *silence) pause() (over bool) {
	if s.runs {
		s.runs = false
		s.left -= time.Since(s.since)
		s.over = s.over || !s.timer.Stop()
	}
	return s.over
}

// broke records the usage of a request without a usable answer.
func (c *call) broke(partial *llm.Response) {
	r := c.current()
	r.Usage = r.Usage.Add(partial.Usage)
	c.lost = c.used(partial)
}
