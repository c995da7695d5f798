package endpoint_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/pace"
)

// there says which of some endpoints are the ones that were made before now: those
// that are gone are made anew by the question.
func there(r *endpoint.Registry, names string) string {
	runtime.GC()
	now := time.Now()
	kept := ""
	for _, name := range strings.Fields(names) {
		if r.Get(key(name)).Snapshot().Made.Before(now) {
			kept += " " + name
		}
	}
	return strings.TrimSpace(kept)
}

// Endpoints come one a second into a registry that holds as many as Max; which are
// there at the end. A name with "!" answers, with "o" its circuit is OPEN for an
// hour, with "e" it was and may admit a probe, with "f" its circuit is forced open by
// hand, with "c" closed, with "p" its pacer was told to rest for an hour.
func TestWhoMakesRoom(t *testing.T) {
	many := ""
	for i := range 16 {
		many += fmt.Sprintf("m%d:f! ", i)
	}
	fresh := strings.ReplaceAll(many, "!", "")
	for _, c := range []struct {
		name string
		max  int
		come string
		want string
	}{
		{"the oldest that is as new", 2, "a b c", "b c"},
		{"as new before one whose circuit may admit a probe", 2, "a:e b c", "a c"},
		{"that before one whose circuit is OPEN", 2, "a:o b:e c", "a c"},
		{"that before one that is forced", 2, "a:f b:o c", "a c"},
		{"a circuit that is forced closed by hand stays", 2, "a:c b:o c", "a c"},
		{"where all are forced, nobody", 2, "a:f b:c c", "a b"},
		{"the pacer's memory is worth as much as a circuit's", 2, "a:p b:e c", "a c"},
		{"one that answered stays", 2, "a:! b c", "a c"},
		{"one that answers stays, and nobody goes for it", 3, "a b:! c:!", "a b c"},
		{"where all have answered, nobody", 2, "a:! b:! c", "a b"},
		{"but one that answers too comes in", 2, "a:! b:! c:!", "b c"},
		{"not in the place of one that was told to rest", 2, "a:!p b:!p c:!", "a b"},
		{"nor of one that is OPEN", 1, "a:o! b:!", "a"},
		{"as new before one whose circuit may admit a probe, of those that answered", 2, "a:e! b:! c:!", "a c"},
		{"who has looked at sixteen looks at others the next time", 17, many + "a:! b:! c:!", many + "c"},
		{"also among those that never answered", 17, fresh + "a b c", fresh + "c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := registry(t, endpoint.Config{Max: c.max})
				var names []string
				for _, one := range strings.Fields(c.come) {
					name, how, _ := strings.Cut(one, ":")
					names = append(names, name)
					e := r.Get(key(name))
					for _, h := range how {
						b := e.Circuit(endpoint.Options{})
						switch h {
						case '!':
							g := e.Guards(endpoint.Options{})[1]
							g.Settle(lend(t, g, endpoint.Ask{}), answer)
						case 'o':
							b.Trip(breaker.Failure{AskedFor: time.Hour})
						case 'e':
							b.Trip(breaker.Failure{AskedFor: time.Nanosecond})
						case 'f':
							b.ForceOpen("by hand")
						case 'c':
							b.ForceClosed()
						case 'p':
							g := e.Guards(endpoint.Options{})[1]
							g.Settle(lend(t, g, endpoint.Ask{}), with(refused, &pace.Told{Wait: time.Hour, HasWait: true}))
						}
					}
					if n := r.Len(); n > c.max {
						t.Fatalf("%d are kept", n)
					}
					e = nil
					runtime.GC()
					time.Sleep(time.Second)
				}
				want := ""
				for _, one := range strings.Fields(c.want) {
					name, _, _ := strings.Cut(one, ":")
					want += " " + name
				}
				if got := there(r, strings.Join(names, " ")); got != strings.TrimSpace(want) {
					t.Errorf("there are %s, want%s", got, want)
				}
			})
		})
	}
}

