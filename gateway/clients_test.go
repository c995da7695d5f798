package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall/endpoint"
	"llmcall/gateway"
	"llmcall/validate"
)

// keyed is an upstream that knows the keys of its requests, and refuses some.
type keyed struct {
	*httptest.Server
	mu      sync.Mutex
	refused map[string]int // the status, by key
	asked   []string       // the keys of the requests, in order
}

func newKeyed(t *testing.T) *keyed {
	u := &keyed{refused: map[string]int{}}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		u.mu.Lock()
		u.asked = append(u.asked, key)
		status := u.refused[key]
		u.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch status {
		case 0:
			_, _ = io.WriteString(w, `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":1000,"total_tokens":2000}}`)
		case 429:
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(429)
			_, _ = io.WriteString(w, `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`)
		default:
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`)
		}
	}))
	t.Cleanup(u.Server.Close)
	return u
}

func (u *keyed) took() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	asked := u.asked
	u.asked = nil
	return asked
}

// A conversation begins with the same key each time; one that is at its limit, or out of
// quota, is set aside for the other, and is not asked again meanwhile.
func TestSeveralKeys(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusPaymentRequired} {
		t.Run(strconv.Itoa(status), func(t *testing.T) { severalKeys(t, status) })
	}
}

func severalKeys(t *testing.T, refused int) {
	t.Setenv("KEY_A", "key-a")
	t.Setenv("KEY_B", "key-b")
	u := newKeyed(t)
	s := serve(t, fmt.Sprintf(`
providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [env:KEY_A, env:KEY_B]}}
routes: {r: {models: [acme/m]}}
`, u.URL), nil)
	ask := func(question, more string) int {
		status, _, _ := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(`{"model": "r", "messages": [{"role": "user", "content": %q}%s]}`, question, more))
		return status
	}
	firsts := map[string]string{} // the key of a conversation
	for i := range 20 {
		question := fmt.Sprint("question ", i)
		ask(question, "")
		ask(question, `, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "and then?"}`)
		took := u.took()
		if len(took) != 2 || took[0] != took[1] {
			t.Errorf("the turns of a conversation went to %v", took)
		}
		firsts[took[0]] = question
	}
	if len(firsts) != 2 {
		t.Fatalf("20 conversations went to %v", firsts)
	}
	u.refused["key-a"] = refused
	for i := range 5 {
		if status := ask(firsts["key-a"], ""); status != 200 {
			t.Errorf("with a key that is refused: %d", status)
		}
		if took, want := fmt.Sprint(u.took()), map[bool]string{true: "[key-a key-b]", false: "[key-b]"}[i == 0]; took != want {
			t.Errorf("request %d went to %v, not %v", i, took, want)
		}
	}
}

// A client has its key, its routes and its limits; what it may not do is told apart from
// what a provider refuses.
func TestClients(t *testing.T) {
	u := newKeyed(t)
	webKey, webHash := gateway.NewKey()
	batchKey, batchHash := gateway.NewKey()
	s := serve(t, fmt.Sprintf(`
providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}
clients:
  - {name: web, sha256: %s, routes: [support], requests_per_minute: 2}
  - {name: batch, sha256: %s, max_cost_per_day: 1}
state_dir: %q
routes:
  support: {models: [acme/m], prices: {acme/m: {input: 0, output: 0}}}
  "*": {}
  costly: {models: [acme/m], prices: {acme/m: {input: 400, output: 600}}}
`, u.URL, webHash, batchHash, t.TempDir()), nil)
	ask := func(key, model string) (int, http.Header, string) {
		return post(t, s.url+"/v1/chat/completions", fmt.Sprintf(`{"model": %q, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}`, model), "Authorization", "Bearer "+key)
	}
	for _, c := range []struct {
		name, key, model string
		status           int
		code, limit      string
		final            bool
	}{
		{"no key", "", "support", 401, "invalid_api_key", "", true},
		{"another key", "llmcall_wrong", "support", 401, "invalid_api_key", "", true},
		{"another route", webKey, "costly", 404, "model_not_found", "", true},
		{"the first", webKey, "support", 200, "", "", false},
		{"the second", webKey, "support", 200, "", "", false},
		{"one too many", webKey, "support", 429, "client_limit", "requests_per_minute", false},
		{"an unknown price", batchKey, "acme/new", 503, "price_unknown", "", true},
		{"money", batchKey, "costly", 200, "", "", false},
		{"no more money", batchKey, "costly", 429, "client_limit", "max_cost_per_day", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, header, text := ask(c.key, c.model)
			if status != c.status || header.Get("X-Llmcall-Error") != c.code || header.Get("X-Llmcall-Limit") != c.limit || (header.Get("X-Should-Retry") == "false") != c.final {
				t.Errorf("got %d, %v: %s", status, header, text)
			}
			if status == 429 && header.Get("Retry-After") == "" {
				t.Error("it does not say when to come back")
			}
			if strings.Contains(text+fmt.Sprint(header), "llmcall_wrong") {
				t.Errorf("the answer has the key: %s", text)
			}
		})
	}
}

// When all circuits are open, the client is told when the first one admits a probe.
func TestTheFirstCircuitToComeBack(t *testing.T) {
	ill, worse := newKeyed(t), newKeyed(t)
	ill.refused["none"], worse.refused["none"] = 402, 402
	s := serve(t, fmt.Sprintf(`
