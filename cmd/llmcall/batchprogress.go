package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"llmcall"
	"llmcall/failure"
	"llmcall/internal/decimal"
	"llmcall/retry"

	"github.com/charmbracelet/x/ansi"
)

// batchProgress counts what becomes of the rows of a run, for those who look on. It is safe
// for concurrent use.
type batchProgress struct {
	mu       sync.Mutex
	toAsk    int // rows of this run
	valid    int // rows that have their answer
	failed   int // rows without one, by their own fault
	stopped  int // rows that the state of the provider or of the account stopped
	refused  int // requests over a limit of the provider
	inFlight int
	answers  int // requests that were answered, rightly or not
	failures int // requests that the provider failed, but for those over its rate
	cost     llmcall.Cost

	start    time.Time
	answered time.Time // when the last call ended
	waits    retry.WaitReason
	failure  string // the last one of the provider
	kind     failure.Kind
	speed    speed
}

func newBatchProgress(toAsk int) *batchProgress {
	now := time.Now()
	return &batchProgress{toAsk: toAsk, start: now, answered: now, speed: speed{since: now}}
}

// observe is the observer of all calls.
func (p *batchProgress) observe(_ context.Context, e llmcall.Event) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Type {
	case llmcall.EventCallStarted:
		p.inFlight++
	case llmcall.EventCallEnded:
		p.inFlight--
	case llmcall.EventWaiting:
		p.waits = e.WaitReason
	case llmcall.EventAttemptEnded:
		if e.Attempt.Outcome != llmcall.OutcomeFailed {
			p.answers++
			break
		}
		switch e.Attempt.Kind {
		case failure.Cancelled: // by this run
			return nil
		case failure.RateLimited:
			p.refused++
		case failure.Overloaded:
			p.refused++
			p.failures++
		default:
			p.failures++
		}
		p.failure, p.kind = e.Attempt.Error, e.Attempt.Kind
	}
	return nil
}

// rowOutcome is how a row ended, as far as it is counted.
type rowOutcome uint8

const (
	rowValid   rowOutcome = iota
	rowFailed             // by its own fault
	rowStopped            // it is not done
)

// ended counts a row.
func (p *batchProgress) ended(how rowOutcome, cost llmcall.Cost, used bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch how {
	case rowValid:
		p.valid++
	case rowFailed:
		p.failed++
	case rowStopped:
		p.stopped++
	}
	if used {
		p.cost = p.cost.Add(cost)
	}
	if how != rowStopped {
		p.answered = time.Now()
		p.speed.add(p.answered)
	}
}

// settled makes of a row that is not done one that has failed.
func (p *batchProgress) settled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped--
	p.failed++
}

// leastAnswers is how many answers, for each failure, show that a provider works.
const leastAnswers = 20

// answersOthers reports whether the provider fails once in 20 requests at most, not counting
// so many failures: six in a row are then one in 60 million by chance.
func (p *batchProgress) answersOthers(but int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers >= leastAnswers*max(1, p.failures-but)
}

// progressNow is what there is to see at a moment.
type progressNow struct {
	share   float64 // of the rows of this run that are done
	rows    string  // "4,120 of 10,000"
	left    string  // "3m12s left"; "" if it is not known
	counts  []string
	waiting string // why nothing happens; "" if something does
}

// quiet is how long no row ended before the display says why.
const quiet = 5 * time.Second

