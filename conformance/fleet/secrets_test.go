//go:build !wrongclock

package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"llmcall/internal/servers"
)

// Two gateways of one fleet serve two clients, with an outage, limits of clients, and words of the
// provider that have its key in them. Neither what goes over the wire, nor what the scripts do, nor
// what the store keeps has a key, a secret, or anything of a prompt, an answer or what the provider
// has said; the store's password is in the greeting of connections alone.
func TestNoSecretGoesToTheStore(t *testing.T) {
	atOnce(t)
	const (
		user, password = "gateways", "store-password-8d1f"
		ownSecret      = "fleet-secret-77c0"
		question       = "How far is the moon, says question-3b55?"
		answered       = "answer-9a21"
		spoken         = "words-of-the-provider-41e6"
	)
	keys := []string{"provider-key-c3a9", "provider-key-d04b"}
	clients := []string{"client-key-e511", "client-key-f622"}
	hashes := make([]string, len(clients))
	for i, key := range clients {
		sum := sha256.Sum256([]byte(key))
		hashes[i] = hex.EncodeToString(sum[:])
	}

	var broken, asked atomic.Int64
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if broken.Load() > 0 {
			w.WriteHeader(http.StatusInternalServerError)
			key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			fmt.Fprintf(w, `{"error": {"message": "%s: %s has failed", "type": "server_error", "code": "failed for %s"}}`, spoken, key, key)
			return
		}
		fmt.Fprintf(w, `{"choices": [{"message": {"role": "assistant", "content": %q}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}}`, answered)
	}))
	defer provider.Close()

	store := servers.WithPassword(t, user+":"+password)
	wire := newTap(t, store.Addr)
	_, port, err := net.SplitHostPort(store.Addr)
	if err != nil {
		t.Fatal(err)
	}
	seen := &lockedBuffer{}
	monitor := exec.Command("redis-cli", "-p", port, "--user", user, "-a", password, "--no-auth-warning", "monitor")
	monitor.Stdout = seen
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = monitor.Process.Kill()
		_ = monitor.Wait()
	}()
	eventually(t, "MONITOR to begin", func() bool { return strings.Contains(seen.String(), "OK") })

	config := write(t, "gateway.yaml", fmt.Sprintf(`
fleet: env:SECRETS_FLEET
fleet_secret: env:SECRETS_OWN
providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [env:SECRETS_KEY_0, env:SECRETS_KEY_1]}}
clients:
  - {name: web, sha256: "%s", requests_per_minute: 6000, tokens_per_minute: 1000000, max_cost_per_day: 5}
  - {name: app, sha256: "%s", requests_per_minute: 6000, max_cost_per_day: 5}
routes:
  chat:
    models: [acme/small]
    max_attempts: 2
    prices: {acme/small: {input: 0.15, output: 0.60}}
    requests_per_minute: 6000
    circuit_breaker_config: {recovery_timeout: 1s}
`, provider.URL, hashes[0], hashes[1]))
	environment := append(os.Environ(),
		"SECRETS_FLEET=redis://"+user+":"+password+"@"+wire.Addr().String()+"/0", "SECRETS_OWN="+ownSecret,
		"SECRETS_KEY_0="+keys[0], "SECRETS_KEY_1="+keys[1])
	program := command(t)
	addresses := []string{freeAddress(t), freeAddress(t)}
	for _, address := range addresses {
		cmd := exec.Command(program, "serve", "--config", config, "--listen", address)
		cmd.Env = environment
		process(t, address, cmd)
	}
	statuses := map[int]int{}
	ask := func(n int) {
		for i := range n {
			r, err := http.NewRequest(http.MethodPost, "http://"+addresses[i%2]+"/v1/chat/completions",
				strings.NewReader(fmt.Sprintf(`{"model": "chat", "messages": [{"role": "user", "content": %q}]}`, question)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+clients[i/2%2])
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			statuses[response.StatusCode]++
			time.Sleep(10 * time.Millisecond)
		}
	}
	ask(40)
	time.Sleep(1500 * time.Millisecond) // an exchange
	broken.Store(1)
	ask(40)
	list := exec.Command(program, "circuits", "--config", config)
	list.Env = environment
	listed, err := list.CombinedOutput()
	if err != nil || !bytes.Contains(listed, []byte("open")) {
		t.Errorf("%v: the circuits are\n%s", err, listed)
	}
	kept := dump(store)
	broken.Store(0)
	time.Sleep(2500 * time.Millisecond)
	ask(40)
	if statuses[200] < 45 || statuses[503] == 0 {
		t.Errorf("the clients got %v", statuses)
	}

	kept += dump(store)
	wire.mu.Lock()
	sent, got := wire.up.String(), wire.down.String()
	wire.mu.Unlock()
	done := seen.String()
	for _, what := range []string{":circuit:", ":purse:", ":meter", ":limits"} {
		if !strings.Contains(kept, what) || !strings.Contains(done, what) || !strings.Contains(sent, what) {
			t.Errorf("nothing was shown of %s", what)
		}
	}
	if !strings.Contains(sent, "failed for") {
		t.Error("the code of the provider's failure was not told")
	}
	for place, text := range map[string]string{"went to the store": sent, "came from the store": got, "was done in the store": done, "is kept in the store": kept} {
		for _, secret := range slices.Concat(keys, clients, hashes, []string{ownSecret, question, "question-3b55", answered, spoken}) {
			for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))} {
				if strings.Contains(text, form) {
					t.Errorf("%q %s", form, place)
				}
			}
		}
		if place != "went to the store" && strings.Contains(text, password) {
			t.Errorf("the password %s", place)
		}
		if strings.Contains(text, "llmcall:secret") {
			t.Errorf("with fleet_secret, the key of another secret %s", place)
		}
	}
	greeted := strings.Count(sent, "\r\nAUTH\r\n$8\r\n"+user+"\r\n$19\r\n"+password+"\r\n")
	if n := strings.Count(sent, password); n == 0 || n != greeted {
		t.Errorf("the password was sent %d times, %d of them in a greeting", n, greeted)
	}
	t.Logf("%d requests of clients, %d to the provider: %d bytes went to the store, %d came from it; MONITOR showed %d commands; the store has\n%s",
		120, asked.Load(), len(sent), len(got), strings.Count(done, "\n"), kept)
}

// dump returns all that a server keeps.
func dump(s *servers.Server) string {
	var text strings.Builder
	for _, key := range strings.Fields(s.Do("--scan")) {
		what := "hgetall"
		if s.Do("type", key) == "string" {
			what = "get"
		}
		fmt.Fprintf(&text, "%s: %s\n", key, strings.ReplaceAll(s.Do(what, key), "\n", " "))
	}
	return text.String()
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}
