package pace_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/pace"
)

// A provider admits a request at the moment of its sending, or refuses it. What
// it tells comes with the answer or the refusal. It is called by one at a time.
type provider interface {
	admit(now time.Duration) bool
	tell(now time.Duration, refused bool) *pace.Told
	ended(now time.Duration) // of an admitted request
}

// bucket is a token bucket whose rate may change.
type bucket struct {
	rate  func(time.Duration) float64
	burst float64
	hint  string // "", "exact", "1s", "windows", "windows, exact"
	level float64
	at    time.Duration
	fresh bool
}

func perSecond(r float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return r }
}

func (b *bucket) fill(now time.Duration) {
	if !b.fresh {
		b.level, b.fresh = b.burst, true
	}
	b.level = min(b.burst, b.level+b.rate(now)*(now-b.at).Seconds())
	b.at = now
}

func (b *bucket) admit(now time.Duration) bool {
	b.fill(now)
	if b.level < 1-1e-9 {
		return false
	}
	b.level--
	return true
}

func (b *bucket) ended(time.Duration) {}

func (b *bucket) tell(now time.Duration, refused bool) *pace.Told {
	b.fill(now)
	switch {
	case b.hint == "exact" && refused:
		return &pace.Told{HasWait: true, Wait: time.Duration(max(0, 1-b.level) / b.rate(now) * 1e9)}
	case b.hint == "1s" && refused:
		return &pace.Told{HasWait: true, Wait: time.Second}
	case b.hint == "windows" || b.hint == "windows, exact":
		told := &pace.Told{Windows: []pace.Window{{Limit: int64(b.burst), Remaining: int64(b.level), Reset: time.Duration((b.burst - b.level) / b.rate(now) * 1e9)}}}
		if refused && b.hint != "windows" {
			told.HasWait, told.Wait = true, time.Duration(max(0, 1-b.level)/b.rate(now)*1e9)
		}
		return told
	}
	return nil
}

// fixed is a window that begins anew all at once.
type fixed struct {
	limit  int
	length time.Duration // 0: a minute
	told   bool
	begin  time.Duration
	used   int
}

func (f *fixed) turn(now time.Duration) {
	f.length = cmp.Or(f.length, time.Minute)
	if now-f.begin >= f.length {
		f.begin, f.used = now.Truncate(f.length), 0
	}
}

func (f *fixed) admit(now time.Duration) bool {
	f.turn(now)
	if f.used >= f.limit {
		return false
	}
	f.used++
	return true
}

func (f *fixed) tell(now time.Duration, _ bool) *pace.Told {
	if !f.told {
		return nil
	}
	f.turn(now)
	return &pace.Told{Windows: []pace.Window{{Limit: int64(f.limit), Remaining: int64(f.limit - f.used), Reset: f.begin + f.length - now}}}
}

func (f *fixed) ended(time.Duration) {}

// crew is a server that works on so many at a time and queues so many more.
type crew struct {
	slots, queue int
	inside       int
	each         time.Duration
	free         []time.Duration
}

func (c *crew) admit(time.Duration) bool {
	if c.inside >= c.slots+c.queue {
		return false
	}
	c.inside++
	return true
}

func (c *crew) tell(_ time.Duration, refused bool) *pace.Told {
	if refused {
		return &pace.Told{Overload: true}
	}
	return nil
}
func (c *crew) ended(time.Duration) { c.inside-- }

// run is a number of jobs that workers do through pacers at one provider, with a
// loop that does what a retry loop does: a refused job goes back into the
// queue, at least 100 ms after its last request.
type run struct {
	provider provider
	jobs     int
	workers  int
	answer   time.Duration // how long an accepted request takes, header last
	refusal  time.Duration // how long a refusal takes; default 30 ms
	deadline time.Duration // of each job; 0: none
	start    time.Duration // when the workers begin
	until    time.Duration // no job begins later; 0: no end
	pacer    *pace.Pacer
	crew     *crew
	pause    time.Duration // of a worker before each job, on the average; 0: none
	unpaced  bool          // without a pacer: a told second is obeyed by the job that it was told
	seed     uint64        // of the pauses

	chance   *rand.Rand
	begin    time.Time
	left     int
	done     int
	failed   map[string]int
	accepted []time.Duration // when the requests were sent
	refused  []time.Duration
	heard    time.Duration // when the first refusal was read
	burst    int           // refusals of requests that were sent before
}

