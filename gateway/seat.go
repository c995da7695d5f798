package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/asis"
	"llmcall/internal/body"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"

	"github.com/tidwall/gjson"
)

// seat is a model of a route. A request in its protocol is sent as the client wrote it, any
// other is translated.
type seat struct {
	llm.Model
	protocol string // the name of one of the four; "" if it is not known
}

func newSeat(m llm.Model) *seat {
	s := &seat{Model: m}
	if p, ok := m.(interface{ Protocol() string }); ok {
		s.protocol = p.Protocol()
	}
	return s
}

// model returns the seat as a model that can do what its own can.
func (s *seat) model() llm.Model {
	if streams, ok := s.Model.(llm.Streamer); ok {
		return streamingSeat{s, streams}
	}
	return s
}

// Lacks returns what the model's API has no setting for.
func (s *seat) Lacks() []string {
	if l, ok := s.Model.(interface{ Lacks() []string }); ok {
		return l.Lacks()
	}
	return nil
}

// EndpointKey returns that of the model: all routes share its endpoint.
func (s *seat) EndpointKey() endpoint.Key { return endpoint.KeyOf(s.Model) }

// Complete sends the request of the attempt.
func (s *seat) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	x := exchangeOf(ctx)
	sent, own, err := x.request(ctx, s, req)
	if err != nil {
		return nil, err
	}
	resp, err := s.Model.Complete(asis.With(ctx, own), sent)
	if err == nil && resp != nil {
		x.answered(resp, own)
	}
	x.failed(own, err)
	return resp, err
}

// streamingSeat is a seat whose model streams.
type streamingSeat struct {
	*seat
	streamer llm.Streamer
}

// Stream sends the request of the attempt.
func (s streamingSeat) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		x := exchangeOf(ctx)
		sent, own, err := x.request(ctx, s.seat, req)
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		if x.out != nil {
			x.out.attempt(own.Body != nil)
			own.Event = x.out.event
		}
		for chunk, err := range s.streamer.Stream(asis.With(ctx, own), sent) {
			if err != nil {
				x.failed(own, err)
				if x.out != nil && x.out.content() {
					// What was passed on can't be taken back by another attempt.
					err = retry.Stop(err)
				}
				yield(chunk, err)
				return
			}
			x.chunk(&chunk)
			if !yield(chunk, nil) {
				return
			}
		}
	}
}

// exchange is a client's request, and what its attempts have brought.
type exchange struct {
	body   *body.Body
	raw    []byte      // as the client sent it
	header http.Header // of it, for the provider
	base   *llm.Request
	plain  bool
	out    *outlet // of a stream; nil for a whole answer
	// translated has base for models of other protocols, by their names. It is written before
	// the first attempt.
	translated map[string]translated

	mu      sync.Mutex // attempts may be hedged
	answers []came
	ended   llm.Finish     // of the stream of the last attempt
	last    *asis.Exchange // of the last failure
}

// translated is a request in the form for a model of a protocol, and what is lost of it.
type translated struct {
	request *llm.Request
	lost    []body.Loss
}

// harmful returns the first loss that changes what is asked, nil if there is none.
func (t translated) harmful() *body.Loss {
	if i := slices.IndexFunc(t.lost, func(l body.Loss) bool { return !l.Harmless }); i >= 0 {
		return &t.lost[i]
	}
	return nil
}

// refused returns what of the client's request a model of a protocol can't be asked, nil for
// nothing.
func (x *exchange) refused(protocol string) *body.Loss {
	if x.passes(protocol) {
		return nil
	}
	t, ok := x.translated[protocol]
	if !ok {
		t.request, t.lost = x.body.For(protocol, x.base)
		if x.translated == nil {
			x.translated = map[string]translated{}
		}
		x.translated[protocol] = t
	}
	return t.harmful()
}

// passes reports whether the client's body is sent to models of a protocol as it is.
func (x *exchange) passes(protocol string) bool { return protocol == x.body.Protocol && !x.body.Signed }

// came is an answer as it came.
type came struct {
	response *llm.Response
	finish   llm.Finish // as its provider told it
	own      *asis.Exchange
}

type exchangeKey struct{}

