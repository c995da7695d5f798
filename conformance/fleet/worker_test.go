package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/llm"
)

// jobVariable holds a worker's [job], in a process that is one.
const jobVariable = "LLMCALL_TEST_FLEET_JOB"

func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		if err := work(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	for _, f := range afterwards {
		f()
	}
	os.Exit(code)
}

// afterwards are called when all tests have ended.
var afterwards []func()

func tidy(f func()) { afterwards = append(afterwards, f) }

// A job is what a worker does: a process that makes calls to a provider, as one of a fleet.
// It begins when it reads a line, and ends when its input ends.
type job struct {
	Worker   int
	Store    string // the fleet's URL; "": none
	Provider string // the provider's base URL
	Calls    int
	Every    time.Duration // between the beginnings of two calls
	AtOnce   int           // calls under way at most
	Circuit  breaker.Config
	Clock    []turn // changes of its clock
	// PerMinute is the configured limit of requests; 0: none.
	PerMinute float64
	// Beside makes each second call by a client without a fleet, to a model of its own, so
	// that both have the same machine at the same time.
	Beside bool
	// Spend makes it a process that spends instead of one that calls a provider.
	Spend *spending `json:",omitempty"`
}

// The kinds of [event].
const (
	ready     = "ready"     // the worker waits for its line
	attempt   = "attempt"   // a request that the guards have let pass
	call      = "call"      // a call that has ended
	state     = "state"     // the circuit has changed
	done      = "done"      // all calls have ended
	connected = "connected" // the store answers
	lost      = "lost"      // the store does not answer
	spent     = "spent"     // a reservation of an account, or that it was refused
	taken     = "taken"     // the same of a meter
	opened    = "opened"    // what is open to the process of an account has changed
)

// An event is a line of a worker's output.
type event struct {
	Worker int `json:"-"`
	Kind   string
	Alone  bool          `json:",omitempty"` // by the client without a fleet
	At     time.Time     // when it began
	Shown  time.Time     `json:",omitzero"` // what a wrong clock said then
	Took   time.Duration `json:",omitempty"`
	// Reason is why a call has failed or a reservation was refused, "" if it was not; of a
	// state, its name.
	Reason     string `json:",omitempty"`
	Generation uint64 `json:",omitempty"`
	Name       string `json:",omitempty"` // of an account or a meter
	Amount     int64  `json:",omitempty"` // that was used of it, or is open
	Day        int64  `json:",omitempty"`
}

// A reporter writes events, each as a line.
type reporter struct {
	mu    sync.Mutex
	out   *json.Encoder
	began time.Time // by a clock that was right
	wrong bool      // it is no longer
}

func (r *reporter) tell(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong {
		e.At, e.Shown = r.began.Round(0).Add(e.At.Sub(r.began)), e.At
	}
	if err := r.out.Encode(e); err != nil {
		panic(err) // who started the worker has gone
	}
}

// ready waits for the line with which the worker begins. The channel is closed when its input
// ends.
func (r *reporter) ready() (<-chan struct{}, error) {
	r.tell(event{Kind: ready, At: time.Now()})
	input := bufio.NewReader(os.Stdin)
	if _, err := input.ReadString('\n'); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = input.ReadString('\n') // the end of the input is what is waited for
	}()
	return ended, nil
}

func work(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	r := &reporter{out: json.NewEncoder(os.Stdout), began: time.Now(), wrong: len(j.Clock) > 0}
	j.turn(false)
	if j.Spend != nil {
		return j.spend(r)
	}
	shared := endpoint.Config{OnStateChange: func(_ *endpoint.Endpoint, t breaker.Transition) {
		r.tell(event{Kind: state, At: time.Now(), Reason: t.To.String(), Generation: t.Generation})
	}}
	endpoints, leave, err := join(j.Store, shared, r)
	if err != nil {
		return err
	}
	defer leave()
	ours, err := j.client("fleet", endpoints, r)
	if err != nil {
		return err
	}
	clients := []*llmcall.Client{ours}
	if j.Beside {
		own, err := endpoint.NewRegistry(endpoint.Config{})
		if err != nil {
			return err
		}
		alone, err := j.client("alone", own, r)
		if err != nil {
			return err
		}
		clients = append(clients, alone)
	}
	ended, err := r.ready()
	if err != nil {
		return err
	}
	j.turn(true)
	j.run(clients, r, ended)
	r.tell(event{Kind: done, At: time.Now()})
	<-ended
	return nil
}

// turn makes the clock wrong as the job says for the time after the worker's beginning, or
// before it.
func (j job) turn(begun bool) {
	for _, t := range j.Clock {
		switch {
		case t.After > 0 && begun:
			time.AfterFunc(t.After, func() { setClock(t.By, t.Drift) })
		case t.After == 0 && !begun:
			setClock(t.By, t.Drift)
		}
	}
}

func (j job) client(name string, endpoints *endpoint.Registry, r *reporter) (*llmcall.Client, error) {
	model := &plain{name, j.Provider + "/v1", "of-the-fleet", j.Worker}
	return llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{
		MaxAttempts: 1, RequestsPerMinute: j.PerMinute, Endpoints: endpoints, EnableCircuitBreaker: true,
		CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: j.Circuit},
		Observer: func(_ context.Context, e llmcall.Event) context.Context {
			if e.Type == llmcall.EventAttemptEnded {
				r.tell(event{Kind: attempt, Alone: name == "alone", At: e.Attempt.Start, Took: time.Since(e.Attempt.Start)})
			}
			return nil
		},
	})
}

// run makes the calls, each of the clients in turn.
func (j job) run(clients []*llmcall.Client, r *reporter, ended <-chan struct{}) {
	var calls sync.WaitGroup
	defer calls.Wait()
	places := make(chan struct{}, j.AtOnce)
	tick := time.NewTicker(j.Every)
	defer tick.Stop()
	for i := range j.Calls {
		select {
		case <-tick.C:
		case <-ended:
			return
		}
		places <- struct{}{}
		calls.Go(func() {
			defer func() { <-places }()
			began := time.Now()
			_, err := clients[i%len(clients)].Do(context.Background(), llm.Prompt("How far is the moon?"))
			e := event{Kind: call, Alone: i%len(clients) == 1, At: began, Took: time.Since(began)}
			if err != nil {
				e.Reason = "other: " + err.Error()
				if failed, ok := errors.AsType[*llmcall.Error](err); ok {
					e.Reason = string(failed.Reason)
				}
			}
			r.tell(e)
		})
	}
}
