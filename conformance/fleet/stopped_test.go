//go:build unix && !wrongclock

package fleet

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"llmcall/fleet"
	"llmcall/internal/servers"
)

// stop has a worker stand still by SIGSTOP, as a machine does whose lid is closed or that is moved,
// and resume has it go on.
func (c *crew) stop(number int) { c.signal(number, syscall.SIGSTOP) }

func (c *crew) resume(number int) { c.signal(number, syscall.SIGCONT) }

func (c *crew) signal(number int, s syscall.Signal) {
	c.t.Helper()
	if err := c.workers[number].cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// A holder is before a provider, and holds the next request when it is told to.
type holder struct {
	*httptest.Server
	next atomic.Bool
	held chan int      // the worker whose request is held
	pass chan struct{} // lets it through
	done chan struct{} // it was answered
}

func holding(t *testing.T, provider *source) *holder {
	h := &holder{held: make(chan int, 1), pass: make(chan struct{}), done: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.next.CompareAndSwap(true, false) {
			worker, err := strconv.Atoi(r.Header.Get(workerHeader))
			if err != nil {
				t.Error(err)
			}
			h.held <- worker
			<-h.pass
			defer close(h.done)
		}
		provider.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

// A process stands still in the middle of a probe, until long after the lease has ended and others
// have probed. What its probe has found by then is of an earlier generation, and changes nothing:
// neither for the others nor for itself.
func TestAStoppedProbe(t *testing.T) {
	for _, row := range []struct {
		name string
		late bool // what it finds: the provider is down
	}{{"finds the provider well", false}, {"finds the provider down", true}} {
		t.Run(row.name, func(t *testing.T) {
			atOnce(t)
			store, provider := servers.Redis(t), newSource(t)
			front := holding(t, provider)
			const processes = 4
			brief := circuit
			brief.ProbeLease = 2 * time.Second
			c := hire(t, processes, job{Store: store.URL, Provider: front.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8, Circuit: brief})
			operator, err := fleet.Open(store.URL, fleet.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer operator.Close()
			c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
			c.begin()
			time.Sleep(time.Second)
			broke := provider.breaks(true)
			c.wait(10*time.Second, "all circuits to open", func() bool { return len(c.first("OPEN", broke)) == processes })
			time.Sleep(200 * time.Millisecond) // what was under way has ended
			front.next.Store(true)
			stopped := <-front.held
			c.stop(stopped)
			probed := circuitIn(t, operator)
			at := time.Now().Round(0)

			provider.breaks(row.late)
			close(front.pass)
			<-front.done
			provider.breaks(!row.late)
			others := func(state string) bool {
				seen := c.first(state, at)
				delete(seen, stopped)
				return len(seen) == processes-1
			}
			if row.late {
				c.wait(20*time.Second, "the others to close", func() bool { return others("CLOSED") })
			} else {
				c.wait(20*time.Second, "the others to have probed", func() bool { return others("OPEN") })
			}
			if time.Since(at) < 2*time.Second {
				t.Errorf("the others probed after %v", time.Since(at))
			}
			time.Sleep(3 * time.Second)
			before := circuitIn(t, operator)
			resumed := time.Now().Round(0)
			c.resume(stopped)
			time.Sleep(1500 * time.Millisecond)
			after := circuitIn(t, operator)
			wrong := "CLOSED"
			if row.late {
				wrong = "OPEN"
				if after.Generation != before.Generation || after.State != before.State {
					t.Errorf("before: %+v\nafter: %+v", before, after)
				}
				c.wait(10*time.Second, "it to close", func() bool { return !c.first("CLOSED", resumed)[stopped].IsZero() })
			}
			for worker, when := range c.first(wrong, resumed) {
				if worker == stopped && c.lostSince(resumed) {
					continue // it was alone for a moment, since what it had asked the store was not answered in time
				}
				t.Errorf("worker %d was %s %v after worker %d went on", worker, wrong, when.Sub(resumed), stopped)
			}
			if n := most(provider.seen(at, resumed)); !row.late && n > 1 {
				t.Errorf("%d probes at a time", n)
			}
			whole := provider.breaks(false)
			if !row.late {
				c.wait(20*time.Second, "all circuits to close", func() bool { return len(c.first("CLOSED", whole)) == processes })
			}
			t.Logf("worker %d stood still for %v, from generation %d on; it went on in generation %d, and after it was %d",
				stopped, resumed.Sub(at).Round(time.Millisecond), probed.Generation, before.Generation, after.Generation)
		})
	}
}

// Processes stand still for longer than their leases last, one of them with a clock that has leapt
// when it goes on. What was open to them counts as theirs; the rest goes to the others, and they
// spend no more than what was open until they have asked again.
func TestStoppedProcessesThatSpend(t *testing.T) {
	atOnce(t)
	store := servers.Redis(t)
	const limit = spenders * each * 50 * 6
	what := spendingOf(limit, 1_000_000_000)
	j := job{Store: store.URL, Spend: what}
	c := hire(t, spenders-1, j)
	leaps := j
	leaps.Clock = []turn{{By: time.Second}, {After: 4 * time.Second, By: 14 * time.Second}}
	c.join(leaps)
	c.wait(time.Minute, "all workers to be ready", func() bool { return c.count(ready) == spenders })
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	c.begin()
	time.Sleep(2 * time.Second)
	still := []int{0, spenders - 1}
	for _, worker := range still {
		c.stop(worker)
	}
	at := time.Now().Round(0)
	time.Sleep(13 * time.Second)
	resumed := time.Now().Round(0)
	before := sum(c.of(spent, "dry", false, time.Time{}, resumed))
	for _, worker := range still {
		c.resume(worker)
	}
	time.Sleep(3 * time.Second)
	end := time.Now().Round(0)
	c.dismiss()
	got := sum(c.of(spent, "dry", false, time.Time{}, end.Add(time.Hour)))
	left, known := rest(t, store.URL, what, "dry", limit)
	// What is open to a process is at most a tenth of what is left, and what is under way.
	if most := int64(limit)/10*int64(len(still)) + spenders*each; before < limit-most {
		t.Errorf("%d of %d were spent before they went on", before, int64(limit))
	}
	if got > limit || got+left != limit {
		t.Errorf("%d were spent of %d, and %d are left (%+v)", got, int64(limit), left, known)
	}
	level := highest(c.of(taken, "meter", false, time.Time{}, end.Add(time.Hour)), perMeter)
	if most := perMeter + 3*perMeter/60.0 + spenders*100; level > most {
		t.Errorf("the meter was full with %.0f, want at most %.0f", level, most)
	}
	t.Logf("%v stood still for %v; of %d others had spent %d, and all %d in the end; the meter was full with %.0f of %d",
		still, resumed.Sub(at).Round(time.Millisecond), int64(limit), before, got, level, perMeter)
}

// The others take over the part of a process that stands still, of the requests a minute that are
// allowed; when it goes on, all together are within the limit again.
func TestAStoppedProcessThatHasAPartOfTheRate(t *testing.T) {
	full(t)
	store, provider := servers.Redis(t), newTeller(t)
	const perSecond = 50
	c := hire(t, 4, job{
		Store: store.URL, Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 4, Circuit: circuit, PerMinute: perSecond * 60,
	})
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	c.begin()
	time.Sleep(3 * time.Second)
	c.stop(1)
	at := time.Now()
	time.Sleep(8 * time.Second)
	resumed := time.Now()
	c.resume(1)
	time.Sleep(4 * time.Second)
	end := time.Now()
	for _, part := range []struct {
		name        string
		from, until time.Time
	}{{"stopped", at.Add(2 * time.Second), resumed}, {"on again", resumed, end}} {
		n, seconds := provider.between(part.from, part.until), part.until.Sub(part.from).Seconds()
		t.Logf("%s: %d requests in %.1f s", part.name, n, seconds)
		if most := math.Ceil(perSecond * (seconds + 1)); float64(n) > most || float64(n) < perSecond*seconds/2 {
			t.Errorf("%s: %d requests in %.1f s, want at most %.0f and not much less", part.name, n, seconds, most)
		}
	}
}
