package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Servers of one's own take keys that are parts of words. What a server says is read with
// them, and they are left where they are. With one of 8 characters or more, too, it is read
// before the key is taken out, which is also found where it is broken by spaces.
func TestAKeyDoesNotSpoilWhatAServerSays(t *testing.T) {
	bodies := map[string]string{
		"openai":    `{"error":{"code":"context_length_exceeded","type":"invalid_request_error","message":"none of the text fits: test it, %s"}}`,
		"anthropic": `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: none of the text fits: test it, %s"}}`,
		"gemini":    `{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"none of the text fits: it exceeds the maximum number of tokens allowed, test it, %s"}}`,
	}
	for provider, body := range bodies {
		for _, key := range []string{"x", "none", "test", "ollama", "1234567", "12345678", "istoolong", "length_exceeded", "maximumnumber", "sk-0123456789"} {
			t.Setenv(strings.ToUpper(provider)+"_API_KEY", key)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, strings.ReplaceAll(body, "%s", key))
			}))
			got := command(t, "", "call", "--model", provider+"/m", "--base-url", server.URL, "--trace", "--output", "json", "Hello")
			server.Close()
			var d struct {
				Error    string
				Attempts []struct{ Kind string }
			}
			if err := json.Unmarshal([]byte(got.stdout), &d); err != nil || len(d.Attempts) != 1 {
				t.Fatalf("%v: %s%s", err, got.stdout, got.stderr)
			}
			if d.Attempts[0].Kind != "context_too_long" {
				t.Errorf("%s, key %q: %s: %s", provider, key, d.Attempts[0].Kind, d.Error)
			}
			all := got.stdout + got.stderr
			switch {
			case len(key) >= 8 && (strings.Contains(all, key) || !strings.Contains(all, "[key]")):
				t.Errorf("%s: the key %q is shown: %s", provider, key, all)
			case len(key) < 8 && !strings.Contains(d.Error, "none of the text fits") || len(key) < 8 && strings.Contains(all, "[key]"):
				t.Errorf("%s, key %q: %s", provider, key, d.Error)
			}
		}
	}
}
