package fleet

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"llmcall/breaker"
	"llmcall/fleet/internal/store/lua"
)

// What is so already is not done again: nobody hears of a change, and no generation begins.
func TestWhatIsForcedAlreadyIsLeftAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		f := all[0].fleet
		now := func() Circuit {
			t.Helper()
			time.Sleep(10 * time.Millisecond)
			list, err := f.Circuits(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			return list[0]
		}
		id := now().ID
		for _, step := range []struct {
			what       string
			do         func() (bool, error)
			changed    bool
			state      breaker.State
			forced     bool
			why        string
			generation uint64
		}{
			{"reset, closed", func() (bool, error) { return f.Reset(t.Context(), id) }, false, breaker.Closed, false, "", 1},
			{"open", func() (bool, error) { return f.Force(t.Context(), id, breaker.Open, "until noon") }, true, breaker.Open, true, "until noon", 2},
			{"open again", func() (bool, error) { return f.Force(t.Context(), id, breaker.Open, "until noon") }, false, breaker.Open, true, "until noon", 2},
			{"open, and no reason", func() (bool, error) { return f.Force(t.Context(), id, breaker.Open, "") }, false, breaker.Open, true, "until noon", 2},
			{"open, a new reason", func() (bool, error) { return f.Force(t.Context(), id, breaker.Open, "until one") }, true, breaker.Open, true, "until one", 3},
			{"closed", func() (bool, error) { return f.Force(t.Context(), id, breaker.Closed, "") }, true, breaker.Closed, true, "", 4},
			{"closed again", func() (bool, error) { return f.Force(t.Context(), id, breaker.Closed, "") }, false, breaker.Closed, true, "", 4},
			{"reset", func() (bool, error) { return f.Reset(t.Context(), id) }, true, breaker.Closed, false, "", 5},
			{"reset again", func() (bool, error) { return f.Reset(t.Context(), id) }, false, breaker.Closed, false, "", 5},
		} {
			changed, err := step.do()
			c := now()
			if err != nil || changed != step.changed || c.State != step.state || c.Forced != step.forced || c.Cause.Kind != step.why || c.Generation != step.generation {
				t.Errorf("%s: %v, %v, %+v", step.what, changed, err, c)
			}
		}
		// A reset forgets failures too: they are a reason for one.
		all[0].call(broken)
		if c := now(); c.Failures != 1 {
			t.Fatalf("%+v", c)
		}
		if changed, err := f.Reset(t.Context(), id); err != nil || !changed {
			t.Errorf("%v, %v", changed, err)
		}
		if c := now(); c.Failures != 0 || c.State != breaker.Closed {
			t.Errorf("%+v", c)
		}
		if e, ok := errors.AsType[*ConfigError](second(f.Force(t.Context(), id, breaker.HalfOpen, ""))); !ok || e.Field != "to" {
			t.Errorf("half open: %v", e)
		}
	})
}

func second(_ bool, err error) error { return err }

// Whoever looks right after a process has joined is told what is true, also if it shares nothing
// yet.
func TestTheStatusIsTrueFromTheBeginning(t *testing.T) {
	for _, secret := range []string{"", "of the test"} {
		for _, down := range []bool{false, true} {
			bubble(t, func(t *testing.T, server *lua.Server) {
				if down {
					server.Down(true)
				}
				f, err := open(server.Dial(), Options{Secret: secret, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				time.Sleep(10 * time.Millisecond)
				if s := f.Status(); s.Connected == down || (s.Err != nil) != down {
					t.Errorf("secret %q, down %v: %+v", secret, down, s)
				}
				server.Down(false)
				time.Sleep(10 * time.Second)
				if s := f.Status(); !s.Connected || s.Err != nil {
					t.Errorf("secret %q, ten seconds after it came back: %+v", secret, s)
				}
			})
		}
	}
}
