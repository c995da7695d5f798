package clients

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/account"
	"llmcall/endpoint"
)

// memory is a disk of which a crash leaves what was synced, and as much of the rest as it
// likes. Its operations fail when they are told to.
type memory struct {
	synced, rest []byte
	other        []byte // what a crash may leave instead, if a replacement failed late; nil: nothing
	fails        string // the operation that fails: "write", "sync", "replace", "rename"; "": none
}

var errDisk = errors.New("input/output error")

func (m *memory) Write(p []byte) (int, error) {
	if m.fails == "write" {
		m.rest = append(m.rest, p[:len(p)/3]...)
		return len(p) / 3, errDisk
	}
	m.rest = append(m.rest, p...)
	return len(p), nil
}

func (m *memory) Sync() error {
	if m.fails == "sync" {
		return errDisk
	}
	m.synced, m.rest = append(m.synced, m.rest...), nil
	return nil
}

func (m *memory) Close() error { return nil }

func (m *memory) replace(text []byte) (disk, error) {
	switch m.fails {
	case "":
		m.synced, m.rest, m.other = slices.Clone(text), nil, nil
		return m, nil
	case "rename": // another file has the name, but perhaps not after a crash
		m.other = slices.Clone(text)
	}
	return nil, errDisk
}

// left returns what a crash leaves, with that much of what was not synced.
func (m *memory) left(share float64, other bool) []byte {
	if other && m.other != nil {
		return m.other
	}
	return append(slices.Clone(m.synced), m.rest[:int(share*float64(len(m.rest)))]...)
}

// bill is a request to a provider, which bills what it has used.
type bill struct {
	lent    endpoint.Amount
	used    int64
	day     int64 // of the request
	settled int64 // the day on which it was
}

// Whatever fails and whenever the process is killed, over many lives and days: the provider
// never bills more than the limit of a day, and if nothing has failed and all was written, the
// next life knows the very amount.
func TestNoCrashPassesACeiling(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed any
		synctest.Test(t, func(*testing.T) { // a panic of rapid must not end the bubble's goroutine
			defer func() { failed = recover() }()
			runCrashes(rt)
		})
		switch {
		case rt.Failed():
			rt.FailNow() // rapid tells failures apart by their places: not that of the panic below
		case failed != nil:
			panic(failed)
		}
	})
}

func runCrashes(t *rapid.T) {
	limit := int64(rapid.IntRange(1, 60).Draw(t, "limit")) * 1000
	m := &memory{}
	var life *journal
	var day *account.Account
	healthy := true
	begin := func(text []byte) {
		m = &memory{synced: text}
		j, err := begin("memory", text, m.replace, quiet)
		if err != nil {
			t.Fatal(err)
		}
		life, day, healthy = j, j.open("web", endpoint.Amount{Nanos: limit}), true
	}
	end := func() { // the goroutine of a life that is over; what it writes is on no disk any more
		m = &memory{}
		life.mu.Lock()
		life.closed = true
		close(life.wake)
		life.mu.Unlock()
		<-life.stopped
	}
	begin(nil)
	defer func() { end() }()
	var past, done, open []bill // of earlier lives, settled, and under way
	var knew, begun int64       // what was spent on the day when this life began
	billed := func(day int64) (sum int64) {
		for _, b := range slices.Concat(past, done, open) {
			if b.day == day {
				sum += b.used
			}
		}
		return sum
	}
	serial := int64(0)
	t.Repeat(map[string]func(*rapid.T){
		"attempt": func(t *rapid.T) {
			serial++ // no two reservations are equal, so that the day of each is known
			n := int64(rapid.IntRange(1, 20).Draw(t, "lent"))*1000 + serial%1000
			lent, err := day.Reserve(endpoint.Amount{Nanos: n}, endpoint.Amount{Nanos: n})
			if err == nil {
				open = append(open, bill{lent, rapid.Int64Range(0, n).Draw(t, "used"), today(), 0})
				return
			}
			if _, state := errors.AsType[*StateError](err); state && healthy {
				t.Fatal(err)
			}
		},
		"answer": func(t *rapid.T) {
			if len(open) == 0 {
				t.Skip()
			}
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			b := open[i]
			open = slices.Delete(open, i, i+1)
			day.Settle(b.lent, endpoint.Amount{Nanos: b.used})
			b.settled = today()
			done = append(done, b)
		},
		"written": func(*rapid.T) { synctest.Wait() },
		"time": func(t *rapid.T) {
			time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 60, 3600, 86_400, 3 * 86_400}).Draw(t, "seconds")) * time.Second)
		},
		"fail": func(t *rapid.T) {
			synctest.Wait()
			m.fails = rapid.SampledFrom([]string{"", "write", "sync", "replace", "rename"}).Draw(t, "what")
			healthy = healthy && m.fails == ""
		},
		"kill": func(t *rapid.T) {
			synctest.Wait()
			text := m.left(rapid.Float64Range(0, 1).Draw(t, "share"), rapid.Bool().Draw(t, "other"))
			exact := healthy && rapid.Bool().Draw(t, "nothing is lost")
			if exact {
				text = m.left(1, false)
			}
			want := int64(0) // what this life has begun with, what was settled, and what was not
			if begun == today() {
				want = knew
			}
			for _, b := range done {
				if b.settled == today() {
					want += b.used
				}
			}
			for _, b := range open {
				if b.day == today() {
					want += b.lent.Nanos
				}
			}
			end()
			begin(text)
			past, done, open = slices.Concat(past, done, open), nil, nil
			knew, begun = day.Snapshot().Spent.Nanos, today()
			if knew < billed(today()) || exact && knew != want {
				t.Fatalf("the next life knows of %d, the provider has billed %d, want %d", knew, billed(today()), want)
			}
		},
		"": func(t *rapid.T) {
			if sum := billed(today()); sum > limit {
				t.Fatalf("%d are billed, above %d", sum, limit)
			}
		},
	})
}
