package page_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"llmcall"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/gateway/internal/page"
	"llmcall/llm"
	"llmcall/validate"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // of the SDK of Gemini
}

// get requests a path of the world's server, and follows redirects.
func (w *world) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	r, err := http.Get(w.server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(text)
}

// first returns the first event of the stream.
func (w *world) first(t *testing.T) string {
	t.Helper()
	r, err := http.Get(w.server.URL + "/ui/events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	in := bufio.NewReader(r.Body)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return data
		}
	}
}

func quiet(o *page.Options) { o.Log = slog.New(slog.DiscardHandler) }

// once makes one call of a model of a provider with a plan.
func (w *world) once(t *testing.T, plan *chaos.Plan, prompt string, checks ...validate.Strategy) {
	t.Helper()
	c := w.client(t, w.provider(t, "acme/small", "openai", 1, plan), checks, func(c *llmcall.RetryConfig) { c.MaxAttempts = 2 })
	q := llm.Prompt(prompt)
	c.Do(page.With(t.Context(), page.Caller{Client: "web", Route: "support", ID: "req-1", Prompt: q}), q) // the page shows how it ended
}

const (
	secretPrompt = "Ms Secretname asks for her parcel"
	secretAnswer = "Mr Hiddenname has it"
)

// picky is a check that quotes the answer.
var picky = validate.Func("picky", func(_ context.Context, a *validate.Answer) error {
	return validate.Complaints{{Problem: "it says " + a.Text}}
})

func TestContentsAreHiddenUnlessTheyAreAskedFor(t *testing.T) {
	for _, contents := range []bool{false, true} {
		w := newWorld(t, contents, quiet)
		w.once(t, &chaos.Plan{Steps: []chaos.Fault{{Answer: secretAnswer}}}, secretPrompt)
		w.once(t, &chaos.Plan{Steps: []chaos.Fault{{Answer: secretAnswer}, {Answer: secretAnswer}}}, secretPrompt, picky)
		_, text := w.get(t, "/ui/")
		for place, got := range map[string]string{"page": text, "stream": w.first(t)} {
			for _, secret := range []string{secretPrompt, secretAnswer, "it says"} {
				if strings.Contains(got, secret) != contents {
					t.Errorf("contents %v: the %s has %q: %v", contents, place, secret, !contents)
				}
			}
			for _, shown := range []string{"acme/small", "small", "support", "req-1", "no valid answer"} {
				if !strings.Contains(got, shown) {
					t.Errorf("contents %v: the %s lacks %q", contents, place, shown)
				}
			}
		}
		if !contents && !strings.Contains(text, "complaints by: picky") {
			t.Error("the page does not say which check complained")
		}
	}
}

// What has the form of a key is hidden where contents are shown, also where a text was cut.
func TestContentsAreShownWithoutKeys(t *testing.T) {
	const key = "sk-proj-0123456789abcdefghijklmnop"
	long := strings.Repeat("word ", 797) // the key lies where a long text is cut: it is in neither half
	w := newWorld(t, true, quiet)
	w.once(t, &chaos.Plan{Steps: []chaos.Fault{{Answer: "It is " + key}, {Answer: "It is " + key}}}, "What is "+key+"?", picky)
	w.once(t, &chaos.Plan{Steps: []chaos.Fault{{Answer: "short"}}}, long+key+" "+long+long+long)
	_, text := w.get(t, "/ui/")
	for place, got := range map[string]string{"page": text, "stream": w.first(t)} {
		if !strings.Contains(got, "What is") || !strings.Contains(got, "it says") || !strings.Contains(got, "word word") {
			t.Errorf("the %s lacks the contents", place)
		}
		for from := range len(key) - 16 {
			if strings.Contains(got, key[from:from+16]) {
				t.Errorf("the %s has a part of the key", place)
				break
			}
		}
	}
}

// A ring with contents behind a page without does not show them either.
func TestAPageWithoutContentsHidesThoseOfTheRing(t *testing.T) {
	w := newWorld(t, true, func(o *page.Options) { quiet(o); o.Contents = false })
	w.once(t, &chaos.Plan{Steps: []chaos.Fault{{Answer: secretAnswer}, {Answer: secretAnswer}}}, secretPrompt, picky)
	if _, text := w.get(t, "/ui/"); strings.Contains(text, "Secretname") || strings.Contains(text, "Hiddenname") {
		t.Error("it shows them")
	}
}

