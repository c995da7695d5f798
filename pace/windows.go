package pace

import "time"

const (
	// toldLong is the longest told wait during which no request tests the provider.
	toldLong = 2 * time.Minute
	// lookEvery is how often one request tests whether a longer one still holds.
	lookEvery = time.Minute
	// spreadPart and spreadMost spread the first turn after a told time, so that
	// processes that were told the same time do not return together.
	spreadPart = 0.1
	spreadMost = time.Second
)

// closing is a told time, until which no request is sent.
type closing struct {
	until time.Time // as told
	opens time.Time // the first turn, spread
	look  time.Time // of a long wait: when one request may test it; otherwise zero
}

// close begins a told time, unless a longer one is in effect. In a long one, a request may test
// it after look. chance spreads the first turn; nil: it is not.
func (c *closing) close(now time.Time, wait, look time.Duration, chance func() float64) {
	if !c.shut(now) {
		*c = closing{}
	}
	until := now.Add(wait)
	if !until.After(c.until) {
		return
	}
	c.until, c.opens = until, until
	if chance != nil {
		spread := min(spreadMost, seconds(wait.Seconds()*spreadPart))
		c.opens = until.Add(time.Duration(chance() * float64(spread)))
	}
	switch {
	case wait <= toldLong:
		c.look = time.Time{}
	case c.look.IsZero():
		c.look = now.Add(look)
	}
}

func (c *closing) shut(now time.Time) bool { return now.Before(c.opens) }

// looks reports whether one request may go in spite of the told time, as a test.
func (c *closing) looks(now time.Time) bool { return !c.look.IsZero() && !now.Before(c.look) }

const (
	// windowMost is how long a remaining count alone stops all requests.
	windowMost = time.Minute
	// windowLeast is the longest time until a window begins again in which it does not count
	// what is in flight, if that is more than it has room for and there is a learned rate.
	// Most of these are counted already by what remains; to count them again would leave the
	// more of a small bucket unused, the more is in flight. A bucket of one request is full
	// when the next may go, and is waited for up to half of this: more is often the rest of
	// a second in which one may go, and is left to the rate.
	windowLeast = time.Second
	// windowStrikes is how many times in a row a provider may say that nothing remains,
	// and answer, before its counts are ignored: some providers always say 0.
	windowStrikes = 3
	// windowsKept bounds the windows of one response.
	windowsKept = 8
)

// windows has the remaining counts of the last response that told any.
type windows struct {
	list    []window
	strikes int    // answers in a row that said that nothing remains, each to a request sent after the previous one
	strike  uint64 // answers to requests up to this one are not a further strike
	used    amount // since the last of these answers
}

// amount is a number of requests and of their tokens.
type amount struct{ requests, tokens int64 }

func (a amount) of(tokens bool) int64 {
	if tokens {
		return a.tokens
	}
	return a.requests
}

// window is one of the windows, as of now.
type window struct {
	tokens bool
	limit  int64         // 0: not said
	left   int64         // what remained, minus used
	used   int64         // by requests that were in flight at the response, or sent since
	since  time.Time     // requests sent from then on are counted in left and used; zero: all are
	begins time.Time     // when it begins again
	period time.Duration // an estimate of its length
	look   time.Time     // when one request may go although nothing is left, as a test
}

// hear records the windows of a response to s. flying is what else was not answered
// yet; last is the number of the last request that was sent; paced says that there is a
// learned rate.
func (ws *windows) hear(now time.Time, told []Window, s *sent, refused bool, flying amount, last uint64, paced bool) {
	strike := !refused
	list := make([]window, 0, min(len(told), windowsKept))
	for _, t := range told[:min(len(told), windowsKept)] {
		strike = strike && t.Remaining <= 0 && (t.Limit <= 0 || ws.used.of(t.Tokens) < t.Limit)
		if t.Reset <= 0 {
			continue // it begins again now, or at an unknown time
		}
		used := flying.of(t.Tokens)
		switch small := paced && t.Limit > 0 && t.Reset <= windowLeast; {
		case small && t.Limit == 1 && t.Reset > windowLeast/2:
			continue
		case small && t.Limit > 1 && used >= t.Limit:
			used = 0
		}
		list = append(list, window{
			tokens: t.Tokens, limit: t.Limit, left: max(0, t.Remaining) - used, used: used,
			begins: now.Add(t.Reset), period: min(t.Reset, windowMost), look: now.Add(windowMost),
		})
	}
	switch {
	case s != nil && s.seq <= ws.strike && ws.strikes > 0:
	case strike:
		ws.strikes++
		ws.strike, ws.used = last, amount{}
	default:
		ws.strikes, ws.used = 0, amount{}
	}
	if ws.strikes >= windowStrikes {
		list = nil
	}
	ws.list = list
}

// need returns what a request takes from a window: at most the window's size.
func (w *window) need(c Cost) int64 {
	switch {
	case !w.tokens:
		return 1
	case w.limit > 0:
		return min(max(c.Tokens, 1), w.limit)
	}
	return max(c.Tokens, 1)
}

func (ws *windows) open(now time.Time, c Cost) bool {
	for i := range ws.list {
		if w := &ws.list[i]; w.left < w.need(c) && now.Before(w.look) {
			return false
		}
	}
	return true
}

// take records a request that is sent now.
func (ws *windows) take(now time.Time, c Cost) {
	ws.used.requests++
	ws.used.tokens += max(c.Tokens, 1)
	for i := range ws.list {
		w := &ws.list[i]
		w.left -= w.need(c)
		w.used += w.need(c)
		if w.left < 0 {
			w.look = now.Add(windowMost)
		}
	}
}

// back undoes take for a request that was not made.
func (ws *windows) back(s *sent) {
	c := Cost{Tokens: s.tokens}
	for i := range ws.list {
		w := &ws.list[i]
		if s.at.Before(w.since) {
			continue
		}
		w.left += w.need(c)
		w.used -= w.need(c)
	}
}

// turn returns when a request with some requests and tokens ahead of it may go.
func (ws *windows) turn(c Cost, before int, tokens int64) time.Time {
	var at time.Time
	for i := range ws.list {
		w := &ws.list[i]
		ahead := int64(before)
		if w.tokens {
			ahead = tokens
		}
		if w.left-ahead >= w.need(c) {
			continue
		}
		opens := w.begins
		if w.look.Before(opens) {
			opens = w.look
		}
		at = later(at, opens)
	}
	return at
}

// advance lets windows begin again when it is time. A window that was not used in the
// meantime is forgotten.
func (ws *windows) advance(now time.Time) {
	kept := ws.list[:0]
	for _, w := range ws.list {
		if !now.Before(w.begins) {
			idle := w.used == 0 && w.left > 0 || now.Sub(w.begins) >= w.period // a whole window has passed
			if w.limit <= 0 || idle {
				continue
			}
			w.left, w.used, w.since = w.limit, 0, w.begins
			w.begins, w.look = w.begins.Add(w.period), now.Add(windowMost)
		}
		kept = append(kept, w)
	}
	ws.list = kept
}

// refill returns how many requests a second a bucket that has refused one gets back, by its
// size and the time until it is full; 0 if that is not told.
func refill(told []Window) float64 {
	for _, t := range told {
		if !t.Tokens && t.Remaining <= 0 && t.Limit > 0 && t.Reset > 0 {
			return float64(t.Limit) / t.Reset.Seconds()
		}
	}
	return 0
}
