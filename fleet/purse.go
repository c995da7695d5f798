package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
)

//go:embed purse.lua
var purseText string

var purseScript = &store.Script{Name: "purse", Text: purseText}

const (
	// purseLease is how long a share is nobody else's after a report.
	purseLease = 10 * time.Second
	// renewEvery is how often a purse in which nothing changes is reported.
	renewEvery = 3 * time.Second
	// idleAfter is after which time without a reservation a process gives back all that it
	// has not used, and says nothing more until there is one.
	idleAfter = 10 * time.Minute
	// againAfter is how long nobody asks for more after all was lent that there is.
	againAfter = 100 * time.Millisecond
	// stated is which part of what is left is open to the living together if they need
	// less: what they can go on with when the store is lost.
	stated = 20
	// openAhead and shareAhead are for how many seconds a process opens and leases what it
	// needs, but not more than such a part of what is left: a process that dies takes what
	// is open with it.
	openAhead, openBound   = 2, 10
	shareAhead, shareBound = 10, 4
	// othersBack is within what time after a process all others have reached the store again.
	othersBack = mostRetry + exchangeEvery
	// mostAmount is the largest amount that a script can add without an error.
	mostAmount = 1 << 53
)

var (
	errLost   = errors.New("the fleet's store is lost, so that nothing more can be lent")
	errLate   = errors.New("the fleet's store has not lent more in time")
	errClosed = errors.New("the fleet is closed")
	errJoined = errors.New("the fleet's store has only just come back, so that what others have spent may not be known yet")
)

// Account returns the account of a day whose limit all processes of the fleet have together
// that made one with the same name and day: it is like one of [account.Daily], but what it
// may use of the limit is opened to it part by part, in advance. The days are those of the
// store's clock in a location; nil is UTC. The name is shown in errors too. In a limit, 0
// means no limit; of more than 2^53 nano-dollars or tokens (9 million dollars), 2^53 hold.
// Account waits for the store, for a quarter of a second at most: make it before the calls.
//
// While the store is lost the account goes on with what is open to it: what it needs in two
// seconds, at least a twentieth of what is left divided by the processes, and at most a
// tenth of what is left. Then it refuses, and [account.Error.Err] says why. One that was made
// while the store is lost, or whose day has begun since, has nothing open; in the first six
// seconds after that it uses a twentieth of the limit at most, since the store may be empty, and
// those who know what is spent may come later. One that was not used for ten minutes has nothing open, and is forgotten if
// nobody has it any more.
//
// The processes together never spend more than the limit, as long as no request uses more
// than was reserved for it; each request counts on the day of its reservation. What was
// open to a process that dies counts as spent. If the store is restarted empty or with old
// data, or fails over and loses the last reports, processes put back what they have and what
// they knew of all the others, so that no more can be spent above the limit than was opened
// after the last report of the first one that comes back; if all processes were restarted too,
// the day begins again, or goes on with the old data, and so it does for one that is made in the
// five seconds between the store's return and that of the first of the others.
func (f *Fleet) Account(name string, limit endpoint.Amount, day *time.Location, above ...*account.Account) *account.Account {
	if day == nil {
		day = time.UTC
	}
	a := account.Daily(limit, day, above...)
	a.Name = name
	p := &purse{
		f: f, id: rand.Text()[:8], tag: tagOf("account", name, day.String()), account: weak.Make(a),
		adopted: make(chan struct{}), active: time.Now(), living: 1,
	}
	p.adopt = sync.OnceFunc(func() { close(p.adopted) })
	a.Lender = p
	p.unsure = f.Status().Err != nil
	if !f.add(p) { // who greets the store in vain after that look says it to all parts
		p.stop(errClosed)
		return a
	}
	f.wait(context.Background(), p.adopted, runTimeout) // so that the first request finds something open
	return a
}