func withExchange(ctx context.Context, x *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// request returns the request of an attempt in the form for a model: the very bytes of the
// client if nothing was changed.
func (x *exchange) request(ctx context.Context, s *seat, req *llm.Request) (*llm.Request, *asis.Exchange, error) {
	own := &asis.Exchange{Protocol: s.protocol, Header: x.header}
	if x.passes(s.protocol) {
		if text, ok := x.added(req); ok {
			own.Body = text
			sent := *req
			sent.Schema = nil // the body asks for it, and the adapter must not expect its own way
			return &sent, own, nil
		}
	}
	t, ok := x.translated[s.protocol]
	if !ok || x.differs(req) || req.MaxTokens != x.base.MaxTokens || len(req.Messages) != len(x.base.Messages) {
		t.request, t.lost = x.body.For(s.protocol, req)
	}
	if l := t.harmful(); l != nil {
		return nil, nil, &failure.Error{Kind: failure.InvalidRequest, Model: s.Name(), Message: untranslatable(l, s)}
	}
	for _, l := range t.lost {
		endpoint.Noted(ctx, fmt.Sprintf("%s left out: %s", l.Field, l.Problem))
	}
	sent := *t.request // another attempt may have the same
	return &sent, own, nil
}

// untranslatable says why a request can't be sent to a model.
func untranslatable(l *body.Loss, s *seat) string {
	return fmt.Sprintf("%s can't be sent to %s: %s", l.Field, s.Name(), l.Problem)
}

// answered keeps what a provider answered beside what was read of it.
func (x *exchange) answered(resp *llm.Response, own *asis.Exchange) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answers = append(x.answers, came{resp, resp.Finish, own})
	resp.Finish = x.seen(resp.Finish)
}

// as returns an answer as it came, nil for one that came as a stream. The caller holds the
// lock.
func (x *exchange) as(resp *llm.Response) *came {
	for i := range x.answers {
		if x.answers[i].response == resp {
			return &x.answers[i]
		}
	}
	return nil
}

// failed keeps what a provider said of its failure.
func (x *exchange) failed(own *asis.Exchange, err error) {
	if err != nil {
		x.mu.Lock()
		x.last = own
		x.mu.Unlock()
	}
}

// refusal returns the provider's own words for a failure of this kind, and their status, if
// they are in the client's protocol: its refusal of the request, or the model's refusal to
// answer, which has status 200.
func (x *exchange) refusal(kind failure.Kind) (text []byte, status int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch own := x.last; {
	case own == nil || !own.Sent:
	case own.Status >= 400 && own.Status < 500 && aboutRequest(kind) && json.Valid(own.Problem) && gjson.GetBytes(own.Problem, "error").IsObject():
		return own.Problem, own.Status
	case kind == failure.ContentFiltered && len(own.Answer) > 0:
		return own.Answer, http.StatusOK
	}
	return nil, 0
}

// aboutRequest reports whether a failure is for the client to set right. With a model that
// is not found it may be that a conversation is not kept any more.
func aboutRequest(k failure.Kind) bool {
	switch k {
	case failure.InvalidRequest, failure.ContextTooLong, failure.ContentFiltered, failure.ModelNotFound:
		return true
	}
	return false
}

// chunk is told of each chunk of a stream.
func (x *exchange) chunk(c *llm.Chunk) {
	if c.Finish != llm.FinishNone {
		x.mu.Lock()
		x.ended = c.Finish
		x.mu.Unlock()
		c.Finish = x.seen(c.Finish)
	}
	if x.out != nil && c.Grows() && c.Finish == llm.FinishNone {
		x.out.grew()
	}
}

// seen returns the finish that the call sees. Without checks the client decides about an
// answer that its own limit of tokens has cut off, or that its provider has paused, as it
// would without a gateway.
func (x *exchange) seen(f llm.Finish) llm.Finish {
	if x.plain && (f == llm.FinishLength || f == llm.FinishPaused) {
		return llm.FinishStop
	}
	return f
}

// finishOf returns the reason to stop as the provider told it.
func (x *exchange) finishOf(resp *llm.Response) llm.Finish {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.as(resp); c != nil {
		return c.finish
	}
	if x.ended != llm.FinishNone {
		return x.ended
	}
	return resp.Finish
}

// asItCame returns the bytes of a whole answer in the client's protocol; nil if it must be
// written.
func (x *exchange) asItCame(resp *llm.Response) *asis.Exchange {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.as(resp)
	if c == nil || c.own.Protocol != x.body.Protocol || len(c.own.Answer) == 0 {
		return nil
	}
	return c.own
}

// answered is the check of routes without checks: there must be an answer.
type answered struct{}

func (answered) Name() string { return "not_empty" }

func (answered) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	if x := exchangeOf(ctx); x != nil && a.Response != nil {
		if f := x.finishOf(a.Response); f == llm.FinishLength || f == llm.FinishPaused {
			return validate.Verdict{}, nil
		}
		for _, part := range a.Response.Message.Parts {
			switch part.(type) {
			case llm.Image, llm.Audio, llm.Document:
				return validate.Verdict{}, nil
			}
		}
	}
	return validate.NotEmpty().Check(ctx, a)
}