func (r *run) now() time.Duration { return time.Since(r.begin) }

func (r *run) work(ctx context.Context, mu *sync.Mutex) {
	for {
		mu.Lock()
		if r.left == 0 || r.until > 0 && r.now() >= r.until {
			mu.Unlock()
			return
		}
		r.left--
		pause := time.Duration(r.chance.Float64() * 2 * float64(r.pause))
		mu.Unlock()
		time.Sleep(pause)
		err := r.job(ctx, mu)
		mu.Lock()
		if err == nil {
			r.done++
		} else {
			r.failed[err.Error()]++
		}
		mu.Unlock()
	}
}

func (r *run) job(ctx context.Context, mu *sync.Mutex) error {
	if r.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.deadline)
		defer cancel()
	}
	for attempt := 0; ; attempt++ {
		var turn pace.Turn
		if !r.unpaced {
			var err error
			if turn, err = r.pacer.Wait(ctx, pace.Cost{Again: attempt > 0}); err != nil {
				return err
			}
		}
		mu.Lock()
		sent := r.now()
		ok := r.provider.admit(sent)
		if ok {
			r.accepted = append(r.accepted, sent)
		} else {
			r.refused = append(r.refused, sent)
			if r.heard == 0 || sent < r.heard {
				r.burst++
			}
		}
		mu.Unlock()
		if ok {
			r.serve(mu)
			mu.Lock()
			r.provider.ended(r.now())
			told := r.provider.tell(r.now(), false)
			mu.Unlock()
			r.pacer.Accepted(turn, told)
			r.pacer.Done(turn)
			return nil
		}
		mu.Lock()
		told := r.provider.tell(r.now(), true)
		mu.Unlock()
		time.Sleep(r.refusal)
		mu.Lock()
		if r.heard == 0 {
			r.heard = r.now()
		}
		mu.Unlock()
		if r.unpaced && told != nil {
			time.Sleep(told.Wait)
		}
		r.pacer.Refused(turn, told)
		r.pacer.Done(turn)
		time.Sleep(100*time.Millisecond - (r.now() - sent))
	}
}

// serve waits for the answer; a crew's workers take one after the other.
func (r *run) serve(mu *sync.Mutex) {
	if r.crew == nil {
		time.Sleep(r.answer)
		return
	}
	mu.Lock()
	first := 0
	for i, f := range r.crew.free {
		if f < r.crew.free[first] {
			first = i
		}
	}
	end := max(r.now(), r.crew.free[first]) + r.crew.each
	r.crew.free[first] = end
	mu.Unlock()
	time.Sleep(end - r.now())
}

// together does runs at one time.
func together(t *testing.T, runs ...*run) {
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		var mu sync.Mutex
		begin := time.Now()
		for _, r := range runs {
			r.begin, r.left, r.failed, r.chance = begin, r.jobs, map[string]int{}, rand.New(rand.NewPCG(r.seed, 5))
			if r.pacer == nil {
				r.pacer = &pace.Pacer{Rand: rand.New(rand.NewPCG(1, 2)).Float64}
			}
			if r.refusal == 0 {
				r.refusal = 30 * time.Millisecond
			}
			for range r.workers {
				all.Go(func() {
					time.Sleep(r.start)
					r.work(t.Context(), &mu)
				})
			}
		}
		all.Wait()
	})
}

func (r *run) last() time.Duration {
	if len(r.accepted) == 0 {
		return 0
	}
	return r.accepted[len(r.accepted)-1]
}

// refusals after the first burst
func (r *run) later() int { return len(r.refused) - r.burst }

func (r *run) share() float64 { return float64(r.later()) / float64(max(1, r.done)) }