// tagOf returns the part of a key in the store that tells apart what has a name. It does not
// depend on the secret, which a process that began without the store does not know.
func tagOf(what ...string) string {
	sum := sha256.New()
	for _, field := range what {
		fmt.Fprintf(sum, "%d:%s", len(field), field)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// purse is this process' part of an account that a fleet shares: its lender. Only the worker
// changes what the lock does not guard.
type purse struct {
	f       *Fleet
	id      string
	tag     string
	account weak.Pointer[account.Account]
	adopted chan struct{} // closed when the store has answered for the first time
	adopt   func()

	mu     sync.Mutex
	lost   error // why the store is not asked
	next   *loan
	scarce time.Time // when all was lent that there is
	// unsure says that the store was lost before it told what is spent on this day: it may be
	// empty when it is back, and this process the first to come. Until surely, those who know may
	// be missing.
	unsure bool
	surely time.Time

	kept     *account.Account // while more is open to it than it has used: nobody else could give that back
	seq      uint64
	day      int64  // of what follows
	epoch    string // "": the store has not answered on this day
	rev      int64  // of the epoch, as far as the store has told
	others   sums   // what is open to other processes, or was
	living   int
	last     *purseReport // that was answered
	lastAt   time.Time
	before   endpoint.Amount // spent and reserved at the last look
	lookedAt time.Time
	rise     endpoint.Amount // of that in a second
	one      endpoint.Amount // a large reservation
	active   time.Time       // when there was one
}

// loan is what reservations wait for.
type loan struct {
	done chan struct{}
	want endpoint.Amount // of all who wait
	one  endpoint.Amount // of the largest
	err  error           // when done is closed
}

func (l *loan) end(err error) {
	if l != nil {
		l.err = err
		close(l.done)
	}
}

// sums are tokens and nano-dollars, as the script takes them.
type sums [2]int64

func sumsOf(a endpoint.Amount) sums {
	return sums{min(a.Tokens, mostAmount), min(a.Nanos, mostAmount)}
}

func (s sums) amount() endpoint.Amount { return endpoint.Amount{Tokens: s[0], Nanos: s[1]} }

// UnmarshalJSON reads texts: numbers would lose their last digits in the script.
func (s *sums) UnmarshalJSON(text []byte) error {
	var both [2]string
	if err := json.Unmarshal(text, &both); err != nil {
		return err
	}
	for i, one := range both {
		n, err := strconv.ParseInt(one, 10, 64)
		if err != nil {
			return err
		}
		s[i] = n
	}
	return nil
}

// purseReport is what a process tells of its part.
type purseReport struct {
	Me       string `json:"me"`
	Sequence uint64 `json:"seq"`
	Epoch    string `json:"epoch"`
	Rev      int64  `json:"rev"`
	New      string `json:"new"` // the epoch, if there is none
	Limit    sums   `json:"limit"`
	Used     sums   `json:"used"`
	Open     sums   `json:"open"`  // what is open already
	Want     sums   `json:"want"`  // what is to be open
	Share    sums   `json:"share"` // what others are not to have
	Total    sums   `json:"total"`
	Lease    int64  `json:"lease"`
	Leaves   bool   `json:"leaves"`

	blind bool // it asks for nothing, since it may be of the wrong day
}

// purseReply is what the script returns.
type purseReply struct {
	Late   bool   `json:"late"`
	Epoch  string `json:"epoch"`
	Rev    int64  `json:"rev"`
	Now    int64  `json:"now,string"`
	Living int    `json:"living"`
	Open   sums   `json:"open"`
	Total  sums   `json:"total"`
	Spent  sums   `json:"spent"`
}

// Now returns the store's time, as far as it is known. See [account.Lender].
func (p *purse) Now() time.Time { return p.f.clock.now() }

// Lend asks the store for more. See [account.Lender].
func (p *purse) Lend(ctx context.Context, want endpoint.Amount) error {
	p.mu.Lock()
	switch {
	case p.lost != nil:
		defer p.mu.Unlock()
		return p.lost
	case time.Now().Before(p.surely):
		p.mu.Unlock()
		return errJoined
	case time.Since(p.scarce) < againAfter:
		p.mu.Unlock()
		return nil
	}
	if p.next == nil {
		p.next = &loan{done: make(chan struct{})}
	}
	l := p.next
	l.want, l.one = plus(l.want, want), larger(l.one, want)
	recently := time.Since(p.scarce) < exchangeEvery
	p.mu.Unlock()
	p.f.wake()
	switch {
	case p.f.wait(ctx, l.done, callWait):
		return l.err
	case recently: // there will hardly be more
		return nil
	}
	return errLate
}

func (p *purse) gone() bool { return p.account.Value() == nil }

func (p *purse) alone(yes bool) {
	if yes {
		p.stop(errLost)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost == errLost {
		p.lost = nil
	}
}

// stop makes reservations do with what is open.
func (p *purse) stop(why error) {
	p.mu.Lock()
	if p.lost != errClosed {
		p.lost = why
	}
	l := p.next
	p.next = nil
	p.mu.Unlock()
	l.end(why)
}

// take returns what reservations wait for, and why the store was lost.
func (p *purse) take() (*loan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.next
	p.next = nil
	return l, p.lost
}

func (p *purse) requests(tick bool) []request {
	l, lost := p.take()
	a := p.account.Value()
	if a == nil || l == nil && !tick {
		return nil
	}
	s := a.Snapshot()
	p.look(s, l)
	if lost != nil && p.last == nil {
		p.doubt()
	}
	r := p.report(a, s, l, lost != nil)
	if l == nil && lost == nil && p.says(r) {
		return nil
	}
	return []request{p.request(r, func(result store.Result) { p.answered(a, r, l, result) })}
}

// look measures what is needed.
func (p *purse) look(s account.Snapshot, l *loan) {
	now, used := time.Now(), plus(s.Spent, s.Reserved)
	if s.Day != p.day {
		p.day, p.epoch, p.rev, p.others, p.living, p.last = s.Day, "", 0, sums{}, 1, nil
		p.before = used
	}
	if used != p.before || l != nil {
		p.active = now
	}
	if l != nil {
		p.one = larger(p.one, l.one)
	}
	if now.Sub(p.lookedAt) < exchangeEvery/2 {
		return
	}
	p.rise = larger(each(used, p.before, func(a, b int64) int64 { return a - b }), share(p.rise, 4, 5))
	p.one = share(p.one, 9, 10)
	p.before, p.lookedAt = used, now
}

func (p *purse) idle() bool { return time.Since(p.active) >= idleAfter }

// report returns what to tell. It takes back what is open and not needed, unless the store
// is lost.
func (p *purse) report(a *account.Account, s account.Snapshot, l *loan, lost bool) *purseReport {
	want, own := p.needs(s, l)
	kept := smaller(s.Open, want)
	if p.last != nil && lower(sumsOf(s.Limit), p.last.Limit) {
		kept = endpoint.Amount{} // others may have the rest of the lower limit
	}
	if kept != s.Open && !lost {
		s = a.Allot(p.day, kept, s.Others)
	}
	p.seq++
	r := &purseReport{
		Me: p.id, Sequence: p.seq, Epoch: p.epoch, Rev: p.rev, New: fmt.Sprint(p.id, p.seq), Limit: sumsOf(s.Limit),
		Used: sumsOf(s.Spent), Open: sumsOf(larger(s.Open, plus(s.Spent, s.Reserved))),
		Lease: purseLease.Milliseconds(), blind: !p.f.clock.known(),
	}
	for i := range r.Open {
		r.Want[i], r.Share[i], r.Total[i] = r.Open[i], r.Open[i], p.others[i]+r.Open[i]
		if !r.blind {
			r.Want[i], r.Share[i] = max(sumsOf(want)[i], r.Open[i]), max(sumsOf(own)[i], r.Open[i])
		}
	}
	return r
}

// lower reports whether a limit was lowered.
func lower(limit, before sums) bool {
	for i := range limit {
		if limit[i] != 0 && (before[i] == 0 || limit[i] < before[i]) {
			return true
		}
	}
	return false
}

// needs returns what is to be open, and what is to be leased: what is used, what will be
// needed soon, or the stated part of what is left, and what reservations wait for.
func (p *purse) needs(s account.Snapshot, l *loan) (want, own endpoint.Amount) {
	used := plus(s.Spent, s.Reserved)
	want, own = used, used
	knows := p.knows()
	if l != nil && knows {
		want, own = plus(want, l.want), plus(own, l.want)
	}
	if p.idle() {
		return want, own
	}
	// Without a limit nothing is left, since nothing must be opened.
	free := larger(endpoint.Amount{}, each(sumsOf(s.Limit).amount(), plus(p.others.amount(), want), func(a, b int64) int64 { return a - b }))
	if !knows { // the stated part of the day, not of what is left each time
		first := share(sumsOf(s.Limit).amount(), 1, stated*int64(p.living))
		want = larger(used, smaller(first, plus(used, free)))
		return want, want
	}
	ahead := func(seconds, bound int64) endpoint.Amount {
		need := larger(share(free, 1, stated*int64(p.living)), plus(share(p.rise, seconds, 1), p.one))
		return smaller(need, share(free, 1, bound))
	}
	return plus(want, ahead(openAhead, openBound)), plus(own, ahead(shareAhead, shareBound))
}

// says reports whether the store knows a report.
func (p *purse) says(r *purseReport) bool {
	last := p.last
	if last == nil {
		return p.idle() && r.Open == sums{}
	}
	same := r.Limit == last.Limit && r.Used == last.Used && r.Open == last.Open && r.Want == last.Want && r.Share == last.Share
	return same && p.knows() && (p.idle() || time.Since(p.lastAt) < renewEvery)
}

func (p *purse) request(r *purseReport, done func(store.Result)) request {
	return request{callOf(purseScript, p.f.keyOf(p.tag, fmt.Sprint("purse:", p.day)), r), done}
}

// answered takes the answer to a report.
func (p *purse) answered(a *account.Account, r *purseReport, l *loan, result store.Result) {
	var answer purseReply
	err := result.Err
	if err == nil {
		err = json.Unmarshal([]byte(result.Text), &answer)
	}
	if err != nil || answer.Late {
		l.end(errLost)
		return
	}
	p.f.clock.set(time.UnixMilli(answer.Now))
	if r.blind {
		p.ask(l)
		return
	}
	p.epoch, p.rev, p.living, p.last, p.lastAt = answer.Epoch, answer.Rev, answer.Living, r, time.Now()
	for i := range p.others {
		p.others[i] = answer.Total[i] - answer.Open[i]
	}
	var why error
	p.mu.Lock()
	if p.unsure {
		p.unsure, p.surely, why = false, time.Now().Add(othersBack), errJoined
	}
	p.mu.Unlock()
	a.Allot(p.day, answer.Open.amount(), answer.Spent.amount())
	if p.kept = a; answer.Open == r.Used {
		p.kept = nil
	}
	if answer.Open[0] < r.Want[0] || answer.Open[1] < r.Want[1] {
		p.mu.Lock()
		p.scarce = time.Now()
		p.mu.Unlock()
	}
	l.end(why)
	p.adopt()
}

// knows reports whether the store has told what others have spent, or would have by now.
func (p *purse) knows() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.unsure && !time.Now().Before(p.surely)
}

// doubt says that the store was lost before it told what is spent.
func (p *purse) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsure = true
}

// ask makes the worker report again, now that the day is known.
func (p *purse) ask(l *loan) {
	if l == nil {
		l = &loan{done: make(chan struct{})}
	}
	p.mu.Lock()
	if p.next == nil {
		p.next, l = l, nil
	}
	p.mu.Unlock()
	l.end(errLate)
	p.f.wake()
}

// leave returns the last report, which gives back all that was not used.
func (p *purse) leave() []request {
	p.stop(errClosed)
	a := p.account.Value()
	if a == nil || p.last == nil {
		return nil
	}
	s := a.Allot(p.day, endpoint.Amount{}, a.Snapshot().Others)
	r := p.report(a, s, nil, true)
	r.Want, r.Share, r.Leaves = r.Open, r.Open, true
	return []request{p.request(r, func(store.Result) {})}
}

// each returns what a function makes of the tokens and the money of two amounts.
func each(a, b endpoint.Amount, of func(a, b int64) int64) endpoint.Amount {
	return endpoint.Amount{Tokens: of(a.Tokens, b.Tokens), Nanos: of(a.Nanos, b.Nanos)}
}

func larger(a, b endpoint.Amount) endpoint.Amount {
	return each(a, b, func(a, b int64) int64 { return max(a, b) })
}

func smaller(a, b endpoint.Amount) endpoint.Amount {
	return each(a, b, func(a, b int64) int64 { return min(a, b) })
}

// plus returns the sum of amounts of which no more than mostAmount counts.
func plus(a, b endpoint.Amount) endpoint.Amount {
	return each(a, b, func(a, b int64) int64 { return min(a, mostAmount) + min(b, mostAmount) })
}

// share returns a part of an amount.
func share(a endpoint.Amount, times, of int64) endpoint.Amount {
	return endpoint.Amount{Tokens: min(a.Tokens, mostAmount) / of * times, Nanos: min(a.Nanos, mostAmount) / of * times}
}

// clock is the time of the store.
type clock struct{ at atomic.Pointer[moment] }

// moment is one by both clocks.
type moment struct{ there, here time.Time }

func (c *clock) known() bool { return c.at.Load() != nil }

func (c *clock) set(there time.Time) { c.at.Store(&moment{there, time.Now()}) }

// now returns the store's time, or that of this process until it is known. It goes on by
// differences alone, so that a clock that is set does not change it.
func (c *clock) now() time.Time {
	m := c.at.Load()
	if m == nil {
		return time.Now()
	}
	return m.there.Add(time.Since(m.here))
}
