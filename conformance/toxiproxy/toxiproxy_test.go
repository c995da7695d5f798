// Package toxiproxy tests the gateway on bad networks, before its providers and after its
// clients: https://github.com/Shopify/toxiproxy.
package toxiproxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/gateway"
	_ "llmcall/provider/all"
	"llmcall/validate"

	toxi "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// between starts a proxy before an address, with a toxic in what comes from it.
func between(t *testing.T, to, toxic string) string {
	t.Helper()
	server := toxi.NewServer(toxi.NewMetricsContainer(nil), zerolog.Nop())
	p := toxi.NewProxy(server, "p", "127.0.0.1:0", strings.TrimPrefix(to, "http://"))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if toxic != "" {
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
	return "http://" + p.Listen
}

// Between the gateway and its provider: an answer is whole and valid, or an error, in time;
// and never an answer that was cut as if it were whole.
func TestBeforeAProvider(t *testing.T) {
	provider, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(provider)
	defer upstream.Close()
	for _, c := range []struct {
		toxic  string
		served bool
	}{
		{"", true},
		{`{"type":"latency","attributes":{"latency":100,"jitter":50}}`, true},
		{`{"type":"slicer","attributes":{"average_size":7,"size_variation":3,"delay":10}}`, true},
		{`{"type":"bandwidth","attributes":{"rate":20}}`, true},
		{`{"type":"slow_close","attributes":{"delay":300}}`, true},
		{`{"type":"limit_data","attributes":{"bytes":500}}`, false},
		{`{"type":"reset_peer","attributes":{"timeout":0}}`, false},
		{`{"type":"timeout","attributes":{"timeout":0}}`, false}, // it hangs for ever
	} {
		t.Run(c.toxic, func(t *testing.T) {
			base := between(t, upstream.URL, c.toxic)
			cfg, err := gateway.Parse("gateway.yaml", fmt.Appendf(nil, `
providers:
  chat: {protocol: openai, base_url: "%[1]s/v1", keys: [none]}
  claude: {protocol: anthropic, base_url: "%[1]s", keys: [none]}
  google: {protocol: gemini, base_url: "%[1]s", keys: [none]}
routes:
  chat: {models: [chat/m], max_attempts: 2, initial_delay: 10ms, attempt_timeout: 2s}
  claude: {models: [claude/m], max_attempts: 2, initial_delay: 10ms, attempt_timeout: 2s}
  google: {models: [google/m], max_attempts: 2, initial_delay: 10ms, attempt_timeout: 2s}
`, base), validate.Builder{})
			if err != nil {
				t.Fatal(err)
			}
			registry, err := endpoint.NewRegistry(endpoint.Config{})
			if err != nil {
				t.Fatal(err)
			}
			g, err := gateway.New(cfg, gateway.Options{Endpoints: registry})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Shutdown(context.Background())
			front := httptest.NewServer(g.Handler())
			defer front.Close()
			for _, route := range []string{"chat", "claude", "google"} {
				for _, stream := range []bool{false, true} {
					start := time.Now()
					status, text := ask(t, front.URL, route, stream)
					whole := status == 200 && strings.Contains(text, `"finish_reason":"stop"`) || status == 200 && strings.Contains(text, `"finish_reason": "stop"`)
					if whole != c.served || !whole && !strings.Contains(text, `"error"`) {
						t.Errorf("%s, stream %v: %d %s", route, stream, status, text)
					}
					if took := time.Since(start); took > 8*time.Second {
						t.Errorf("%s, stream %v: it took %v", route, stream, took)
					}
				}
			}
		})
	}
}

func ask(t *testing.T, url, route string, stream bool) (int, string) {
	t.Helper()
	resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(fmt.Sprintf(`{"model": %q, "stream": %v, "messages": [{"role": "user", "content": "Hello"}]}`, route, stream)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(text)
}
