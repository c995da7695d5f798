package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/fleet/internal/store/redis"
	"llmcall/gateway"
	"llmcall/internal/servers"
	_ "llmcall/provider/openai"
	"llmcall/validate"
)

// dials returns what connects processes to a store: one in memory, and a real one.
func dials(t *testing.T) map[string]func(t *testing.T) func() store.Store {
	return map[string]func(t *testing.T) func() store.Store{
		"in memory": func(*testing.T) func() store.Store {
			server := lua.New()
			return func() store.Store { return server.Dial() }
		},
		"Redis": func(t *testing.T) func() store.Store {
			server := servers.Redis(t)
			return func() store.Store {
				s, err := redis.Open(server.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		},
	}
}

func openAt(t *testing.T, s store.Store) *Fleet {
	t.Helper()
	f, err := open(s, Options{Secret: "of the tests", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// provider is one whose answers are as long as they may be, and the sum of that.
func provider(t *testing.T) (url string, billed *atomic.Int64) {
	billed = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			One   int64 `json:"max_tokens"`
			Other int64 `json:"max_completion_tokens"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		n := max(body.One, body.Other)
		billed.Add(n)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":%[1]d,"total_tokens":%[1]d}}`, n)
	}))
	t.Cleanup(server.Close)
	return server.URL, billed
}

// Two gateways of a fleet have what a client may use together, to the cent and to the
// request, however many ask at a time; and they have it without a directory.
func TestTwoGatewaysOnOnePurse(t *testing.T) {
	for name, begin := range dials(t) {
		t.Run(name, func(t *testing.T) {
			dial := begin(t)
			upstream, billed := provider(t)
			rich, richHash := gateway.NewKey()
			busy, busyHash := gateway.NewKey()
			text := fmt.Sprintf(`
providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}
clients:
  - {name: rich, sha256: %s, max_cost_per_day: 12}
  - {name: busy, sha256: %s, requests_per_minute: 20, tokens_per_minute: 100000}
state_dir: %q
routes: {r: {models: [acme/m], prices: {acme/m: {input: 0, output: 600}}}}
`, upstream, richHash, busyHash, t.TempDir())
			var urls []string
			for range 2 {
				f := openAt(t, dial())
				cfg, err := gateway.Parse("gateway.yaml", []byte(text), validate.Builder{})
				if err != nil {
					t.Fatal(err)
				}
				g, err := gateway.New(cfg, gateway.Options{Endpoints: f.Endpoints(), Limits: f})
				if err != nil {
					t.Fatal(err)
				}
				server := httptest.NewServer(g.Handler())
				t.Cleanup(func() {
					server.Close()
					if err := g.Shutdown(context.Background()); err != nil {
						t.Error(err)
					}
					http.DefaultClient.CloseIdleConnections()
				})
				urls = append(urls, server.URL)
			}
			ask := func(url, key string) (status int, limit string) {
				r, err := http.NewRequest(http.MethodPost, url+"/v1/chat/completions", strings.NewReader(`{"model": "r", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}`))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+key)
				r.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				_, _ = io.Copy(io.Discard, resp.Body)
				return resp.StatusCode, resp.Header.Get("X-Llmcall-Limit")
			}
			storm := func(key, limit string) int64 {
				var all sync.WaitGroup
				var n atomic.Int64
				for i := range 8 {
					all.Go(func() {
						for range 10 {
							switch status, why := ask(urls[i%2], key); {
							case status == 200:
								n.Add(1)
							case status == 503 && why == "fleet", status == 429 && why == "tokens_per_minute" && limit == "requests_per_minute":
								// On a busy machine the store is slow, and a gateway has a part alone.
							case status != 429 || why != limit:
								t.Errorf("%d %s", status, why)
							}
						}
					})
				}
				all.Wait()
				return n.Load()
			}
			begun, n := time.Now(), int64(0)
			for n < 19 && time.Since(begun) < 20*time.Second {
				n += storm(busy, "requests_per_minute")
			}
			// One comes in every three seconds, and each may use one more while the store is slow.
			if most := 23 + int64(time.Since(begun).Seconds()/3); n < 19 || n > most {
				t.Errorf("%d requests in %v, from 19 to %d are allowed", n, time.Since(begun), most)
			}
			const all = 12 * 1_000_000 / 600
			billed.Store(0)
			storm(rich, "max_cost_per_day")
			for range 200 { // until what one has leased comes to the other
				if billed.Load() >= all*95/100 {
					break
				}
				time.Sleep(50 * time.Millisecond)
				for _, url := range urls {
					ask(url, rich)
				}
			}
			if n := billed.Load(); n > all || n < all*95/100 {
				t.Errorf("%d tokens are billed, %d are allowed", n, all)
			}
		})
	}
}

// A real server runs the scripts as the one in memory does: processes that spend at the same
// time use the limit exactly, also with one of them killed and the scripts forgotten.
func TestProcessesSpendAtTheSameTime(t *testing.T) {
	for name, begin := range dials(t) {
		t.Run(name, func(t *testing.T) {
			dial := begin(t)
			const limit = 3_000_000
			var all sync.WaitGroup
			var got atomic.Int64
			for i := range 4 {
				f := openAt(t, dial())
				h := &holder{t: t, fleet: f, purse: f.Account("the day", money(limit), time.UTC)}
				m := f.Meter("a minute", 1000)
				all.Go(func() {
					for range 40 {
						got.Add(h.spend(int64(20_000*(i+1)), 1000))
						m.Fetch(1)
						time.Sleep(20 * time.Millisecond)
					}
				})
			}
			all.Wait()
			if n := got.Load(); n > limit || n < limit*9/10 {
				t.Errorf("they spent %d of %d", n, limit)
			}
		})
	}
}