// now says how far the run is.
func (p *batchProgress) now() progressNow {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	done := p.valid + p.failed
	n := progressNow{share: 1, rows: fmt.Sprintf("%s of %s", grouped(done), grouped(p.toAsk))}
	if p.toAsk > 0 {
		n.share = float64(done) / float64(p.toAsk)
	}
	rate := p.speed.rate(at)
	n.counts = []string{grouped(p.valid) + " valid", grouped(p.failed) + " failed", grouped(p.refused) + " refused"}
	if p.cost.Nanos > 0 {
		n.counts = append(n.counts, aboutDollars(p.cost))
	}
	n.counts = append(n.counts, fmt.Sprintf("%s/s", threeDigits(rate)))
	if p.stopped > 0 {
		n.counts = append(n.counts, grouped(p.stopped)+" not done")
	}
	if rate > 0 && done < p.toAsk {
		n.left = aboutTime(time.Duration(float64(p.toAsk-done)/rate*float64(time.Second))) + " left"
	}
	if silent := at.Sub(p.answered); silent >= quiet && done < p.toAsk {
		n.waiting = "no answer for " + aboutTime(silent)
		switch why := waitWords[p.waits]; {
		case p.kind == failure.Overloaded && (p.waits == retry.PaceWait || p.waits == retry.RateLimitWait):
			n.waiting += ": the provider is overloaded"
		case why != "":
			n.waiting += ": " + why
		}
	}
	return n
}

// waitWords say why calls wait, for somebody who sees that nothing happens.
var waitWords = map[retry.WaitReason]string{
	retry.BackoffWait:   "after a failure of the provider",
	retry.ProviderWait:  "the provider says when to come back",
	retry.RateLimitWait: "the provider limits the rate",
	retry.PaceWait:      "the rate is limited",
	retry.CircuitWait:   "the circuit is open, the provider fails",
}

// line says all of it in one line of a log.
func (n progressNow) line() string {
	text := n.rows + " rows: " + strings.Join(n.counts, ", ")
	if n.left != "" {
		text += ", " + n.left
	}
	if n.waiting != "" {
		text += "; " + n.waiting
	}
	return text
}

// fittedTo joins the texts that a line of a terminal has room for.
func fittedTo(width int, texts []string) string {
	line := ""
	for _, text := range texts {
		longer := line + text
		if line != "" {
			longer = line + "  " + text
		}
		if ansi.StringWidth(longer) > width {
			break
		}
		line = longer
	}
	return line
}

// speed counts what ended in each of the last seconds.
type speed struct {
	since  time.Time // when the first second began
	second int64     // the last one, from since
	counts [30]int   // of the last seconds, each at its number modulo 30
}

func (s *speed) add(at time.Time) {
	s.turn(at)
	s.counts[s.second%int64(len(s.counts))]++
}

// turn empties the seconds that begin.
func (s *speed) turn(at time.Time) {
	second := int64(at.Sub(s.since) / time.Second)
	for n := min(second-s.second, int64(len(s.counts))); n > 0; n-- {
		s.counts[(second-n+1)%int64(len(s.counts))] = 0
	}
	s.second = max(second, s.second)
}

// rate returns how many ended a second.
func (s *speed) rate(at time.Time) float64 {
	s.turn(at)
	total := 0
	for _, n := range s.counts {
		total += n
	}
	over := min(at.Sub(s.since), time.Duration(len(s.counts))*time.Second)
	if over <= 0 {
		return 0
	}
	return float64(total) / max(1, over.Seconds())
}

// grouped writes 10000 as 10,000.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rowsOf counts rows.
func rowsOf(n int) string { return counted(n, "row", "rows") }

// threeDigits writes a rate.
func threeDigits(rate float64) string {
	switch {
	case rate == 0:
		return "0"
	case rate < 9.95:
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return grouped(int(math.Round(rate)))
}

// aboutTime writes a time as somebody would say it, of one or two units.
func aboutTime(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than 1s"
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%s days", grouped(int(d.Hours()/24)))
}

// aboutDollars writes what a run costs: to the cent from a dollar on, else to a hundredth of it.
func aboutDollars(c llmcall.Cost) string {
	unit := int64(100_000) // a hundredth of a cent
	if c.Nanos >= 1_000_000_000 {
		unit = 10_000_000
	}
	text := "$" + decimal.Dollars((c.Nanos+unit/2)/unit*unit, 2)
	if c.Partial {
		return "at least " + text
	}
	return text
}