func TestTokenBucketsWithoutAHint(t *testing.T) {
	for _, row := range []struct{ limit, burst, jobs, part, refusals float64 }{
		{1, 5, 500, 0.92, 0.15}, {2, 5, 500, 0.92, 0.05}, {5, 5, 1000, 0.92, 0.05}, {10, 5, 2000, 0.92, 0.05}, {20, 5, 4000, 0.92, 0.05}, {50, 5, 10000, 0.92, 0.05},
		{0.05, 3, 400, 0.90, 1.2}, {0.05, 5, 400, 0.90, 1.2}, {0.1, 3, 400, 0.90, 1.2}, {0.1, 5, 400, 0.90, 1.2},
		{0.2, 3, 400, 0.90, 1.2}, {0.2, 5, 400, 0.90, 1.2}, {0.5, 3, 400, 0.90, 1.2}, {0.5, 5, 400, 0.90, 1.2},
		// A bucket of one has no room for a turn that comes too soon: reported, and
		// held to no more than that it stays so.
		{0.05, 1, 400, 0.65, 1.2}, {0.1, 1, 400, 0.7, 0.8}, {0.2, 1, 400, 0.7, 0.8}, {0.5, 1, 400, 0.75, 0.2}, {1, 1, 400, 0.8, 0.1}, {10, 1, 2000, 0.85, 0.05},
	} {
		for _, answer := range []time.Duration{200 * time.Millisecond, 2 * time.Second, 10 * time.Second, 30 * time.Second} {
			r := &run{
				provider: &bucket{rate: perSecond(row.limit), burst: row.burst}, jobs: int(row.jobs), answer: answer,
				workers: max(30, int(2*row.limit*answer.Seconds())),
			}
			together(t, r)
			ideal := (row.jobs - row.burst) / row.limit
			part := ideal / r.last().Seconds()
			t.Logf("%5.2f/s burst %.0f, answers of %4v: %d of %.0f, %3.0f %% of the limit, %.3f refusals a success", row.limit, row.burst, answer, r.done, row.jobs, 100*part, r.share())
			if r.done != r.jobs || part < row.part || r.share() > row.refusals {
				t.Errorf("want %.0f %%, %.2f", 100*row.part, row.refusals)
			}
		}
	}
}

func TestFixedWindowsWithoutAHint(t *testing.T) {
	for _, row := range []struct {
		limit    int
		refusals float64
	}{{60, 0.30}, {600, 0.15}} {
		r := &run{provider: &fixed{limit: row.limit}, jobs: max(500, row.limit*10/3), workers: 30, answer: 2 * time.Second}
		together(t, r)
		ideal := time.Duration((r.jobs-1)/row.limit) * time.Minute
		t.Logf("%d a minute: %d of %d in %.0f s (at least %v), %.3f refusals a success", row.limit, r.done, r.jobs, r.last().Seconds(), ideal, r.share())
		if r.done != r.jobs || r.share() > row.refusals || r.last() > ideal+time.Minute {
			t.Errorf("want %.2f, within a minute more than the ideal time", row.refusals)
		}
	}
}

// With windows told there is hardly a refusal after the first burst. (Where more is
// in flight than a bucket holds, its counts say little: what is in flight counts
// against them, and a window that begins again is taken for a full bucket.)
func TestTokenBucketsWithWindows(t *testing.T) {
	for _, row := range []struct{ limit, burst, refusals float64 }{
		{1, 5, 0.2}, {1, 60, 0.01}, {10, 5, 0.02}, {10, 60, 0.25}, {10, 600, 0.01}, {50, 60, 0.03}, {50, 600, 0.8},
	} {
		for _, answer := range []time.Duration{200 * time.Millisecond, 2 * time.Second, 10 * time.Second} {
			r := &run{
				provider: &bucket{rate: perSecond(row.limit), burst: row.burst, hint: "windows"}, answer: answer,
				jobs: max(500, int(200*row.limit+row.burst)), workers: max(30, int(4*row.limit*answer.Seconds())),
			}
			together(t, r)
			part := (float64(r.jobs) - row.burst) / row.limit / r.last().Seconds()
			t.Logf("%2.0f/s burst %3.0f, answers of %5v: %d of %d, %3.0f %% of the limit, %.3f refusals a success", row.limit, row.burst, answer, r.done, r.jobs, 100*part, r.share())
			if r.done != r.jobs || part < 0.88 || r.share() > row.refusals {
				t.Errorf("want 88 %%, %.3f", row.refusals)
			}
		}
	}
}