func TestWhatOthersWroteIsEscaped(t *testing.T) {
	const evil = `<img src=x onerror=alert(1)>"'</pre><script>alert(2)</script>`
	w := newWorld(t, true, quiet)
	w.once(t, &chaos.Plan{Steps: []chaos.Fault{{Answer: evil}}}, evil)
	w.registry.Get(endpoint.Key{Model: evil, Address: evil}).Circuit(endpoint.Options{}).Trip(breaker.Failure{Cause: breaker.Cause{Kind: evil, Code: evil}})
	_, text := w.get(t, "/ui/")
	if strings.Contains(text, "<img") || strings.Contains(text, "<script>") {
		t.Error(text)
	}
	if !strings.Contains(text, "&lt;img src=x") {
		t.Error("it is not shown")
	}
}

// The policy admits nothing within the page; so there must be nothing.
func TestThePageHasNoScriptNoStyleAndNothingFromElsewhere(t *testing.T) {
	w := newWorld(t, false, quiet)
	w.once(t, nil, "Hi!")
	r, text := w.get(t, "/ui/")
	for _, forbidden := range []string{`(?i)\sstyle\s*=`, `(?i)<style`, `(?i)<script(?:\s+defer)?>`, `(?i)\son[a-z]+\s*=`, `(?i)(?:src|href|action)="(?:[a-z]+:|/)`, `(?i)javascript:`} {
		if m := regexp.MustCompile(forbidden).FindString(text); m != "" {
			t.Errorf("it has %q", m)
		}
	}
	policy := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("the policy is %q", policy)
	}
	for header, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"} {
		if got := r.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	h := page.Handler(page.Options{Registry: endpoint.Default(), Calls: page.NewRing(1, false)})
	for _, mount := range []struct {
		name   string
		at     string
		server http.Handler
	}{
		{"at the root", "/", h},
		{"below a prefix", "/ui/", h},
		{"with the prefix stripped", "/ui/", http.StripPrefix("/ui", h)},
		{"with all of it stripped", "/ui/", http.StripPrefix("/ui/", h)},
	} {
		t.Run(mount.name, func(t *testing.T) {
			for _, test := range []struct {
				method, path string
				status       int
				mediaType    string
			}{
				{"GET", "", 200, "text/html; charset=utf-8"},
				{"HEAD", "", 200, "text/html; charset=utf-8"},
				{"GET", "page.css", 200, "text/css; charset=utf-8"},
				{"GET", "page.js", 200, "text/javascript; charset=utf-8"},
				{"GET", "icon.svg", 200, "image/svg+xml"},
				{"HEAD", "events", 200, "text/event-stream; charset=utf-8"},
				{"GET", "page.html", 404, "text/plain; charset=utf-8"},
				{"GET", "act", 405, "text/plain; charset=utf-8"},
				{"POST", "", 405, "text/plain; charset=utf-8"},
				{"POST", "act", 403, "text/plain; charset=utf-8"},
			} {
				w := httptest.NewRecorder()
				mount.server.ServeHTTP(w, httptest.NewRequest(test.method, mount.at+test.path, nil))
				if w.Code != test.status || w.Header().Get("Content-Type") != test.mediaType {
					t.Errorf("%s %q: %d %s, want %d %s", test.method, test.path, w.Code, w.Header().Get("Content-Type"), test.status, test.mediaType)
				}
			}
		})
	}
	for path, server := range map[string]http.Handler{"/ui": h, "/a/ui": http.StripPrefix("/a", h), "/b/ui?x=1": http.StripPrefix("/b/ui", h)} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		server.ServeHTTP(w, r)
		to, err := r.URL.Parse(w.Header().Get("Location"))
		if want := strings.TrimSuffix(path, "?x=1") + "/"; w.Code != 301 || err != nil {
			t.Errorf("%s: %d, %v", path, w.Code, err)
		} else if full, _ := url.Parse("http://example.com" + path); full.ResolveReference(mustParse(w.Header().Get("Location"))).Path != want {
			t.Errorf("%s leads to %s, want %s", path, to, want)
		}
	}
}

func mustParse(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// form returns the fields of the first form of the page.
func (w *world) form(t *testing.T) url.Values {
	t.Helper()
	_, text := w.get(t, "/ui/")
	v := url.Values{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="(token|endpoint)" value="([^"]+)">`).FindAllStringSubmatch(text, 2) {
		v.Set(m[1], m[2])
	}
	return v
}

