package fleet

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/pace"
)

var errDenied = errors.New("NOPERM this user has no permissions to run the 'hmget' command")

// denying is a store that does not run one script while it is denied.
type denying struct {
	store.Store
	denied atomic.Pointer[store.Script]
	runs   atomic.Int64
}

func (s *denying) Run(ctx context.Context, calls []store.Call) []store.Result {
	s.runs.Add(1)
	all := s.Store.Run(ctx, calls)
	for i, c := range calls {
		if c.Script == s.denied.Load() {
			all[i] = store.Result{Err: errDenied}
		}
	}
	return all
}

// A store that fails for a part of what it is asked, as one whose user may not run a command, is
// not asked again and again, and the operator is told once of what it fails for, and once when it
// does not any more.
func TestAStoreThatFailsForSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said lockedBuffer
		s := &denying{Store: lua.New().Dial()}
		s.denied.Store(limitsScript)
		f, err := open(s, Options{Secret: secretOfTests, Log: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := &pace.Pacer{}
		p.Configure(pace.Limits{RequestsPerMinute: 60})
		f.sharePacer(endpoint.Key{Model: "one"}, p)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for ctx.Err() == nil { // it needs all that the limit allows
			turn, err := p.Wait(ctx, pace.Cost{})
			if err != nil {
				break // its turn would come after the end
			}
			p.Answered(turn, nil)
		}
		if n := s.runs.Load(); n > 200 {
			t.Errorf("%d exchanges in 20 s", n)
		}
		told := func() (fails, does int) {
			return strings.Count(said.String(), "fails for some of what it is asked"), strings.Count(said.String(), "does all that it is asked again")
		}
		fails, does := told()
		if now := f.Status(); !now.Connected || !errors.Is(now.Err, errDenied) || fails != 1 || does != 0 || !strings.Contains(said.String(), "hmget") {
			t.Errorf("%+v\n%s", now, said.String())
		}
		s.denied.Store(nil)
		time.Sleep(10 * time.Second)
		fails, does = told()
		if now := f.Status(); !now.Connected || now.Err != nil || fails != 1 || does != 1 {
			t.Errorf("%+v\n%s", now, said.String())
		}
	})
}

// The operator is told once that the store is lost, and why, and once that it is back, whatever is
// shared.
func TestWhatTheOperatorIsToldOfALostStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		var said lockedBuffer
		f, err := open(server.Dial(), Options{Secret: secretOfTests, Log: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		day := f.Account("web", endpoint.Amount{Nanos: 1000}, nil)
		minute := f.Meter("web", 60)
		defer minute.Close()
		for range 2 {
			time.Sleep(10 * time.Second)
			server.Down(true)
			time.Sleep(20 * time.Second)
			server.Down(false)
		}
		time.Sleep(10 * time.Second)
		for text, want := range map[string]int{"store is lost": 2, "store is back": 2, "for some of what": 0, "all that it is asked": 0} {
			if n := strings.Count(said.String(), text); n != want {
				t.Errorf("%q was said %d times, want %d:\n%s", text, n, want, said.String())
			}
		}
		runtime.KeepAlive(day)
	})
}