// A refusal that takes long to come is no reason to be slow.
// The turn that an exact time brings may be lost to a request that was under way
// when it was told: one refusal more says little of the rate.
func TestTokenBucketsWithExactHints(t *testing.T) {
	for _, limit := range []float64{2, 10, 30, 100} {
		for _, burst := range []float64{5, 20} {
			r := &run{provider: &bucket{rate: perSecond(limit), burst: burst, hint: "exact"}, jobs: int(200*limit + burst), answer: 200 * time.Millisecond, workers: max(30, int(3*limit))}
			together(t, r)
			part := (float64(r.jobs) - burst) / limit / r.last().Seconds()
			t.Logf("%3.0f/s burst %2.0f: %d of %d, %3.0f %% of the limit, %.3f refusals a success", limit, burst, r.done, r.jobs, 100*part, r.share())
			if r.done != r.jobs || part < 0.93 {
				t.Errorf("%v/s, burst %v: %.0f %% of the limit", limit, burst, 100*part)
			}
		}
	}
}

func TestRefusalsThatTakeLong(t *testing.T) {
	for _, limit := range []float64{2, 10, 50} {
		for _, refusal := range []time.Duration{5 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond} {
			r := &run{provider: &bucket{rate: perSecond(limit), burst: 5}, jobs: max(500, int(200*limit)), answer: 2 * time.Second, refusal: refusal, workers: max(30, int(4*limit))}
			together(t, r)
			part := (float64(r.jobs) - 5) / limit / r.last().Seconds()
			t.Logf("%2.0f/s, refusals of %5v: %d of %d, %3.0f %% of the limit, %.3f refusals a success", limit, refusal, r.done, r.jobs, 100*part, r.share())
			if r.done != r.jobs || part < 0.92 || r.share() > 0.06 {
				t.Error("want 92 %, 0.06")
			}
		}
	}
}

func TestALimitThatChanges(t *testing.T) {
	for _, row := range []struct{ before, after float64 }{{10, 20}, {10, 5}, {5, 10}, {20, 10}, {50, 25}, {25, 50}} {
		rate := func(now time.Duration) float64 {
			if now < 100*time.Second {
				return row.before
			}
			return row.after
		}
		r := &run{provider: &bucket{rate: rate, burst: 5}, jobs: int(100*row.before + 100*row.after), workers: 2 * int(max(row.before, row.after)*2), answer: 2 * time.Second}
		together(t, r)
		ideal := 200 - 5/row.after
		over := r.last().Seconds()/ideal - 1
		t.Logf("%2.0f/s, then %2.0f/s: %d of %d, %.1f %% over the ideal time, %.3f refusals a success", row.before, row.after, r.done, r.jobs, 100*over, r.share())
		if r.done != r.jobs || over > 0.05 {
			t.Error("want 5 %")
		}
	}
}

func TestTwoProcessesShareALimit(t *testing.T) {
	p := &bucket{rate: perSecond(50), burst: 5}
	a := &run{provider: p, jobs: 1e6, workers: 200, answer: 2 * time.Second, until: 400 * time.Second}
	b := &run{provider: p, jobs: 1e6, workers: 200, answer: 2 * time.Second, until: 400 * time.Second, start: 5 * time.Second}
	together(t, a, b)
	share := func(r *run) float64 {
		n := 0
		for _, at := range r.accepted {
			if at >= 100*time.Second && at < 400*time.Second {
				n++
			}
		}
		return float64(n) / (300 * 50)
	}
	x, y := share(a), share(b)
	t.Logf("first %.0f %%, second %.0f %%, together %.0f %%", 100*x, 100*y, 100*(x+y))
	if x < 0.35 || y < 0.35 || x+y < 0.94 {
		t.Error("want 35, 35, 94")
	}
}

