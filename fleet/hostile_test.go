package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/internal/servers"
)

// What waited in a store that hung does not count as of now.
func TestReportsThatWaitedInTheStoreAreAsOldAsTheyAre(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 4, breaker.Config{FailureWindow: time.Minute})
		defer stop(all)
		server.Hang(true)
		for i := range 8 { // at the moment when the network broke
			all[i%4].call(broken)
		}
		time.Sleep(10 * time.Minute)
		server.Hang(false)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if got := states(all); got != "CLOSED CLOSED CLOSED CLOSED " {
				t.Fatalf("got %s", got)
			}
		}
	})
}

// Failures that are kept in blocks open a circuit when those in one list would.
func TestBlocksAreAsOneList(t *testing.T) {
	script := func(block string) *store.Script {
		before, after, found := strings.Cut(circuitText, "local BLOCK = ")
		_, after, _ = strings.Cut(after, "\n")
		if !found {
			t.Fatal("the script has no BLOCK")
		}
		return &store.Script{Name: "circuit", Text: before + "local BLOCK = " + block + "\n" + after}
	}
	blocks, list := []*store.Script{script("1"), script("2"), script("3")}, script("1e9")
	rapid.Check(t, func(r *rapid.T) {
		cfg := breaker.Config{
			FailureThreshold: rapid.IntRange(1, 12).Draw(r, "threshold"),
			FailureWindow:    milliseconds(r, "window", 5000, 30_000),
			FailureRate:      rapid.SampledFrom([]float64{-1, 0.5, 0.8, 1}).Draw(r, "rate"),
			RecoveryTimeout:  milliseconds(r, "recovery", 1, 1000),
			RecoveryFactor:   1, MaxOpen: time.Minute, HalfOpenProbes: 1, SuccessThreshold: 1, ProbeLease: time.Minute,
		}
		set := settingsOf(cfg, rapid.IntRange(0, 3).Draw(r, "reporters"))
		one := rapid.SampledFrom(blocks).Draw(r, "blocks")
		type step struct {
			gap  time.Duration
			says [3]question
		}
		var steps []step
		for i := range rapid.IntRange(1, 25).Draw(r, "steps") {
			next := step{gap: milliseconds(r, "gap", 0, 1, 60, 300, 2000)}
			for m := range next.says {
				q := question{Op: "report", Me: fmt.Sprint("process", m, ".1"), Sequence: uint64(i + 1), Settings: set, Failures: []failed{}, Held: []holding{}}
				q.Answers = uint64(rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(r, "answers"))
				for range rapid.SampledFrom([]int{0, 0, 1, 1, 2, 8}).Draw(r, "failures") {
					q.Failures = append(q.Failures, failed{
						Kind: "transient", Age: int64(rapid.SampledFrom([]int{0, 0, 1, 100, 4000}).Draw(r, "age")),
						Lasted:  int64(rapid.SampledFrom([]int{0, 10, 2000}).Draw(r, "lasted")),
						Answers: uint64(rapid.IntRange(0, int(q.Answers)).Draw(r, "before")),
						Trip:    rapid.IntRange(0, 30).Draw(r, "trip") == 0,
					})
				}
				next.says[m] = q
			}
			steps = append(steps, next)
		}
		synctest.Test(t, func(t *testing.T) {
			run := func(s *store.Script) (all []string) {
				client := lua.New().Dial()
				defer client.Close()
				generation, began := uint64(0), time.Now()
				for _, next := range steps {
					time.Sleep(next.gap)
					for _, q := range next.says {
						q.Generation, q.State = generation, stateClosed
						if n := len(all); n > 0 {
							q.State = all[n-1][:1]
						}
						result := client.Run(t.Context(), []store.Call{callOf(s, "x", q)})[0]
						var answer reply
						var known state
						if err := errors.Join(result.Err, json.Unmarshal([]byte(result.Text), &answer), json.Unmarshal([]byte(answer.State), &known)); err != nil {
							t.Fatal(err)
						}
						generation = known.Generation
						all = append(all, fmt.Sprint(known.State, " ", generation, " ", answer.Deciding, " ", known.Left, " ", known.By, " after ", time.Since(began)))
					}
				}
				return all
			}
			if a, b := run(one), run(list); !slices.Equal(a, b) {
				r.Fatalf("got  %q\nwant %q", a, b)
			}
		})
	})
}

