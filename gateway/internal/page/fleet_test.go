package page_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

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

// storeOfPage is a fleet whose circuits a test changes, and the page too.
type storeOfPage struct {
	mu   sync.Mutex
	now  endpoint.FleetSnapshot
	err  error // of what is asked for
	same bool  // it is so already
	did  []string
}

func (s *storeOfPage) look(context.Context) endpoint.FleetSnapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.now
	f.Circuits = slices.Clone(f.Circuits)
	return f
}

func (s *storeOfPage) change(id, did string, to breaker.State, forced bool, why string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, did)
	if s.err != nil || s.same {
		return false, s.err
	}
	for i := range s.now.Circuits {
		if c := &s.now.Circuits[i]; c.ID == id {
			c.State, c.Forced, c.Cause.Kind, c.By = to, forced, why, "gw-1:7"
		}
	}
	return true, nil
}

func (s *storeOfPage) Force(_ context.Context, id string, to breaker.State, why string) (bool, error) {
	return s.change(id, fmt.Sprintf("force %s %v %q", id, to, why), to, true, why)
}

func (s *storeOfPage) Reset(_ context.Context, id string) (bool, error) {
	return s.change(id, "reset "+id, breaker.Closed, false, "")
}

// acting makes a page act on a fleet too.
func (s *storeOfPage) acting(o *page.Options) {
	quiet(o)
	o.Fleet, o.FleetCircuits = s.look, s
}

// One click acts on the fleet, another on this gateway alone, and the answer says which, and why
// nothing was done.
func TestThePageActsOnTheFleet(t *testing.T) {
	const name, other = "acme/small", "acme/other at http://127.0.0.1:9"
	known := endpoint.FleetSnapshot{Connected: true, Processes: 3, Circuits: []endpoint.SharedCircuit{
		{ID: "1-a", Name: name}, {ID: "1-b", Name: name, State: breaker.Open, Forced: true, Cause: breaker.Cause{Kind: "until noon"}},
		{ID: "2-a", Name: other, State: breaker.Open, Forced: true, Cause: breaker.Cause{Kind: "until noon"}},
	}}
	elsewhere := regexp.MustCompile(`name="endpoint" value="(f[0-9a-f]+)"`)
	for _, c := range []struct {
		what, do, why string
		elsewhere     bool
		change        func(*storeOfPage)
		status        int
		says          string
		did           []string
	}{
		{"open", "fleet-open", "a test", false, nil, 200, name + " was forced open in the whole fleet", []string{`force 1-a OPEN "a test"`, `force 1-b OPEN "a test"`}},
		{"open, and no reason", "fleet-open", "", false, nil, 200, "was forced open", []string{`force 1-a OPEN "forced open by an operator"`, `force 1-b OPEN ""`}},
		{"closed", "fleet-closed", "", false, nil, 200, name + " was forced closed in the whole fleet", []string{`force 1-a CLOSED ""`, `force 1-b CLOSED ""`}},
		{"reset", "fleet-reset", "", false, nil, 200, name + " was reset in the whole fleet", []string{"reset 1-a", "reset 1-b"}},
		{"of an endpoint that was not used here", "fleet-reset", "", true, nil, 200, other + " was reset in the whole fleet", []string{"reset 2-a"}},
		{"here, what was not used here", "reset", "", true, nil, 404, "the endpoint is gone", nil},
		{"already", "fleet-reset", "", false, func(s *storeOfPage) { s.same = true }, 200, name + " was closed already in the whole fleet", []string{"reset 1-a", "reset 1-b"}},
		{"here alone", "open", "a test", false, nil, 200, name + " was forced open in this gateway", nil},
		{"the store is gone", "fleet-open", "", false, func(s *storeOfPage) { s.now = endpoint.FleetSnapshot{Err: errors.New("connection refused")} }, 502, "the fleet's store does not answer, so that nothing was changed: connection refused", nil},
		{"the store goes", "fleet-open", "", false, func(s *storeOfPage) { s.err = context.DeadlineExceeded }, 502, "the fleet's circuit was not changed: it did not answer in time", []string{`force 1-a OPEN "forced open by an operator"`}},
		{"unknown", "fleet-reset", "", false, func(s *storeOfPage) { s.now.Circuits = nil }, 502, "the fleet has no circuit of acme/small: fleet_only leaves it out", nil},
		{"an unknown wish", "fleet-explode", "", false, nil, 400, `do must be "fleet-open", "fleet-closed" or "fleet-reset", got "fleet-explode"`, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := &storeOfPage{now: known}
			s.now.Circuits = slices.Clone(known.Circuits)
			w := newWorld(t, false, s.acting)
			circuit := w.registry.Get(endpoint.Key{Model: name}).Circuit(endpoint.Options{})
			form := w.form(t)
			if c.elsewhere {
				_, text := w.get(t, "/ui/")
				found := elsewhere.FindStringSubmatch(text)
				if found == nil {
					t.Fatal("the page has no form for it")
				}
				form.Set("endpoint", found[1])
			}
			if c.change != nil {
				c.change(s)
			}
			form.Set("do", c.do)
			form.Set("why", c.why)
			status, text := w.act(t, form)
			if status != c.status || !strings.Contains(text, c.says) || !slices.Equal(s.did, c.did) {
				t.Errorf("%d %q, did %q", status, text, s.did)
			}
			if own := circuit.Snapshot(); own.Forced != (c.do == "open") {
				t.Errorf("this gateway's own circuit is %+v", own)
			}
			w.writable = false
			if status, _ := w.act(t, form); status != 403 {
				t.Errorf("without the right: %d", status)
			}
		})
	}
	t.Run("no fleet", func(t *testing.T) {
		w := newWorld(t, false, quiet)
		w.registry.Get(endpoint.Key{Model: name})
		form := w.form(t)
		form.Set("do", "fleet-open")
		if status, text := w.act(t, form); status != 400 || !strings.Contains(text, `do must be "open", "closed" or "reset", got "fleet-open"`) {
			t.Errorf("%d %s", status, text)
		}
		if _, text := w.get(t, "/ui/"); strings.Contains(text, "fleet-open") || strings.Contains(text, "gateway alone") {
			t.Error("there are buttons for a fleet")
		}
	})
	t.Run("not shared", func(t *testing.T) {
		s := &storeOfPage{now: endpoint.FleetSnapshot{Connected: true, Processes: 3}}
		w := newWorld(t, false, s.acting)
		w.registry.Get(endpoint.Key{Model: name})
		if _, text := w.get(t, "/ui/"); strings.Contains(text, "fleet-open") || !strings.Contains(text, "The fleet does not share this endpoint.") {
			t.Error("there are buttons for the fleet, which does not share it")
		}
	})
}