func TestJobsAtALimit(t *testing.T) {
	tenth := func(hint string) provider { return &bucket{rate: perSecond(10), burst: 5, hint: hint} }
	c := &crew{slots: 1, queue: 4, each: 30 * time.Millisecond, free: make([]time.Duration, 1)}
	for _, row := range []struct {
		name     string
		run      *run
		most     time.Duration // to the last request's end
		refusals int           // after the first burst
		all      int           // refusals at all; 0: any number
	}{
		{"200 workers with 30 s each", &run{provider: tenth(""), jobs: 200, workers: 200, answer: 200 * time.Millisecond, deadline: 30 * time.Second}, 30 * time.Second, 1000, 0},
		{"120 jobs, no hint", &run{provider: tenth(""), jobs: 120, workers: 30, answer: 200 * time.Millisecond}, 16 * time.Second, 10, 0},
		{"120 jobs, Retry-After: 1", &run{provider: tenth("1s"), jobs: 120, workers: 30, answer: 200 * time.Millisecond}, 15 * time.Second, 60, 60},
		{"120 jobs, exact hint", &run{provider: tenth("exact"), jobs: 120, workers: 30, answer: 200 * time.Millisecond}, 14 * time.Second, 5, 0},
		{"120 jobs, windows", &run{provider: tenth("windows"), jobs: 120, workers: 30, answer: 200 * time.Millisecond}, 14 * time.Second, 5, 0},
		{"64 calls, one at a time", &run{provider: c, crew: c, jobs: 64, workers: 64}, 15 * time.Second, 1000, 0},
		{"1,000 at once, no hint", &run{provider: tenth(""), jobs: 1000, workers: 1000, answer: 200 * time.Millisecond}, 106 * time.Second, 30, 0},
		{"1,000 at once, Retry-After: 1", &run{provider: tenth("1s"), jobs: 1000, workers: 1000, answer: 200 * time.Millisecond}, 112 * time.Second, 30, 0},
	} {
		r := row.run
		together(t, r)
		took := r.last() + r.answer
		t.Logf("%-32s %d of %d in %.1f s, %d refusals, %d after the first burst", row.name, r.done, r.jobs, took.Seconds(), len(r.refused), r.later())
		if r.done != r.jobs || took > row.most || r.later() > row.refusals || row.all > 0 && len(r.refused) > row.all {
			t.Errorf("%s: want all in %v, %d after the burst, %d in all; failed: %v", row.name, row.most, row.refusals, row.all, r.failed)
		}
	}
}

// unlucky is a provider that refuses a share of the requests, whatever their rate.
type unlucky struct {
	share  float64
	told   *pace.Told
	chance *rand.Rand
}

func (u *unlucky) admit(time.Duration) bool { return u.chance.Float64() >= u.share }
func (u *unlucky) ended(time.Duration)      {}
func (u *unlucky) tell(_ time.Duration, refused bool) *pace.Told {
	if refused {
		return u.told
	}
	return nil
}

// Refusals that have nothing to do with our rate (a busy region, a model that all
// share) cost little of what a process without a pacer gets in an hour.
func TestAShareThatIsRefusedWhateverTheRate(t *testing.T) {
	second := &pace.Told{HasWait: true, Wait: time.Second}
	for _, row := range []struct {
		share float64
		told  *pace.Told
		part  float64
	}{
		{0.02, nil, 0.97}, {0.05, nil, 0.97}, {0.1, nil, 0.9}, {0.3, nil, 0.6},
		{0.02, second, 0.9}, {0.05, second, 0.85}, {0.1, second, 0.75}, {0.3, second, 0.4},
	} {
		for _, crowd := range []struct {
			workers       int
			answer, pause time.Duration
		}{{10, 2 * time.Second, 8 * time.Second}, {5, 10 * time.Second, 0}} {
			hour := func(unpaced bool) *run {
				r := &run{
					provider: &unlucky{row.share, row.told, rand.New(rand.NewPCG(0, 3))}, workers: crowd.workers,
					answer: crowd.answer, pause: crowd.pause, jobs: 1e6, until: time.Hour, unpaced: unpaced,
				}
				together(t, r)
				return r
			}
			paced, free := hour(false), hour(true)
			part := float64(paced.done) / float64(free.done)
			t.Logf("%2.0f %%, told a second: %-5v %2d workers, answers of %3v: %4d of %4d, %3.0f %%", 100*row.share, row.told != nil, crowd.workers, crowd.answer, paced.done, free.done, 100*part)
			if part < row.part {
				t.Errorf("want %.0f %%", 100*row.part)
			}
		}
	}
}

