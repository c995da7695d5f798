package fleet

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/pace"
)

// Who gives up waiting does not make the store slow for others.
func TestCallerThatGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 1, breaker.Config{})
		defer stop(all)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		all[0].fleet.wait(ctx, make(chan struct{}), callWait)
		if all[0].fleet.slow.Load() {
			t.Error("slow")
		}
	})
}

// faulty is a store in which some scripts fail.
type faulty struct {
	store.Store
	runs atomic.Int64
	fail func(store.Call) error
}

func (f *faulty) Run(ctx context.Context, calls []store.Call) []store.Result {
	f.runs.Add(1)
	results := f.Store.Run(ctx, calls)
	for i, c := range calls {
		if err := f.fail(c); err != nil {
			results[i] = store.Result{Err: err}
		}
	}
	return results
}

// One script that fails is asked again each second, and not without a pause.
func TestOneScriptThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		s := &faulty{Store: server.Dial(), fail: func(c store.Call) error {
			if c.Script == limitsScript {
				return errors.New("WRONGTYPE")
			}
			return nil
		}}
		f, err := open(s, Options{Secret: secretOfTests, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		e := f.Endpoints().Get(endpoint.Key{Model: "acme/m"})
		guards := e.Guards(endpoint.Options{NoBudget: true})
		if _, err := e.Limit(pace.Limits{RequestsPerMinute: 6000}, endpoint.Budget{}); err != nil {
			t.Fatal(err)
		}
		p := &process{t: t, fleet: f, e: e, guards: guards}
		time.Sleep(2 * time.Second)
		before := s.runs.Load()
		for range 100 {
			p.call(success)
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.runs.Load() - before; n > 200 {
			t.Errorf("%d exchanges in ten seconds", n)
		}
	})
}

// A store that evicts what was not used for long has the secret all the same, so that who joins
// later shares the endpoints.
func TestSecretThatIsEvicted(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		join := func() *Fleet {
			f, err := open(server.Dial(), Options{Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		first := join()
		defer first.Close()
		first.Endpoints().Get(endpoint.Key{Model: "acme/m"}).Circuit(endpoint.Options{})
		client := server.Dial()
		defer client.Close()
		evict := &store.Script{Name: "evict", Text: "redis.call('DEL', KEYS[1]) return ''"}
		if r := client.Run(t.Context(), []store.Call{{Script: evict, Key: "llmcall:secret"}}); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
		time.Sleep(2 * time.Minute)
		second := join()
		defer second.Close()
		if first.secret != second.secret {
			t.Error("two processes have two secrets")
		}
	})
}
