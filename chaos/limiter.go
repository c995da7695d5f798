package chaos

import (
	"cmp"
	linked "container/list"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
	"time"

	"llmcall/internal/protocol"
	"llmcall/internal/say"
)

// limiter applies a plan's limits of requests and tokens.
type limiter struct {
	limits Limits
	seed   maphash.Seed

	mu       sync.Mutex
	accounts map[uint64]*linked.Element
	recent   *linked.List // of *account, the most recently used first
}

// maxAccounts is how many pairs of key and model are remembered.
const maxAccounts = 10_000

// account is what one key has used of one model. Limits that are not set are nil.
type account struct {
	owner            uint64
	requests, tokens meter
}

func newLimiter(l Limits) *limiter {
	return &limiter{limits: l, seed: maphash.MakeSeed(), accounts: map[uint64]*linked.Element{}, recent: linked.New()}
}

// owner is a keyed hash of a key and a model, from which neither can be recovered.
func (l *limiter) owner(credential, model string) uint64 {
	return maphash.Comparable(l.seed, [2]string{credential, model})
}

// credentialOf returns the key in a request, or "".
func credentialOf(call *protocol.Incoming) string {
	return cmp.Or(strings.TrimPrefix(call.Header.Get("Authorization"), "Bearer "), call.Header.Get("X-Api-Key"), call.Header.Get("Api-Key"),
		call.Header.Get("X-Goog-Api-Key"), call.Query.Get("key"), call.Query.Get("api-key"))
}

// of returns the account of an owner, with l.mu held.
func (l *limiter) of(owner uint64) *account {
	if e, ok := l.accounts[owner]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*account)
	}
	a := &account{owner: owner, requests: l.meter(l.limits.RequestsPerMinute, l.limits.Burst), tokens: l.meter(l.limits.TokensPerMinute, 0)}
	l.accounts[owner] = l.recent.PushFront(a)
	if l.recent.Len() > maxAccounts {
		eldest := l.recent.Remove(l.recent.Back()).(*account)
		delete(l.accounts, eldest.owner)
	}
	return a
}

func (l *limiter) meter(perMinute, burst int) meter {
	switch {
	case perMinute == 0:
		return nil
	case l.limits.Window == WindowMinute:
		return &minutes{limit: int64(perMinute)}
	}
	return newBucket(int64(perMinute), int64(cmp.Or(burst, perMinute)))
}

// excess is the limit that a request is over.
type excess struct {
	limit     string // requestLimit or tokenLimit
	perMinute int
	used      int64 // of perMinute
	requested int64
	wait      time.Duration
	never     bool // it asks for more than the limit allows at once
}

// admit counts a request with its tokens, or returns the limit that it is over without
// counting it.
func (l *limiter) admit(owner uint64, tokens int64, now time.Time) (*account, *excess) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(owner)
	var over *excess
	if a.requests != nil {
		if wait := a.requests.wait(now, 1); wait > 0 {
			n := l.limits.RequestsPerMinute
			over = &excess{limit: requestLimit, perMinute: n, used: int64(n), requested: 1, wait: wait}
		}
	}
	if a.tokens != nil {
		n := l.limits.TokensPerMinute
		e := &excess{limit: tokenLimit, perMinute: n, used: int64(n) - a.tokens.room(now).Remaining, requested: tokens, never: tokens > int64(n)}
		if e.never {
			return a, e
		}
		// Of two limits, the refusal names the one with the longer wait.
		if e.wait = a.tokens.wait(now, tokens); e.wait > 0 && (over == nil || e.wait > over.wait) {
			over = e
		}
	}
	if over != nil {
		return a, over
	}
	if a.requests != nil {
		a.requests.take(now, 1)
	}
	if a.tokens != nil {
		a.tokens.take(now, tokens)
	}
	return a, nil
}

// charge counts the tokens of an answer.
func (l *limiter) charge(a *account, tokens int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.tokens != nil {
		a.tokens.take(now, tokens)
	}
}

// tell adds the headers with the limits to a response, unless they are set already.
func (l *limiter) tell(a *account, provider face, h http.Header, now time.Time) {
	if !l.limits.tellsHeaders() {
		return
	}
	l.mu.Lock()
	rooms := map[string]protocol.Room{}
	for name, m := range map[string]meter{requestLimit: a.requests, tokenLimit: a.tokens} {
		if m != nil {
			rooms[name] = m.room(now)
		}
	}
	l.mu.Unlock()
	for which, r := range rooms {
		addMissing(h, provider.LimitHeader(which, r, now))
	}
}

func (l *limiter) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.accounts)
	l.recent.Init()
}

// limit applies the plan's limits: it admits a request, after a wait for a place if
// necessary, or refuses it.
func (s *Server) limit(ctx context.Context, req *request, call *protocol.Incoming, rec *Recorded, v *visit) (rp reply, refused bool) {
	if s.limiter == nil {
		v.serve(nil)
		return reply{}, false
	}
	l := &s.limiter.limits
	var over *excess
	req.account, over = s.limiter.admit(s.limiter.owner(credentialOf(call), req.Model), req.tokensAsked(), time.Now())
	if over != nil {
		rec.Limit, rec.Refusal = over.limit, fmt.Sprintf("over the limit of %d %s a minute", over.perMinute, over.limit)
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