// Two endpoints of one process that are the same to the store have one probe.
func TestTwoRegistriesOfAProcess(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		again, err := endpoint.NewRegistry(endpoint.Config{Fleet: all[0].fleet})
		if err != nil {
			t.Fatal(err)
		}
		second := *all[0]
		second.e = again.Get(endpoint.Key{Model: "acme/m"})
		o := endpoint.Options{NoBudget: true}
		second.guards, second.b = second.e.Guards(o), second.e.Circuit(o)
		openAll(t, append(all, &second))
		if _, refusal := all[0].begin(); refusal != nil {
			t.Fatal(refusal)
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			for i, p := range []*process{all[0], all[1], &second} {
				if _, refusal := p.begin(); refusal == nil {
					t.Fatalf("a second probe by %d", i)
				}
			}
		}
	})
}

// overRedis returns two processes of a fleet over a real Redis.
func overRedis(t *testing.T, url string, log *slog.Logger) []*process {
	var all []*process
	for range 2 {
		f, err := Open(url, Options{Secret: secretOfTests, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		p := &process{t: t, fleet: f}
		p.of(endpoint.Key{Model: "acme/m"}, endpoint.Options{NoBudget: true})
		all = append(all, p)
	}
	eventually(t, "both share the circuit", func() bool { return all[0].fleet.Status().Processes == 2 })
	return all
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("not in half a minute: %s", what)
		}
	}
}

// What a full store could not keep is told to nobody: a force that has failed forces nothing.
func TestWhatIsNotKeptIsNotTold(t *testing.T) {
	server := servers.Redis(t)
	all := overRedis(t, server.URL, quiet)
	list, err := all[0].fleet.Circuits(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	server.Full(true)
	_, err = all[0].fleet.Force(t.Context(), list[0].ID, breaker.Open, "the key is being replaced")
	time.Sleep(100 * time.Millisecond)
	if got := states(all); err == nil || got != "CLOSED CLOSED " {
		t.Errorf("%s with the error %v", got, err)
	}
}

// Who may use no channels hears of an opening with the exchange of each second: so it is for
// users of an ACL to whom nobody has given any.
func TestUserWithoutChannels(t *testing.T) {
	server := servers.Redis(t, "--user", "fleet", "on", ">secret", "~llmcall:*", "resetchannels", "+@all")
	var log lockedBuffer
	all := overRedis(t, "redis://fleet:secret@"+server.Addr, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 6 {
		all[i%2].call(broken)
		time.Sleep(10 * time.Millisecond)
	}
	eventually(t, "both are OPEN", func() bool { return states(all) == "OPEN OPEN " })
	for _, p := range all {
		if s := p.fleet.Status(); !s.Connected {
			t.Errorf("%+v", s)
		}
	}
	eventually(t, "both say it", func() bool { return strings.Count(log.String(), "does not let this process subscribe") == 2 })
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// What processes were told while the store was lost counts in the order in which the provider
// said it, whoever is back first.
func TestTimesThatAreToldLate(t *testing.T) {
	type says struct {
		me        string
		age, told time.Duration
		replaces  bool
	}
	long := says{"a", 30 * time.Second, 10 * time.Minute, false}
	free := says{"b", time.Minute, 0, true}       // a test had been answered before
	freed := says{"b", 10 * time.Second, 0, true} // and after
	shorter := says{"c", 5 * time.Second, time.Minute, false}
	for _, row := range []struct {
		says []says
		want time.Duration
	}{
		{[]says{long, free}, long.told},
		{[]says{free, long}, long.told},
		{[]says{long, freed}, 0},
		{[]says{freed, long}, 0},
		{[]says{freed, shorter, long}, shorter.told},
		{[]says{long, shorter}, long.told},
		{[]says{shorter, long, free}, long.told},
	} {
		bubble(t, func(t *testing.T, server *lua.Server) {
			client := server.Dial()
			defer client.Close()
			var known pacingState
			for _, s := range row.says {
				left := s.told.Milliseconds()
				q := pacingReport{Me: s.me, Phase: phaseSteady, Told: &left, ToldAge: s.age.Milliseconds(), Replaces: s.replaces}
				r := client.Run(t.Context(), []store.Call{callOf(paceScript, "x", q)})[0]
				if err := errors.Join(r.Err, json.Unmarshal([]byte(r.Text), &known)); err != nil {
					t.Fatal(err)
				}
			}
			if got := ms(known.Told).Round(time.Second); got != row.want {
				t.Errorf("%+v: told %v, want %v", row.says, got, row.want)
			}
		})
	}
}