// act sends the form, and returns the answer.
func (w *world) act(t *testing.T, form url.Values) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+"/ui/act", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/plain")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestAnOperatorForcesTheFleetInABrowser(t *testing.T) {
	ctx := browser(t)
	s := &storeOfPage{now: endpoint.FleetSnapshot{Address: "redis://store.example:6379/0", Connected: true, Since: time.Now(), Processes: 3, Circuits: []endpoint.SharedCircuit{
		{ID: "1-a", Name: "acme/small", Threshold: 5, MinReporters: 2},
		{ID: "2-a", Name: "acme/of-another at https://proxy.of-somebody.example/v1 #12ab", State: breaker.Open, Forced: true, Cause: breaker.Cause{Kind: "until noon"}, By: "ops:1"},
	}}}
	w := newWorld(t, false, s.acting)
	own := w.registry.Get(endpoint.Key{Model: "acme/small"}).Circuit(endpoint.Options{})
	said := complaints(t, ctx)
	do(t, ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(w.server.URL+"/ui/"))
	until(t, ctx, `document.getElementById("live").textContent === "live"`)
	click := func(legend, button string) {
		t.Helper()
		eval[bool](t, ctx, `document.querySelector("#endpoints .control details").open = true`)
		eval[bool](t, ctx, `[...document.querySelectorAll("#endpoints fieldset")].find(f => f.querySelector("legend").textContent.startsWith("`+legend+`")).querySelector("button[value$=`+button+`]").click() || true`)
	}
	eval[bool](t, ctx, `document.querySelector("#endpoints .control details").open = true`)
	do(t, ctx, chromedp.Focus(chromedp.CSS(`#endpoints .control input[name=why]`)))
	press(t, ctx, "maintenance", kb.Enter) // which must not force anything: it is not said where
	click("The fleet, all 3 processes", "open")
	until(t, ctx, `document.getElementById("notice") && document.getElementById("notice").textContent === "acme/small was forced open in the whole fleet"`)
	until(t, ctx, `document.querySelector("#endpoints .fleet").innerText.includes("forced open")`)
	if own.Snapshot().Forced {
		t.Error("this gateway's own is forced")
	}
	picture(t, ctx, "fleet-forced", 1280, 800)
	click("This gateway alone", "closed")
	until(t, ctx, `document.getElementById("notice").textContent === "acme/small was forced closed in this gateway"`)
	if !own.Snapshot().Forced {
		t.Error("this gateway's own is not forced")
	}
	s.mu.Lock()
	if did := strings.Join(s.did, ", "); did != `force 1-a OPEN "maintenance"` {
		t.Errorf("it did %s", did)
	}
	s.err = errors.New("dial tcp 10.0.0.7:6379: connect: connection refused")
	s.mu.Unlock()
	click("The fleet", "reset")
	until(t, ctx, `document.getElementById("notice").textContent === "not done: the fleet's circuit was not changed: dial tcp 10.0.0.7:6379: connect: connection refused" && document.getElementById("notice").className === "bad"`)
	for _, width := range []int64{390, 1280} { // what is open is within the window
		do(t, ctx, chromedp.EmulateViewport(width, 900))
		for _, row := range []string{"#endpoints", "#fleet"} {
			eval[bool](t, ctx, `document.querySelectorAll("details").forEach(e => e.open = false); document.querySelector("`+row+` .control details").open = true`)
			if out := eval[string](t, ctx, `(() => { const r = document.querySelector("`+row+` .control form").getBoundingClientRect(); return r.left < 0 || r.right > innerWidth ? r.left + " to " + r.right : ""; })()`); out != "" {
				t.Errorf("at a width of %d the form of %s is at %s", width, row, out)
			}
			picture(t, ctx, fmt.Sprintf("fleet-control-%s-%d", row[1:], width), width, 900)
		}
	}
	eval[bool](t, ctx, `document.querySelectorAll("details").forEach(e => e.open = true); true`)
	colours(t, ctx)
	widths(t, ctx)
	if all := said(); len(all) > 1 { // the answer that is not "OK" is one
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
