package page

import (
	"slices"
	"strings"
	"time"

	"llmcall"
	"llmcall/failure"
)

// The time line of a model: so many buckets of so long.
const (
	buckets   = 30
	perBucket = 10 * time.Second
	span      = buckets * perBucket
)

// laps is how many answers of a model its latencies are taken from.
const laps = 256

// kinds bounds the kinds of failure that are told apart.
const kinds = 32

// modelStats is how a model did.
type modelStats struct {
	buckets  [buckets]tally // see bucket
	laps     [laps]lap      // of the last answers, as a ring
	nextLap  int
	attempts int64 // since the start
	tokens   int64
	cost     llmcall.Cost
}

// lap is how long an answer took.
type lap struct {
	at   int64 // the number of its bucket
	took time.Duration
}

// tally counts the attempts that ended in a bucket's time.
type tally struct {
	number   int64 // of the bucket, since 1970
	answered uint32
	wrong    uint32        // did not pass its checks, or was cut off
	failed   [kinds]uint32 // by kind
}

func bucketOf(t time.Time) int64 { return t.Unix() / int64(perBucket/time.Second) }

// bucket returns where that of a number is. A clock that nobody has set begins with 1970, and
// five minutes before that are asked for too.
func (m *modelStats) bucket(n int64) *tally { return &m.buckets[(n%buckets+buckets)%buckets] }

// count records an attempt that has ended. The caller holds the lock.
func (r *Ring) count(a *llmcall.Attempt, now time.Time) {
	r.model(a.Model).count(a, now)
	if a.Hedge != nil {
		r.model(a.Hedge.Model).count(a.Hedge, now)
	}
}

// model returns the statistics of a model. Of further models than are kept apart, it is
// "other".
func (r *Ring) model(name string) *modelStats {
	m := r.models[name]
	if m == nil && len(r.models) >= maxModels {
		name = "other"
		m = r.models[name]
	}
	if m == nil {
		m = new(modelStats)
		r.models[name] = m
	}
	return m
}

func (m *modelStats) count(a *llmcall.Attempt, now time.Time) {
	n := bucketOf(now)
	t := m.bucket(n)
	if t.number != n {
		*t = tally{number: n}
	}
	m.attempts++
	m.tokens += a.Usage.InputTokens + a.Usage.OutputTokens + a.CheckUsage.InputTokens + a.CheckUsage.OutputTokens
	m.cost = m.cost.Add(a.Cost)
	switch a.Outcome {
	case llmcall.OutcomeLost:
		return
	case llmcall.OutcomeFailed:
		t.failed[min(int(a.Kind), kinds-1)]++
		return
	case llmcall.OutcomeInvalid, llmcall.OutcomeCutOff:
		t.wrong++
	default:
		t.answered++
	}
	m.laps[m.nextLap] = lap{n, a.Duration}
	m.nextLap = (m.nextLap + 1) % laps
}

// recent is how a model did in the last five minutes.
type recent struct {
	bars     [buckets]bar // the oldest first
	answered int
	wrong    int
	limited  int
	failed   int
	other    int
	kinds    []kindCount // the most frequent first
	p50, p95 time.Duration
	attempts int64 // since the start
	tokens   int64
	cost     llmcall.Cost
}

// bar is a bucket as it is drawn.
type bar struct{ answered, wrong, limited, failed, other int }

type kindCount struct {
	Kind string
	N    int
	Tone string // "limited", "failed" or "other"
}

// recentOf returns how the models did, by name. What a failure says about its provider is
// read from the table.
func (r *Ring) recentOf(now time.Time, table *failure.Table) map[string]*recent {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]*recent, len(r.models))
	for name, m := range r.models {
		all[name] = m.recent(bucketOf(now), table)
	}
	return all
}

func (m *modelStats) recent(last int64, table *failure.Table) *recent {
	s := &recent{attempts: m.attempts, tokens: m.tokens, cost: m.cost}
	var failed [kinds]int
	for i := range s.bars {
		n := last - buckets + 1 + int64(i)
		t := m.bucket(n)
		if t.number != n {
			continue
		}
		b := &s.bars[i]
		b.answered, b.wrong = int(t.answered), int(t.wrong)
		for k, count := range t.failed {
			failed[k] += int(count)
			*b.of(toneOf(failure.Kind(k), table)) += int(count)
		}
		s.answered += b.answered
		s.wrong += b.wrong
		s.limited += b.limited
		s.failed += b.failed
		s.other += b.other
	}
	for k, n := range failed {
		if n > 0 {
			s.kinds = append(s.kinds, kindCount{strings.ReplaceAll(failure.Kind(k).String(), "_", " "), n, toneOf(failure.Kind(k), table)})
		}
	}
	slices.SortStableFunc(s.kinds, func(a, b kindCount) int { return b.N - a.N })
	var times []time.Duration
	for _, l := range m.laps {
		if l.at > last-buckets && l.at <= last {
			times = append(times, l.took)
		}
	}
	slices.Sort(times)
	s.p50, s.p95 = quantile(times, 50), quantile(times, 95)
	return s
}

// quantile returns the duration within which a share of the answers came, in percent; 0
// without any.
func quantile(sorted []time.Duration, share int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*share+99)/100-1]
}

// toneOf says what a failure says about the provider: that it limits, that it fails, or
// something else, such as that the request was wrong.
func toneOf(k failure.Kind, table *failure.Table) string {
	switch table.For(k).Breaker {
	case failure.Limit:
		return "limited"
	case failure.Count, failure.Trip:
		return "failed"
	}
	return "other"
}

func (b *bar) of(tone string) *int {
	switch tone {
	case "limited":
		return &b.limited
	case "failed":
		return &b.failed
	}
	return &b.other
}

func (b bar) total() int { return b.answered + b.wrong + b.limited + b.failed + b.other }