// A bucket that is small beside what is in flight is used: its counts alone left a sixth of
// it, and refusals that tell everybody to wait a second as much.
func TestSmallBucketsAtAHighRate(t *testing.T) {
	for _, hint := range []string{"windows", "1s", ""} {
		r := &run{provider: &bucket{rate: perSecond(50), burst: 5, hint: hint}, jobs: 10_000, workers: 64, answer: 200 * time.Millisecond}
		together(t, r)
		part := 10_000 / 50 / r.last().Seconds()
		t.Logf("%q: %d of %d, %3.1f %% of the limit, %.4f refusals a success", hint, r.done, r.jobs, 100*part, r.share())
		if r.done != r.jobs || part < 0.92 || r.share() > 0.02 {
			t.Error("want 92 %, 0.02")
		}
	}
}

// A window of five seconds that is told, with answers of ten, is a closed one at times, where
// the rate at which it is tested may be several requests a second: one of them that is not
// refused opens it again, not only the last one, which is always too young to say.
func TestAWindowThatIsToldLate(t *testing.T) {
	p := &fixed{limit: 250, length: 5 * time.Second, told: true}
	r := &run{provider: p, jobs: 12_000, answer: 10 * time.Second, workers: 1000}
	together(t, r)
	part := float64(r.jobs-p.limit) / 50 / r.last().Seconds()
	t.Logf("%d of %d, %.0f %% of the limit, %.3f refusals a success", r.done, r.jobs, 100*part, r.share())
	if r.done != r.jobs || part < 0.4 || r.share() > 0.15 {
		t.Error("want 40 %, 0.15")
	}
}

// A bucket that tells its windows and, with a refusal, when the next request may go. With
// answers that are longer than it takes to fill, the windows say little, and the slow start
// went on meanwhile until all that waited were sent at once, again and again: at two a second
// there were three refusals a success.
func TestWindowsWithExactHints(t *testing.T) {
	for _, row := range []struct {
		limit, burst, part, refusals float64
		answer                       time.Duration
	}{
		{1, 5, 0.92, 0.1, 10 * time.Second}, {2, 5, 0.92, 0.1, 10 * time.Second}, {2, 20, 0.9, 0.1, 10 * time.Second}, {10, 100, 0.9, 0.1, 10 * time.Second},
		{50, 5, 0.95, 0.02, 2 * time.Second}, {50, 1, 0.8, 0.1, 200 * time.Millisecond}, {200, 1, 0.75, 0.1, 200 * time.Millisecond},
	} {
		r := &run{
			provider: &bucket{rate: perSecond(row.limit), burst: row.burst, hint: "windows, exact"}, answer: row.answer,
			jobs: max(100, int(120*row.limit)), workers: max(30, min(1000, int(3*row.limit*row.answer.Seconds()))),
		}
		together(t, r)
		part := (float64(r.jobs) - row.burst) / row.limit / r.last().Seconds()
		t.Logf("%3.0f/s burst %3.0f, answers of %5v: %d of %d, %3.0f %% of the limit, %.3f refusals a success", row.limit, row.burst, row.answer, r.done, r.jobs, 100*part, r.share())
		if r.done != r.jobs || part < row.part || r.share() > row.refusals {
			t.Errorf("want %.0f %%, %.2f", 100*row.part, row.refusals)
		}
	}
}
