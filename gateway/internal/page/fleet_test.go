package page_test

import (
	"context"
	"errors"
	"html"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/gateway/internal/page"
)

// fleetOf makes a page show a fleet that a test changes.
func fleetOf(f *atomic.Pointer[endpoint.FleetSnapshot]) func(*page.Options) {
	return func(o *page.Options) {
		quiet(o)
		o.Fleet = func(context.Context) endpoint.FleetSnapshot { return *f.Load() }
	}
}

var tags = regexp.MustCompile(`<[^>]*>`)

// textOf returns what a reader sees of the element with an id.
func textOf(t *testing.T, page, id string) string {
	t.Helper()
	_, from, ok := strings.Cut(page, `id="`+id+`"`)
	if !ok {
		return ""
	}
	_, from, _ = strings.Cut(from, ">")
	for _, end := range []string{"</li>", "</tr>", "</p>\n", "</ol>"} {
		if text, _, ok := strings.Cut(from, end); ok && !strings.Contains(text, "</section>") {
			from = text
		}
	}
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(from, " "))), " ")
}

// What the others have found stands beside what this gateway has seen.
func TestThePageShowsTheFleet(t *testing.T) {
	const name = "acme/small at http://127.0.0.1:9 #0abc"
	key := endpoint.Key{Model: "acme/small", Address: "http://127.0.0.1:9", Credential: 0xabc}
	since := time.Now().Add(-time.Hour)
	overloaded := breaker.Cause{Kind: "overloaded", Status: 503}
	for _, c := range []struct {
		what  string
		fleet endpoint.FleetSnapshot
		says  []string
		not   []string
	}{
		{
			"all is well",
			endpoint.FleetSnapshot{Address: "redis://127.0.0.1:6379/0", Connected: true, Since: since, Processes: 3, Circuits: []endpoint.SharedCircuit{{Name: name, Threshold: 5, MinReporters: 2}}},
			[]string{"fleet of 3", "connected", "redis://127.0.0.1:6379/0", "3 processes with this one", "fleet closed"},
			[]string{"not used here", "without its fleet", "needed"},
		},
		{
			"one machine alone has failures",
			endpoint.FleetSnapshot{Connected: true, Processes: 3, Circuits: []endpoint.SharedCircuit{{Name: name, Failures: 7, Threshold: 5, Reporters: 1, MinReporters: 2}}},
			[]string{"fleet closed 7 of 5 failures seen by 1 process, 2 needed"},
			nil,
		},
		{
			"open",
			endpoint.FleetSnapshot{Connected: true, Processes: 3, Circuits: []endpoint.SharedCircuit{{Name: name, State: breaker.Open, Cause: overloaded, By: "web-1:17", RetryIn: 20 * time.Second}}},
			[]string{"fleet open probe at", overloaded.String() + " by web-1:17"},
			[]string{"not used here"},
		},
		{
			"half open",
			endpoint.FleetSnapshot{Connected: true, Processes: 3, Circuits: []endpoint.SharedCircuit{{Name: name, State: breaker.HalfOpen, Probes: 1, MaxProbes: 1}}},
			[]string{"fleet half-open 1 of 1 probe under way"},
			nil,
		},
		{
			"forced",
			endpoint.FleetSnapshot{Connected: true, Processes: 3, Circuits: []endpoint.SharedCircuit{{Name: name, State: breaker.Open, Forced: true, Cause: breaker.Cause{Kind: "<maintenance>"}, By: "ops-1:4", RetryIn: time.Second}}},
			[]string{"fleet forced open <maintenance> by ops-1:4"},
			[]string{"probe at"},
		},
		{
			"of endpoints that this gateway has not used, only those in trouble",
			endpoint.FleetSnapshot{Connected: true, Processes: 3, Circuits: []endpoint.SharedCircuit{{Name: "acme/other", State: breaker.Open, Cause: overloaded, By: "web-1:17"}, {Name: "acme/well"}}},
			[]string{"open acme/other not used here " + overloaded.String() + ", by web-1:17"},
			[]string{"acme/well"},
		},
		{
			"the store is gone",
			endpoint.FleetSnapshot{Address: "redis://127.0.0.1:6379/0", Since: since, Err: errors.New("connection refused")},
			[]string{"without its fleet", "alone since", "circuits and paces are this gateway's own until the store answers: connection refused"},
			[]string{"connected", "fleet of"},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			var fleet atomic.Pointer[endpoint.FleetSnapshot]
			fleet.Store(&c.fleet)
			w := newWorld(t, false, fleetOf(&fleet))
			w.registry.Get(key).Circuit(endpoint.Options{})
			_, text := w.get(t, "/ui/")
			shown := strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(text, " "))), " ")
			for _, want := range c.says {
				if !strings.Contains(shown, want) {
					t.Errorf("it does not say %q: %s", want, shown)
				}
			}
			for _, unwanted := range c.not {
				if strings.Contains(shown, unwanted) {
					t.Errorf("it says %q: %s", unwanted, shown)
				}
			}
			if strings.Contains(text, "<maintenance>") {
				t.Error("what an operator has typed is not escaped")
			}
		})
	}
	w := newWorld(t, false, quiet)
	if _, text := w.get(t, "/ui/"); textOf(t, text, "fleet") != "" || strings.Contains(text, "llmcall circuits") {
		t.Error("a gateway without a fleet shows one")
	}
}

