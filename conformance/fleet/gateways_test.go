package fleet

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmcall/breaker"
	"llmcall/internal/servers"
)

// process starts a program that ends with the test, and waits until it takes connections.
func process(t *testing.T, address string, cmd *exec.Cmd) {
	t.Helper()
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(cmd.Path), log.String())
		}
	})
	for deadline := time.After(30 * time.Second); ; {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended:\n%s", cmd.Path, log.String())
		case <-deadline:
			t.Fatalf("%s takes no connections:\n%s", cmd.Path, log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// command returns the path of the command llmcall, which is built once.
func command(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "llmcall")
	if err != nil {
		return "", err
	}
	tidy(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "llmcall")
	build := exec.Command("go", "build", "-o", path, "./cmd/llmcall")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

const balanced = `global
  maxconn 1000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend clients
  bind %s
  default_backend gateways
backend gateways
  balance roundrobin
  http-response set-header X-Server %%[srv_name]
  server a %s
  server b %s
`

// Two gateways of one fleet after HAProxy, which gives them the requests in turn: the
// provider sees one circuit.
func TestTwoGatewaysAfterHAProxy(t *testing.T) {
	store := servers.Redis(t)
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skipf("%v: apt-get install haproxy", err)
	}
	provider := newSource(t)
	config := write(t, "gateway.yaml", fmt.Sprintf(`
fleet: %s
providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}
routes:
  chat: {models: [acme/fleet], max_attempts: 1, circuit_breaker_config: {recovery_timeout: 1s}}
`, store.URL, provider.URL))
	program := command(t)
	a, b, front := freeAddress(t), freeAddress(t), freeAddress(t)
	for _, address := range []string{a, b} {
		process(t, address, exec.Command(program, "serve", "--config", config, "--listen", address))
	}
	process(t, front, exec.Command(haproxy, "-db", "-f", write(t, "haproxy.cfg", fmt.Sprintf(balanced, front, a, b))))

	var (
		clients sync.WaitGroup
		ending  atomic.Bool
		mu      sync.Mutex
		answers = map[string]int{} // by the gateway and the status
	)
	const many = 8
	for range many {
		clients.Go(func() {
			for !ending.Load() {
				resp, err := http.Post("http://"+front+"/v1/chat/completions", "application/json",
					bytes.NewReader([]byte(`{"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}`)))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				mu.Lock()
				answers[resp.Header.Get("X-Server")+" "+resp.Status[:3]]++
				mu.Unlock()
				if resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	count := func(suffix string) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for name, c := range answers {
			if strings.HasSuffix(name, suffix) {
				n += c
			}
		}
		return n
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				ending.Store(true)
				clients.Wait()
				t.Fatalf("waited 20 s for %s: %v", what, answers)
			}
		}
	}
	time.Sleep(2 * time.Second) // an exchange of both, so that each knows of the other
	broke := provider.breaks(true)
	until("a call that is refused", func() bool { return count(" 503") > 0 })
	opened := time.Now()
	time.Sleep(2500 * time.Millisecond)
	whole := provider.breaks(false)
	before := count(" 200")
	until("calls that are answered again", func() bool { return count(" 200") > before+100 })
	ending.Store(true)
	clients.Wait()

	came := provider.seen(broke, broke.Add(800*time.Millisecond))
	// Those that were under way when the threshold was reached are sent again as they fail, until
	// the store has said to their gateway that the circuit is open.
	if most := circuit.FailureThreshold + 2*many; len(came) > most {
		t.Errorf("%d requests came in the outage, want at most %d, the %d that were under way, and as many until both gateways knew", len(came), circuit.FailureThreshold, many)
	}
	// Two probes close the circuit; the requests after the second one's end are none.
	var probes []request
	for _, r := range provider.seen(broke.Add(900*time.Millisecond), time.Time{}) {
		probes = append(probes, r)
		if !r.broken && len(probes) > 1 && !probes[len(probes)-2].broken {
			break
		}
	}
	if n := most(probes); n > breaker.DefaultHalfOpenProbes {
		t.Errorf("%d probes were under way at a time", n)
	}
	for _, server := range []string{"a", "b"} {
		if answers[server+" 200"] < 50 || answers[server+" 503"] < 10 {
			t.Errorf("of gateway %s came %v", server, answers)
		}
	}
	t.Logf("%d requests in the outage before the circuit was open, which took %v; %d probes, %d at a time; answered %v after it; answers: %v",
		len(came), opened.Sub(broke).Round(time.Millisecond), len(probes), most(probes), time.Since(whole).Round(time.Millisecond), answers)
}
