package clients

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/account"
	"llmcall/endpoint"
)

// naiveBucket is a minute's worth that fills evenly, in the words of the configuration.
type naiveBucket struct {
	perMinute, level float64
	at               time.Time
}

func (b *naiveBucket) holds() float64 { return math.Ceil(b.perMinute) }

func (b *naiveBucket) now() float64 {
	b.level = min(b.holds(), b.level+time.Since(b.at).Minutes()*b.perMinute)
	b.at = time.Now()
	return b.level
}

// wait returns in how many minutes n fit, or a full bucket if that is less.
func (b *naiveBucket) wait(n float64) float64 {
	if b.perMinute == 0 {
		return 0
	}
	return max(0, min(n, b.holds())-b.now()) / b.perMinute
}

func (b *naiveBucket) take(n float64) {
	if b.perMinute > 0 {
		b.level = min(b.holds(), b.now()-n)
	}
}

// change keeps what is missing, in whole numbers and at most all that it holds, and what is
// owed.
func (b *naiveBucket) change(perMinute float64) {
	switch {
	case perMinute == b.perMinute:
	case perMinute == 0 || b.perMinute == 0:
		*b = naiveBucket{perMinute, math.Ceil(perMinute), time.Now()}
	default:
		missing := b.holds() - b.now()
		owed := max(0, -b.now())
		b.perMinute = perMinute
		b.level = b.holds() - math.Round(min(missing, b.holds()+owed))
	}
}

// naiveClient is the model of a client.
type naiveClient struct {
	cfg              Config
	requests, tokens naiveBucket
	flying           []flight
	money            []endpoint.Amount // reserved
	spent            map[int64]int64
}

type flight struct {
	ticket      *Ticket
	asked, took float64 // of requests and tokens a minute
}

func (n *naiveClient) set(cfg Config) {
	n.cfg = cfg
	n.requests.change(cfg.RequestsPerMinute)
	n.tokens.change(cfg.TokensPerMinute)
}

func (n *naiveClient) reserved() (sum int64) {
	for _, m := range n.money {
		sum += m.Nanos
	}
	return sum
}

// waits returns for how many minutes each limit that is asked before the body refuses a
// request.
func (n *naiveClient) waits() map[string]float64 {
	w := map[string]float64{LimitRequests: n.requests.wait(1)}
	if n.cfg.MaxConcurrent > 0 && len(n.flying) >= n.cfg.MaxConcurrent {
		w[LimitConcurrent] = soon.Minutes()
	}
	if limit := n.cfg.nanos(); limit > 0 && n.spent[today()]+n.reserved() >= limit {
		w[LimitCost] = soon.Minutes()
		if n.reserved() == 0 {
			w[LimitCost] = float64(24*60) - math.Mod(float64(time.Now().UnixNano())/6e10, 24*60)
		}
	}
	return w
}

// near is how far times may be from each other, in minutes: a millisecond.
const near = 1e-3 / 60

// Requests, answers, days and reloads in any order: what is admitted, and when to come back,
// is what the naive model says.
func TestClientsAreLikeTheirModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed any
		synctest.Test(t, func(t *testing.T) { // a panic of rapid must not end the bubble's goroutine
			defer func() { failed = recover() }()
			runClients(rt, t)
		})
		switch {
		case rt.Failed():
			rt.FailNow() // rapid tells failures apart by their places: not that of the panic below
		case failed != nil:
			panic(failed)
		}
	})
}