// Of endpoints that answered and are as new, one goes that nobody has asked for
// since the last search (the "clock").
func TestWhoIsAskedForStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t, endpoint.Config{Max: 3})
		come := func(name string) {
			request(r.Get(key(name)), answer)
			time.Sleep(time.Second)
		}
		for _, name := range strings.Fields("a b c") {
			come(name)
		}
		come("d") // a goes: all were asked for
		r.Get(key("b"))
		come("e") // c goes: b was asked for since
		if got, want := there(r, "b d e"), "b d e"; got != want {
			t.Errorf("there are %s, want %s", got, want)
		}
	})
}

// One that is held but not kept answers: one that never answered makes room, and
// nobody else.
func TestOneThatAnswersTakesOnePlace(t *testing.T) {
	r := registry(t, endpoint.Config{Max: 2})
	held := r.Get(key("held"))
	request(r.Get(key("a")), answer)
	r.Get(key("b")) // in the place of the held one
	request(held, answer)
	if n := r.Len(); n != 2 {
		t.Errorf("%d are kept", n)
	}
	if !r.Get(key("a")).Snapshot().Answered {
		t.Error("one that answered has made room, too")
	}
	request(held, answer)
	if n := r.Len(); n != 2 {
		t.Errorf("%d are kept", n)
	}
}

// The oldest answers at last.
func TestTheOldestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t, endpoint.Config{Max: 2})
		a := r.Get(key("a"))
		a.Circuit(endpoint.Options{}).Trip(breaker.Failure{AskedFor: time.Hour})
		r.Get(key("b"))
		g := a.Guards(endpoint.Options{})[1]
		g.Settle(lend(t, g, endpoint.Ask{}), answer)
		time.Sleep(time.Second)
		if got := there(r, "a b"); got != "a b" || r.Len() != 2 {
			t.Errorf("there are %s, %d are kept", got, r.Len())
		}
	})
}

func TestAnEndpointTakesOnePlace(t *testing.T) {
	r := registry(t, endpoint.Config{})
	e := r.Get(key("m"))
	for range 2 {
		request(e, answer)
		if n := r.Len(); n != 1 {
			t.Fatalf("%d are kept", n)
		}
	}
	for i := range endpoint.DefaultMax {
		r.Get(key(fmt.Sprint(i)))
	}
	if n := r.Len(); n != endpoint.DefaultMax {
		t.Errorf("%d are kept by default", n)
	}
}

// Of endpoints that are not kept the log has a line a minute, with how many.
func TestTheLogHearsOfThoseThatAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		before := slog.Default()
		defer slog.SetDefault(before)
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.MessageKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}})))
		r := registry(t, endpoint.Config{Max: 1})
		kept := r.Get(key("kept"))
		kept.ForceOpen("by hand")
		for i := range 4 {
			e := r.Get(key(fmt.Sprint("n", i)))
			if i == 3 {
				request(e, answer) // it is not kept, again
			}
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Minute)
		r.Get(key("n4"))
		want := "time=2000-01-01T00:00:00.000Z max=1 not_kept=1 last=n0\ntime=2000-01-01T00:01:00.000Z max=1 not_kept=3 last=n3\n" +
			"time=2000-01-01T00:02:20.000Z max=1 not_kept=2 last=n4\n"
		if got := log.String(); strings.ReplaceAll(got, "+00:00", "Z") != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

// A walk through all may end early, and Reset reaches each.
func TestAllEndpoints(t *testing.T) {
	r := registry(t, endpoint.Config{})
	for i := range 3 {
		r.Get(key(fmt.Sprint(i))).ForceOpen("x")
	}
	n := 0
	for range r.All() {
		n++
		break
	}
	for range r.All() {
		n++
	}
	if n != 4 {
		t.Errorf("one and three are %d", n)
	}
	r.Reset()
	for e := range r.All() {
		if refusal := request(e, answer); refusal != nil {
			t.Error(refusal.Err)
		}
	}
}