func TestForcingAndResetting(t *testing.T) {
	w := newWorld(t, false, quiet)
	e := w.registry.Get(endpoint.Key{Model: "acme/small"})
	circuit := e.Circuit(endpoint.Options{})
	good := w.form(t)
	if len(good) != 2 {
		t.Fatalf("the form has %v", good)
	}
	with := func(name, value string) url.Values {
		v := url.Values{"do": {"open"}, "why": {"by a test"}}
		for k := range good {
			v.Set(k, good.Get(k))
		}
		v.Set(name, value)
		return v
	}
	same := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	for _, test := range []struct {
		name     string
		form     url.Values
		header   http.Header
		readOnly bool
		status   int
		says     string
		want     string // state, forced
	}{
		{"a reader without the right", with("do", "open"), same, true, 403, "read-only", "CLOSED false"},
		{"a form without the token", with("token", ""), same, false, 403, "load the page again", "CLOSED false"},
		{"a guessed token", with("token", strings.Repeat("0", 32)), same, false, 403, "load the page again", "CLOSED false"},
		{"a page of another site", with("do", "open"), http.Header{"Sec-Fetch-Site": {"cross-site"}}, false, 403, "another site", "CLOSED false"},
		{"a page of another subdomain", with("do", "open"), http.Header{"Sec-Fetch-Site": {"same-site"}}, false, 403, "another site", "CLOSED false"},
		{"another origin, in an old browser", with("do", "open"), http.Header{"Origin": {"https://evil.example"}}, false, 403, "another site", "CLOSED false"},
		{"no origin at all", with("do", "open"), http.Header{"Origin": {"null"}}, false, 403, "another site", "CLOSED false"},
		{"an endpoint that is gone", with("endpoint", "e0"), same, false, 404, "is gone", "CLOSED false"},
		{"an unknown wish", with("do", "explode"), same, false, 400, `do must be "open", "closed" or "reset", got "explode"`, "CLOSED false"},
		{"a form that is too large", with("why", strings.Repeat("x", 5000)), same, false, 400, "too large", "CLOSED false"},
		{"open", with("do", "open"), same, false, 200, "was forced open", "OPEN true"},
		{"closed", with("do", "closed"), same, false, 200, "was forced closed", "CLOSED true"},
		{"reset", with("do", "reset"), same, false, 200, "was reset", "CLOSED false"},
	} {
		w.writable = !test.readOnly
		r, err := http.NewRequest("POST", w.server.URL+"/ui/act", strings.NewReader(test.form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = test.header.Clone()
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept", "text/plain")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		s := circuit.Snapshot()
		if got := s.State.String() + map[bool]string{true: " true", false: " false"}[s.Forced]; answer.StatusCode != test.status || !strings.Contains(string(text), test.says) || got != test.want {
			t.Errorf("%s: %d %q, %s; want %d %q, %s", test.name, answer.StatusCode, text, got, test.status, test.says, test.want)
		}
		if test.name == "open" && s.Cause.Kind != "by a test" {
			t.Errorf("the callers are told %q", s.Cause.Kind)
		}
	}
}

// Without a script the form leads back to the page.
func TestTheFormLeadsBackToThePage(t *testing.T) {
	w := newWorld(t, false, quiet)
	w.registry.Get(endpoint.Key{Model: "acme/small"})
	v := w.form(t)
	v.Set("do", "closed")
	r, err := http.PostForm(w.server.URL+"/ui/act", v)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 || r.Request.URL.Path != "/ui/" {
		t.Errorf("%d at %s", r.StatusCode, r.Request.URL)
	}
}

func TestAReaderWithoutTheRightGetsNeitherFormNorToken(t *testing.T) {
	w := newWorld(t, false, quiet)
	w.registry.Get(endpoint.Key{Model: "acme/small"})
	token := w.form(t).Get("token")
	w.writable = false
	_, text := w.get(t, "/ui/")
	for place, got := range map[string]string{"page": text, "stream": w.first(t)} {
		if strings.Contains(got, token) || strings.Contains(got, "<form") || strings.Contains(got, "Control") {
			t.Errorf("the %s has them", place)
		}
	}
}

// A server that shuts down would wait for the streams.
func TestStreamsEndWhenTheServerShutsDown(t *testing.T) {
	w := newWorld(t, false, quiet)
	r, err := http.Get(w.server.URL + "/ui/events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.server.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
