package gateway_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmcall/gateway"
	"llmcall/validate"
)

// Twenty thousand calls, or as many as fit into 50 s, in all protocols before a provider that fails in every way, of
// clients of which some leave at any moment, while the configuration is read again and
// again: nothing is left of them, and no answer is another's.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	const workers, calls = 50, 20_000
	plan := `
seed: 7
weights:
  - {weight: 60, kind: right}
  - {weight: 6, kind: status, status: 500}
  - {weight: 4, kind: cut}
  - {weight: 4, kind: stream_error, status: 500}
  - {weight: 4, kind: empty}
  - {weight: 4, kind: garbage}
  - {weight: 4, kind: reset}
  - {weight: 4, kind: status, status: 400}
  - {weight: 4, kind: prose}
  - {weight: 2, kind: right, delay: 20ms}
`
	config := fourProviders + `
routes:
  r: {models: [chat/m, claude/m, google/m, responses/m], max_attempts: 4, initial_delay: 1ms, max_delay: 5ms, max_rate_limit_wait: 50ms, enable_circuit_breaker: false}
  checked: {models: [claude/m, google/m], checks: [not_empty], max_attempts: 3, initial_delay: 1ms, max_delay: 5ms, max_rate_limit_wait: 50ms, enable_circuit_breaker: false}
  "*": {max_attempts: 2, initial_delay: 1ms, max_delay: 5ms, max_rate_limit_wait: 50ms, enable_circuit_breaker: false}
`
	s := serve(t, config, map[string]string{"up": plan})
	text := strings.NewReplacer("{up1}", s.upstream["up"]+"/v1", "{up}", s.upstream["up"]).Replace(config)
	transport := &http.Transport{MaxIdleConnsPerHost: workers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var statuses sync.Map
	var left atomic.Int64
	one := func(n int) {
		c := streams[n%len(streams)]
		name := []string{"r", "checked", "chat/m", "claude/m", fmt.Sprintf("google/m%d", n%3000), "nothing"}[n/4%6]
		path, body := c.path, strings.Replace(c.body, `"r"`, fmt.Sprintf("%q", name), 1)
		if c.name == "gemini" {
			path = strings.Replace(path, "/r:", "/"+name+":", 1)
		}
		if n%3 == 0 {
			body, path = strings.Replace(body, `"stream": true`, `"stream": false`, 1), strings.Replace(path, "streamGenerateContent?alt=sse", "generateContent", 1)
		} else if n%5 == 0 {
			path = strings.TrimSuffix(path, "?alt=sse")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if n%10 == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
			defer cancel()
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("%s %s: %v", path, body, err)
			}
			left.Add(1)
			return
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil && ctx.Err() == nil {
			t.Errorf("%s %s: %v", path, body, err)
		}
		count, _ := statuses.LoadOrStore(resp.StatusCode, new(atomic.Int64))
		count.(*atomic.Int64).Add(1)
	}
	var asked atomic.Int64
	ask := func(from, to int) {
		end := time.Now().Add(25 * time.Second) // on a busy machine, with the race detector
		var group sync.WaitGroup
		next := atomic.Int64{}
		next.Store(int64(from))
		for range workers {
			group.Go(func() {
				for n := next.Add(1); n <= int64(to) && time.Now().Before(end); n = next.Add(1) {
					asked.Add(1)
					one(int(n))
				}
			})
		}
		group.Wait()
	}
	state := func() (goroutines int, heap uint64) {
		transport.CloseIdleConnections()
		for range 50 { // connections end a little later
			http.DefaultTransport.(*http.Transport).CloseIdleConnections()
			runtime.GC()
			if goroutines = runtime.NumGoroutine(); goroutines < 60 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return goroutines, m.HeapAlloc
	}
	stop := make(chan struct{})
	var reloads sync.WaitGroup
	reloads.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			cfg, err := gateway.Parse("gateway.yaml", []byte(text), validate.Builder{})
			if err == nil {
				err = s.Reload(cfg)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	start := time.Now()
	ask(0, calls/2)
	goroutines, heap := state()
	ask(calls/2, calls)
	close(stop)
	reloads.Wait()
	goroutinesAfter, heapAfter := state()
	statuses.Range(func(k, v any) bool { t.Log(k, v.(*atomic.Int64).Load()); return true })
	t.Logf("%d calls in %v; %d left; goroutines %d, %d; heap %d KiB, %d KiB", asked.Load(), time.Since(start), left.Load(), goroutines, goroutinesAfter, heap>>10, heapAfter>>10)
	if goroutinesAfter > goroutines+workers || heapAfter > heap+heap/2+8<<20 {
		t.Errorf("goroutines were %d and are %d; the heap was %d bytes and is %d", goroutines, goroutinesAfter, heap, heapAfter)
	}
	if all, ok := statuses.Load(200); !ok || all.(*atomic.Int64).Load() < asked.Load()/2 {
		t.Errorf("few answers: %v", all)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