func runClients(t *rapid.T, within *testing.T) {
	memory := &memory{}
	names := []string{"web", "app"}
	models := map[string]*naiveClient{}
	draw := func() (all []Config) {
		for i, name := range names {
			if models[name] == nil {
				models[name] = &naiveClient{spent: map[int64]int64{}}
			}
			if rapid.IntRange(0, 3).Draw(t, name) == 0 {
				continue // is left out
			}
			cfg := Config{
				Name: name, SHA256: hashOf(string("ab"[i])),
				RequestsPerMinute: rapid.SampledFrom([]float64{0, 0.5, 1, 6, 60}).Draw(t, LimitRequests),
				TokensPerMinute:   rapid.SampledFrom([]float64{0, 60, 600, 6000}).Draw(t, LimitTokens),
				MaxConcurrent:     rapid.SampledFrom([]int{0, 1, 3}).Draw(t, LimitConcurrent),
				MaxCostPerDay:     rapid.SampledFrom([]float64{0, 5, 20}).Draw(t, LimitCost),
			}
			models[name].set(cfg)
			all = append(all, cfg)
		}
		return all
	}
	j, err := begin("memory", nil, memory.replace, quiet)
	if err != nil {
		t.Fatal(err)
	}
	j.lock = memory
	book := &Book{dir: "memory", journal: j, byName: map[string]*Client{}}
	book.list(draw())
	defer func() {
		if err := book.Close(); err != nil {
			within.Error(err)
		}
	}()
	pick := func(t *rapid.T) (*Client, *naiveClient) {
		all := book.listed.Load().all
		if len(all) == 0 {
			t.Skip()
		}
		c := rapid.SampledFrom(all).Draw(t, "client")
		return c, models[c.Name()]
	}
	t.Repeat(map[string]func(*rapid.T){
		"request": func(t *rapid.T) {
			c, n := pick(t)
			tokens := rapid.SampledFrom([]int64{0, 1, 50, 700, 9000}).Draw(t, "tokens")
			waits, longest := n.waits(), 0.0
			for _, w := range waits {
				longest = max(longest, w)
			}
			if longest == 0 {
				longest = n.tokens.wait(max(1, float64(tokens)))
				waits[LimitTokens] = longest
			}
			ticket, r := admit(c, tokens)
			switch {
			case longest > 0 && longest < near && r == nil: // too close to tell
			case r == nil && longest > 0, r != nil && longest == 0:
				t.Fatalf("%v, want %v", r, waits)
			case r != nil:
				if math.Abs(r.RetryAfter.Minutes()-longest) > near || math.Abs(waits[r.Limit]-longest) > near {
					t.Fatalf("%v, want %v", r, waits)
				}
				return
			}
			n.requests.take(1)
			asked, took := 0.0, 0.0
			if n.cfg.RequestsPerMinute > 0 {
				asked = 1
			}
			if n.cfg.TokensPerMinute > 0 {
				took = min(float64(tokens), n.tokens.holds())
				n.tokens.take(took)
			}
			n.flying = append(n.flying, flight{ticket, asked, took})
		},
		"answer": func(t *rapid.T) {
			_, n := pick(t)
			if len(n.flying) == 0 {
				t.Skip()
			}
			i := rapid.IntRange(0, len(n.flying)-1).Draw(t, "which")
			f := n.flying[i]
			n.flying = slices.Delete(n.flying, i, i+1)
			used := rapid.SampledFrom([]int64{-1, 0, 40, 2000, 20_000}).Draw(t, "used")
			f.ticket.Done(used)
			f.ticket.Done(used)
			if used >= 0 {
				n.tokens.take(float64(used) - f.took)
			}
		},
		"given back": func(t *rapid.T) {
			_, n := pick(t)
			if len(n.flying) == 0 {
				t.Skip()
			}
			f := n.flying[0]
			n.flying = n.flying[1:]
			f.ticket.Back()
			f.ticket.Done(9000)
			n.requests.take(-f.asked)
			n.tokens.take(-f.took)
		},
		"reserve money": func(t *rapid.T) {
			c, n := pick(t)
			if n.cfg.MaxCostPerDay == 0 {
				if c.Account() != nil {
					t.Fatal("an account without a limit")
				}
				t.Skip()
			}
			want := dollarsOf(rapid.Int64Range(1, 6).Draw(t, "dollars"))
			_, err := c.Account().Reserve(want, want)
			if fits := n.spent[today()]+n.reserved()+want.Nanos <= n.cfg.nanos(); fits != (err == nil) {
				t.Fatalf("%v", err)
			}
			if err == nil {
				n.money = append(n.money, want)
				return
			}
			r := c.Refused(err)
			// What comes back helps only whom it leaves enough.
			helps := n.spent[today()]+want.Nanos <= n.cfg.nanos()
			if r == nil || r.Limit != LimitCost || helps && r.RetryAfter != soon || n.reserved() == 0 && r.RetryAfter == soon || r.RetryAfter <= 0 {
				t.Fatalf("%+v", r)
			}
		},
		"settle money": func(t *rapid.T) {
			c, n := pick(t)
			if len(n.money) == 0 {
				t.Skip()
			}
			lent := n.money[0]
			n.money = n.money[1:]
			used := lent.Nanos * rapid.Int64Range(0, 2).Draw(t, "halves") / 2
			c.account.Settle(lent, endpoint.Amount{Nanos: used})
			n.spent[today()] += used
		},
		"time": func(t *rapid.T) {
			time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 10, 30, 60, 3600, 43_200}).Draw(t, "seconds")) * time.Second)
		},
		"come back": func(t *rapid.T) { // exactly when one was told to
			c, n := pick(t)
			if len(n.flying) > 0 || len(n.money) > 0 {
				t.Skip()
			}
			ticket, r := admit(c, 700)
			for range 2 { // tokens are asked for after all else
				if r == nil {
					break
				}
				first := r
				time.Sleep(r.RetryAfter)
				if ticket, r = admit(c, 700); r != nil && (r.Limit != LimitTokens || first.Limit == LimitTokens) {
					t.Fatalf("%v, and then %v", first, r)
				}
			}
			if r != nil {
				t.Fatal(r)
			}
			ticket.Done(0)
			n.requests.take(1)
			n.tokens.now()
		},
		"reload": func(*rapid.T) {
			if err := book.Reload(draw()); err != nil {
				t.Fatal(err)
			}
		},
		"": func(t *rapid.T) {
			for _, s := range book.All() {
				n := models[s.Name]
				if s.InFlight != len(n.flying) || s.Requests != nil && math.Abs(*s.Requests-n.requests.now()) > 1e-4 || s.Tokens != nil && math.Abs(*s.Tokens-n.tokens.now()) > 1e-2 {
					t.Fatalf("%s: %d in flight, %v, %v, want %d, %v, %v", s.Name, s.InFlight, s.Requests, s.Tokens, len(n.flying), n.requests.now(), n.tokens.now())
				}
				if s.MaxCostPerDay > 0 && (s.Spent != n.spent[today()] || s.Reserved != n.reserved()) {
					t.Fatalf("%s: %+v, want %d and %d", s.Name, s, n.spent[today()], n.reserved())
				}
				if s.MaxCostPerDay > 0 && s.Spent > 20*account.Dollar {
					t.Fatalf("%+v", s)
				}
			}
		},
	})
}