providers:
  ill: {protocol: openai, base_url: "%s/v1", keys: [none]}
  worse: {protocol: openai, base_url: "%s/v1", keys: [none]}
routes:
  both: {models: [worse/m, ill/m], circuit_breaker_config: {recovery_timeout: 40}}
  one: {models: [ill/m], circuit_breaker_config: {recovery_timeout: 40}}
`, ill.URL, worse.URL), nil)
	post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, "both"))
	status, header, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, "both"))
	after, err := strconv.Atoi(header.Get("Retry-After"))
	if status != 503 || header.Get("X-Llmcall-Error") != "circuit_open" || err != nil || after < 30 || after > 40 {
		t.Errorf("got %d %v %s", status, header, text)
	}
	if n := len(ill.took()) + len(worse.took()); n != 2 {
		t.Errorf("%d requests were made", n)
	}
}

// A limit of money needs prices, and that is said before the first request.
func TestAClientWithMoneyNeedsPrices(t *testing.T) {
	_, hash := gateway.NewKey()
	cfg, err := gateway.Parse("gateway.yaml", []byte(fmt.Sprintf(`
providers: {acme: {protocol: openai, base_url: "http://127.0.0.1:1/v1", keys: [none]}}
clients: [{name: batch, sha256: %s, max_cost_per_day: 1}]
state_dir: %q
routes: {support: {models: [acme/m]}}
`, hash, t.TempDir())), validate.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = gateway.New(cfg, gateway.Options{}); err == nil || !strings.HasPrefix(err.Error(), "routes.support, for clients[0].max_cost_per_day: prices: the price of acme/m is not known") {
		t.Errorf("got %v", err)
	}
}

// The end of a gateway: an answer that has begun is finished, what waits for its turn and
// what is new gets 503.
func TestShutdown(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(string(body), "limited") {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(429)
			_, _ = io.WriteString(w, `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`)
			begun <- struct{}{}
			return
		}
		begun <- struct{}{}
		<-finish
		_, _ = io.WriteString(w, `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}`)
	}))
	defer upstream.Close()
	s := serve(t, fmt.Sprintf(`
providers: {acme: {protocol: openai, base_url: "%[1]s/v1", keys: [none]}, other: {protocol: openai, base_url: "%[1]s/v1/", keys: [none]}}
routes: {slow: {models: [acme/slow]}, limited: {models: [other/limited]}}
`, upstream.URL), nil)
	type end struct {
		status int
		code   string
	}
	ask := func(model string) chan end {
		c := make(chan end, 1)
		go func() {
			status, header, _ := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, model))
			c <- end{status, header.Get("X-Llmcall-Error")}
		}()
		<-begun
		return c
	}
	slow, limited := ask("slow"), ask("limited")
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	if e := <-limited; e != (end{503, "shutting_down"}) {
		t.Errorf("what waits: %+v", e)
	}
	for {
		resp, err := http.Get(s.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == 503 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if status, header, _ := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, "slow")); status != 503 || header.Get("Retry-After") != "1" {
		t.Errorf("what is new: %d %v", status, header)
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended before the answer: %v", err)
	default:
	}
	close(finish)
	if e := <-slow; e.status != 200 {
		t.Errorf("what has begun: %+v", e)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Another configuration is served from then on; an impossible one is not. A circuit that is
// open stays open, and a client's limit is not filled.
func TestReload(t *testing.T) {
	u := newKeyed(t)
	u.refused["none"] = 402
	key, hash := gateway.NewKey()
	text := fmt.Sprintf(`
providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}
clients: [{name: web, sha256: %s, requests_per_minute: 3}]
routes: {one: {models: [acme/m]}}
`, u.URL, hash)
	s := serve(t, text, nil)
	parse := func(text string) *gateway.Config {
		cfg, err := gateway.Parse("gateway.yaml", []byte(text), validate.Builder{})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	ask := func(model string) (int, string) {
		status, header, _ := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, model), "X-Api-Key", key)
		return status, header.Get("X-Llmcall-Error")
	}
	if status, code := ask("one"); status != 503 || code != "provider_quota_exhausted" {
		t.Fatalf("got %d %s", status, code)
	}
	if err := s.Reload(parse(strings.Replace(text, "one:", "two:", 1))); err != nil {
		t.Fatal(err)
	}
	if status, code := ask("two"); status != 503 || code != "circuit_open" {
		t.Errorf("the circuit of a new route: %d %s", status, code)
	}
	if status, _ := ask("one"); status != 404 {
		t.Errorf("a route that is gone: %d", status)
	}
	if err := s.Reload(parse(strings.Replace(text, "acme/m", "amce/m", 1))); err == nil || !strings.Contains(err.Error(), "did you mean acme?") {
		t.Errorf("an impossible configuration: %v", err)
	}
	if err := s.Reload(parse("routes: {}")); err == nil || !strings.Contains(err.Error(), "everybody could ask") {
		t.Errorf("without clients: %v", err)
	}
	if status, code := ask("two"); status != 503 || code != "circuit_open" {
		t.Errorf("after an impossible configuration: %d %s", status, code)
	}
	if status, code := ask("two"); status != 429 || code != "client_limit" {
		t.Errorf("the limit after a reload: %d %s", status, code)
	}
	if took := u.took(); len(took) != 1 {
		t.Errorf("%d requests were made", len(took))
	}
}

// What is too large or too slow is refused, and does not keep anybody else.
func TestBounds(t *testing.T) {
	s := serve(t, "max_body: 100KiB\n"+fourProviders, map[string]string{"up": ""})
	large := fmt.Sprintf(hello, "chat/m"+strings.Repeat("x", 200<<10))
	if status, header, text := post(t, s.url+"/v1/chat/completions", large); status != 413 || header.Get("X-Llmcall-Error") != "request_too_large" {
		t.Errorf("a body that is too large: %d %s", status, text)
	}
	for _, garbage := range []string{"", "null", "[]", `"x"`, "{", "\x00\xff", `{"model": 5}`, `{"model": "chat/m", "messages": 7}`, strings.Repeat("[", 50_000), `{"model": "chat/m", "messages": [` + strings.Repeat(`{"a":`, 10_000)} {
		status, header, text := post(t, s.url+"/v1/chat/completions", garbage)
		if status != 400 || header.Get("X-Llmcall-Error") != "invalid_request" {
			t.Errorf("%.40q: %d %.200s", garbage, status, text)
		}
	}
}

// The endpoints have what they share from the fleet that the program has opened: another one
// needs a restart. Nothing shows the password.
func TestAFleetNeedsARestart(t *testing.T) {
	const text = `
fleet: redis://:sesame@one:6379/0
fleet_only: [openai/*]
fleet_secret: env:ONE
`
	parse := func(text string) *gateway.Config {
		cfg, err := gateway.Parse("gateway.yaml", []byte(text), validate.Builder{})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	if _, err := gateway.New(parse(text), gateway.Options{}); err == nil || !strings.Contains(err.Error(), "fleet: has no effect unless Options.Endpoints is set") {
		t.Errorf("nobody has opened it: %v", err)
	}
	registry, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, hash := gateway.NewKey()
	withClient := parse(text + "clients: [{name: web, sha256: " + hash + ", max_cost_per_day: 5}]\n")
	if _, err := gateway.New(withClient, gateway.Options{Endpoints: registry}); err == nil || !strings.Contains(err.Error(), "fleet: has no effect on clients unless Options.Limits is set") {
		t.Errorf("its clients do not share it: %v", err)
	}
	g, err := gateway.New(parse(text), gateway.Options{Endpoints: registry})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(parse(text + "max_body: 1MiB\n")); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ old, now, want string }{
		{"one:6379", "two:6379", "fleet must be redis://one:6379/0 until the gateway is started again, got redis://two:6379/0"},
		{"sesame", "basil", "fleet must be redis://one:6379/0 until the gateway is started again, got redis://one:6379/0 with another password or other options"},
		{text, "routes: {}", "fleet must be redis://one:6379/0 until the gateway is started again, got nothing"},
		{"fleet_only: [openai/*]\n", "", "fleet_only must be openai/* until the gateway is started again, got nothing"},
		{"env:ONE", "env:TWO", "fleet_secret must be env:ONE until the gateway is started again, got env:TWO"},
		{"fleet_secret", "fleet_min_reporters: 3\nfleet_secret", "fleet_min_reporters must be nothing until the gateway is started again, got 3"},
	} {
		if err := g.Reload(parse(strings.Replace(text, c.old, c.now, 1))); err == nil || err.Error() != c.want {
			t.Errorf("%s instead of %s:\n got %v\nwant %s", c.now, c.old, err, c.want)
		}
	}
}
