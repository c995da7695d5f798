package clients

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"
)

// The journal is lines of JSON. The first one says what it is; each other one is an entry:
//
//	{"journal":"llmcall clients","version":1,"unit":"1e-9 USD"}
//	{"client":"web","day":"2026-11-26","reserved":1500000}
//	{"client":"web","day":"2026-11-26","settled":1500000,"used":420000}
//	{"client":"web","day":"2026-11-26","spent":420000}
//
// A journal that was written as a whole has, for each client, what is reserved and not
// settled, and in the last form all that was spent on the day so far.
type record struct {
	Client   string `json:"client"`
	Day      string `json:"day"`
	Reserved *int64 `json:"reserved,omitempty"`
	Settled  *int64 `json:"settled,omitempty"`
	Used     *int64 `json:"used,omitempty"`
	Spent    *int64 `json:"spent,omitempty"`
}

const head = `{"journal":"llmcall clients","version":1,"unit":"1e-9 USD"}` + "\n"

const secondsOfDay = 86_400

// line returns the record as a line.
func (r *record) line() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	return append(text, '\n')
}

func dateOf(day int64) string { return time.Unix(day*secondsOfDay, 0).UTC().Format(time.DateOnly) }

func dayOf(date string) (int64, error) {
	t, err := time.Parse(time.DateOnly, date)
	return t.Unix() / secondsOfDay, err
}

// states are what is known of each client's account, by their names. The writer of the
// journal and its reader have the same.
type states map[string]*state

// state is what is known of an account.
type state struct {
	day   int64 // since 1 January 1970, in UTC
	spent int64 // nano-dollars, on that day
	// before is the day that was charged before that, and what was spent on it; 0 if the clock
	// was set back from it.
	before struct{ day, spent int64 }
	// open has the days of the reservations that are not settled, the oldest first, by
	// their amounts. Of equal amounts the oldest is taken for the one that is settled: if
	// it is another, one too many is left on the later day.
	open map[int64][]int64
}

func (all states) of(name string) *state {
	s := all[name]
	if s == nil {
		s = &state{open: map[int64][]int64{}}
		all[name] = s
	}
	return s
}

// turn makes the day that of an entry. It follows the account: see [account.Daily].
func (s *state) turn(day int64) {
	switch {
	case day > s.day:
		spent := int64(0)
		if day != s.before.day {
			spent, s.spent = s.spent, 0
		}
		s.before.day, s.before.spent, s.day = s.day, spent, day
	case day < s.day-1:
		if s.before.day >= day {
			s.spend(s.before.spent)
		}
		s.before.day, s.before.spent, s.day = s.day, 0, day
	}
}

// latest returns the latest day of the account: today, or the one from which the clock was set
// back.
func (s *state) latest() int64 { return max(s.day, s.before.day) }

func (s *state) reserve(day, amount int64) {
	s.turn(day)
	s.open[amount] = append(s.open[amount], day)
}

func (s *state) settle(day, lent, used int64) {
	s.turn(day)
	if days := s.open[lent]; len(days) > 1 {
		s.open[lent] = days[1:]
	} else {
		delete(s.open, lent)
	}
	s.spend(used)
}

func (s *state) spend(amount int64) {
	if s.spent > math.MaxInt64-amount {
		amount = math.MaxInt64 - s.spent
	}
	s.spent += amount
}

// close takes what is not settled as spent on its day: nobody will settle it any more.
func (s *state) close() (lost int) {
	for _, o := range s.sorted() {
		lost++
		if o.day >= s.day {
			s.spend(o.amount)
		}
	}
	clear(s.open)
	return lost
}

// apply adds an entry.
func (all states) apply(r *record) error {
	day, err := dayOf(r.Day)
	if err != nil {
		return err
	}
	for _, n := range []*int64{r.Reserved, r.Settled, r.Used, r.Spent} {
		if n != nil && *n < 0 {
			return fmt.Errorf("%d is below 0", *n)
		}
	}
	reserved, settled, spent := r.Reserved != nil, r.Settled != nil && r.Used != nil, r.Spent != nil
	switch {
	case r.Client == "":
		return errors.New("no client is named")
	case reserved && r.Settled == nil && r.Used == nil && !spent:
		all.of(r.Client).reserve(day, *r.Reserved)
	case settled && !reserved && !spent:
		all.of(r.Client).settle(day, *r.Settled, *r.Used)
	case spent && !reserved && r.Settled == nil && r.Used == nil:
		s := all.of(r.Client)
		s.turn(day)
		s.spend(*r.Spent)
	default:
		return errors.New(`takes "reserved", "settled" with "used", or "spent"`)
	}
	return nil
}

// keptFor is for how many days what was spent is known: the clock may be wrong when a process
// begins.
const keptFor = 31

// whole returns a journal that has what is known on a day, and forgets what is old.
func (all states) whole(day int64) []byte {
	var b bytes.Buffer
	b.WriteString(head)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		if s.day+keptFor < day && len(s.open) == 0 {
			delete(all, name)
			continue
		}
		for _, o := range s.sorted() {
			b.Write((&record{Client: name, Day: dateOf(o.day), Reserved: &o.amount}).line())
		}
		b.Write((&record{Client: name, Day: dateOf(s.latest()), Spent: &s.spent}).line()) // last, since it is of the latest day
	}
	return b.Bytes()
}

// promise is a reservation that is not settled.
type promise struct{ day, amount int64 }

// sorted returns the reservations that are not settled, the oldest first.
func (s *state) sorted() []promise {
	var all []promise
	for amount, days := range s.open {
		for _, day := range days {
			all = append(all, promise{day, amount})
		}
	}
	slices.SortFunc(all, func(a, b promise) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.amount, b.amount)) })
	return all
}

// found is what a reader has found in a journal besides its entries.
type found struct {
	cut  int // bytes of a last line that is not whole
	lost int // lines that a loss of power has damaged: they were never waited for
}

// read reads a journal. A last line without its end is left out: a process was killed while
// it wrote. So are lines with zeros, which file systems show after a loss of power instead
// of what was not synced; no request was made for them. Anything else that is not an entry
// is an error: the journal is not ours, or damaged.
func read(text []byte) (states, found, error) {
	all, f := states{}, found{}
	for number := 1; len(text) > 0; number++ {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		text = rest
		switch {
		case !ended:
			f.cut = len(line)
			return all, f, nil
		case bytes.IndexByte(line, 0) >= 0:
			f.lost++
			continue
		case number == 1:
			if string(line) != head[:len(head)-1] {
				return nil, f, fmt.Errorf("line 1 is not that of a journal of this version: %s", head[:len(head)-1])
			}
			continue
		}
		var r record
		from := json.NewDecoder(bytes.NewReader(line))
		from.DisallowUnknownFields()
		err := from.Decode(&r)
		if _, more := from.Token(); err == nil && !errors.Is(more, io.EOF) {
			err = errors.New("something follows the entry")
		}
		if err == nil {
			err = all.apply(&r)
		}
		if err != nil {
			return nil, f, fmt.Errorf("line %d is not an entry: %w", number, err)
		}
	}
	return all, f, nil
}