// Whoever looks does not ask the store more than once a second, however many look.
func TestTheFleetIsAskedOnceASecond(t *testing.T) {
	var asked atomic.Int64
	w := newWorld(t, false, func(o *page.Options) {
		quiet(o)
		o.Fleet = func(ctx context.Context) endpoint.FleetSnapshot {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("the look has no end")
			}
			asked.Add(1)
			return endpoint.FleetSnapshot{}
		}
	})
	began := time.Now()
	for range 200 {
		w.get(t, "/ui/")
	}
	if n, most := asked.Load(), int64(time.Since(began)/time.Second)+1; n == 0 || n > most {
		t.Errorf("asked %d times, want 1 to %d", n, most)
	}
}

func TestABrowserFollowsTheFleet(t *testing.T) {
	ctx := browser(t)
	var fleet atomic.Pointer[endpoint.FleetSnapshot]
	show := func(f endpoint.FleetSnapshot) { fleet.Store(&f) }
	show(endpoint.FleetSnapshot{Address: "redis://store.example:6379/0", Connected: true, Since: time.Now(), Processes: 2})
	w := newWorld(t, false, fleetOf(&fleet))
	w.registry.Get(endpoint.Key{Model: "acme/small"}).Circuit(endpoint.Options{})
	said := complaints(t, ctx)
	do(t, ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(w.server.URL+"/ui/"))
	until(t, ctx, `document.getElementById("live").textContent === "live" && document.getElementById("now").innerText.includes("fleet of 2")`)
	show(endpoint.FleetSnapshot{Address: "redis://store.example:6379/0", Connected: true, Since: time.Now(), Processes: 3, Circuits: []endpoint.SharedCircuit{
		{Name: "acme/small", State: breaker.Open, Cause: breaker.Cause{Kind: "overloaded", Status: 529}, RetryIn: 25 * time.Second},
		{Name: "acme/a-very-long-name-of-a-model-that-nobody-here-has-asked-yet at https://proxy.of-somebody.example/v1 #12ab", State: breaker.HalfOpen, Probes: 1, MaxProbes: 2},
	}})
	until(t, ctx, `document.querySelector("#endpoints .fleet") && document.querySelector("#endpoints .fleet").innerText.includes("open")`)
	until(t, ctx, `document.getElementById("fleet").innerText.includes("not used here")`)
	widths(t, ctx)
	colours(t, ctx)
	show(endpoint.FleetSnapshot{Address: "redis://store.example:6379/0", Since: time.Now(), Err: errors.New("dial tcp 127.0.0.1:6379: connect: connection refused")})
	until(t, ctx, `document.getElementById("now").innerText.includes("without its fleet") && !document.querySelector("#endpoints .fleet")`)
	widths(t, ctx)
	colours(t, ctx)
	if all := said(); len(all) > 0 {
		t.Errorf("the browser complains: %q", all)
	}
}

// badFleet is the fleet of a bad day, for pictures.
func badFleet(w *world) func(context.Context) endpoint.FleetSnapshot {
	since := time.Now().Add(-3 * time.Hour)
	return func(context.Context) endpoint.FleetSnapshot {
		f := endpoint.FleetSnapshot{Address: "rediss://app@store.example:6380/0", Connected: true, Since: since, Processes: 8}
		for e := range w.registry.All() {
			c := endpoint.SharedCircuit{Name: e.Key().String(), Threshold: 5, MinReporters: 2}
			for _, s := range e.Snapshot().Circuits {
				c.State, c.Cause, c.Failures, c.Reporters = s.State, s.Cause, s.Failures, min(s.Failures, 1)
			}
			if c.State == breaker.Open {
				c.RetryIn = 12 * time.Second
			}
			f.Circuits = append(f.Circuits, c)
		}
		f.Circuits = append(f.Circuits, endpoint.SharedCircuit{
			Name: "groq/llama-of-another-team #12ab", State: breaker.Open, Forced: true, Cause: breaker.Cause{Kind: "maintenance until noon"}, By: "ops1:4711",
		}, endpoint.SharedCircuit{Name: "mistral/large #3fe0", Failures: 4, Threshold: 5, Reporters: 1, MinReporters: 2})
		return f
	}
}

func TestPicturesOfAFleet(t *testing.T) {
	if os.Getenv("LLMCALL_PICTURES") == "" {
		t.Skip("LLMCALL_PICTURES says where to save pictures")
	}
	ctx := browser(t)
	var w *world
	var alone atomic.Bool
	w = newWorld(t, false, func(o *page.Options) {
		quiet(o)
		o.Fleet = func(c context.Context) endpoint.FleetSnapshot {
			if alone.Load() {
				return endpoint.FleetSnapshot{Address: "rediss://app@store.example:6380/0", Since: time.Now().Add(-90 * time.Second), Err: errors.New("dial tcp 10.0.0.7:6380: connect: connection refused")}
			}
			return badFleet(w)(c)
		}
	})
	load, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	w.busy(load, t, &wait)
	do(t, ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(w.server.URL+"/ui/"))
	time.Sleep(12 * time.Second)
	for _, name := range []string{"light", "dark"} {
		scheme(t, ctx, name)
		picture(t, ctx, "fleet-wide-"+name, 1280, 900)
		picture(t, ctx, "fleet-phone-"+name, 390, 1700)
	}
	alone.Store(true)
	until(t, ctx, `document.getElementById("now").innerText.includes("without its fleet")`)
	picture(t, ctx, "fleet-alone-dark", 1280, 900)
	picture(t, ctx, "fleet-alone-phone", 390, 1200)
	stop()
	wait.Wait()
}
