package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"llmcall/internal/limiter"
	"llmcall/internal/protocol"
	"llmcall/internal/say"
)

// rates returns the limits of requests and tokens.
func (l *Limits) rates() limiter.Limits {
	return limiter.Limits{RequestsPerMinute: l.RequestsPerMinute, TokensPerMinute: l.TokensPerMinute, Burst: l.Burst, Windows: l.Window == WindowMinute}
}

// credentialOf returns the key in a request, or "".
func credentialOf(call *protocol.Incoming) string {
	return cmp.Or(strings.TrimPrefix(call.Header.Get("Authorization"), "Bearer "), call.Header.Get("X-Api-Key"), call.Header.Get("Api-Key"),
		call.Header.Get("X-Goog-Api-Key"), call.Query.Get("key"), call.Query.Get("api-key"))
}

// limit applies the plan's limits: it admits a request, after a wait for a place if
// necessary, or refuses it.
func (s *Server) limit(ctx context.Context, req *request, call *protocol.Incoming, rec *Recorded, v *visit) (rp reply, refused bool) {
	if s.limiter == nil {
		v.serve(nil)
		return reply{}, false
	}
	l := s.plan.Limits
	var over *limiter.Excess
	req.account, over = s.limiter.Admit(s.limiter.Owner(credentialOf(call), req.Model), req.tokensAsked(), time.Now())
	if over != nil {
		rec.Limit, rec.Refusal = over.Limit, fmt.Sprintf("over the limit of %d %s a minute", over.PerMinute, over.Limit)
		id, _ := s.record(rec, http.StatusTooManyRequests, nil)
		rp = overLimit(req, over, l.Hint, id, time.Now())
		rp.ending = rateLimited
		return rp, true
	}
	if s.slots == nil {
		v.serve(nil)
		return reply{}, false
	}
	switch leave, err := s.slots.take(ctx, s.closing.Done()); {
	case err == nil:
		v.serve(leave)
		return reply{}, false
	case errors.Is(err, errQueueFull):
		rec.Limit, rec.Refusal = placeLimit, fmt.Sprintf("%s being served, and %d wait", say.Count(l.Concurrent, "request is", "requests are"), l.Queue)
		id, _ := s.record(rec, noPlace.in(req.face).Status, nil)
		rp = statusReply(req, noPlace, id, time.Now())
		rp.ending = overloaded
		return rp, true
	default:
		rec.Refusal = err.Error()
		s.record(rec, 0, nil)
		return reply{gone: true}, true
	}
}

// tokensAsked is how many tokens a request counts with when it arrives.
func (r *request) tokensAsked() int64 {
	n := int64(r.promptTokens())
	if r.answerReserved() {
		n += int64(min(r.MaxTokens, 2*maxLimit))
	}
	return n
}

// answerReserved reports whether tokensAsked includes the answer's.
func (r *request) answerReserved() bool { return r.MaxTokens > 0 && r.face.reserves() }
