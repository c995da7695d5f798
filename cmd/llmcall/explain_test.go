package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmcall/provider"
)

func TestExplainSaysWhatAnErrorIsAndWhatFollows(t *testing.T) {
	config := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte("max_retry_after: 10\ndecisions: {content_filtered: {again: backoff, breaker: ignore}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unpaced := filepath.Join(t.TempDir(), "unpaced.yaml")
	if err := os.WriteFile(unpaced, []byte("disable_pacing: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	limitsIgnored := file(t, "limits.yaml", "decisions: {rate_limited: {again: backoff, elsewhere: never, breaker: ignore}}\n")
	excluding := filepath.Join(t.TempDir(), "excluding.yaml")
	if err := os.WriteFile(excluding, []byte("enable_circuit_breaker: true\ncircuit_breaker_config: {excluded_exceptions: [transient]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body string
		args []string
		want []string
	}{
		"a bill": {`{"error":{"code":"insufficient_quota","message":"You exceeded your current quota."}}`, []string{"--provider", "openai", "--status", "429"},
			[]string{"kind         quota_exhausted\n", "status       429 Too Many Requests\n", "code         insufficient_quota\n", "not asked again", "opens at once, for trip_timeout"}},
		"a rate limit": {`{"error":{"code":"rate_limit_exceeded","message":"m"}}`, []string{"--provider", "groq", "--status", "429", "--header", "Retry-After: 7"},
			[]string{"kind         rate_limited\n", "provider     groq\n", "come back    in 7s\n", "asked again in 7s, as the provider says; does not use an attempt", "the pacer lets no other call ask the model for 7s, and then one after the other"}},
		"a rate limit without a time": {`{}`, []string{"--provider", "openai", "--status", "429"},
			[]string{"asked again after a delay that grows; while others are answered, in its turn, which does not use an attempt", "no faster than it accepts them"}},
		"one that nobody paces": {`{}`, []string{"--provider", "openai", "--status", "429", "--config", unpaced},
			[]string{"the call is  asked again after a delay that grows\n", "the circuit  is not counted\n"}},
		"one that is too long": {`{}`, []string{"--provider", "openai", "--status", "429", "--header", "retry-after-ms: 300000"},
			[]string{"not asked again: the provider asks for a wait of 5m0s, longer than max_retry_after (2m0s)", "for 5m0s the pacer lets one call a minute ask"}},
		"one that is too long for a configuration": {`{}`, []string{"--provider", "openai", "--status", "429", "--header", "retry-after: 30", "--config", config},
			[]string{"longer than max_retry_after (10s)"}},
		"another row": {`{"error":{"code":"content_filter"}}`, []string{"--provider", "openai", "--status", "400", "--config", config},
			[]string{"kind         content_filtered\n", "the call is  asked again after a delay that grows\n", "the circuit  is not counted\n"}},
		"a rate limit that no circuit counts": {`{}`, []string{"--provider", "openai", "--status", "429", "--config", limitsIgnored},
			[]string{"kind         rate_limited\n", "the circuit  is not counted\n"}},
		"one that no circuit counts": {`{}`, []string{"--provider", "openai", "--status", "503", "--config", excluding},
			[]string{"kind         transient\n", "the circuit  is not counted\n"}},
		"Anthropic's overload": {`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, []string{"--provider", "anthropic", "--status", "529"},
			[]string{"kind         overloaded\n", "after the next longer delay", "counts as a failure"}},
		"an event of a stream": {`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, []string{"--provider", "anthropic"},
			[]string{"kind         overloaded\n"}},
		"the provider's no": {``, []string{"--provider", "openai", "--status", "503", "--header", "x-should-retry: false"},
			[]string{"kind         transient\n", "the provider says not to"}},
		"a whole response": {"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nX-Request-Id: req_1\r\nContent-Length: 1000\r\n\r\n{\"error\":{\"message\":\"slow\"}}", []string{"--provider", "openai"},
			[]string{"status       429", "message      slow\n", "request      req_1\n", "come back    in 3s\n"}},
		"one of curl's": {"HTTP/2 529 \r\nrequest-id: req_2\r\n\r\n{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", []string{"--provider", "anthropic"},
			[]string{"kind         overloaded\n", "request      req_2\n"}},
		"a proxy's page": {"<html>\x1b[31mBad gateway</html>", []string{"--provider", "openai", "--status", "502"},
			[]string{"kind         transient\n", "[31mBad gateway"}},
	} {
		got := command(t, c.body, append([]string{"explain", "-"}, c.args...)...)
		if got.code != 0 || strings.Contains(got.stdout, "\x1b") {
			t.Errorf("%s: exit %d: %s%s", name, got.code, got.stdout, got.stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got.stdout)
			}
		}
	}
}

func TestExplainPrintsJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "body.json")
	body := `{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}`
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	got := command(t, "", "explain", file, "--provider", "openai", "--output", "json")
	var e map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &e); err != nil || e["kind"] != "rate_limited" || e["retry_after_seconds"] != 34.4 || e["again"] != "when_told" || e["breaker"] != "limit" {
		t.Errorf("%v: %s%s", err, got.stdout, got.stderr)
	}
}

func TestExplainNamesWhatIsWrong(t *testing.T) {
	for want, args := range map[string][]string{
		"expected one FILE": {},
		"--provider must have a value, got an empty string":                                          {"-", "--provider", ""},
		"--provider must be one of " + strings.Join(provider.Names(), ", ") + ", got \"closedai\"\n": {"-", "--provider", "closedai"},
		`llamacpp, ollama, got "antrhopic", did you mean anthropic?`:                                 {"-", "--provider", "antrhopic"},
		`llamacpp, ollama, got "OpenAI", did you mean openai?`:                                       {"-", "--provider", "OpenAI"},
		`--status must be a whole number, got "soon"`:                                                {"-", "--provider", "openai", "--status", "soon"},
		"--status must be an HTTP status from 100 to 599, got 7":                                     {"-", "--provider", "openai", "--status", "7"},
		`--header must be 'NAME: VALUE', got "x"`:                                                    {"-", "--provider", "openai", "--header", "x"},
		`--output must be text or json, got "xml"`:                                                   {"-", "--provider", "openai", "--output", "xml"},
		"no such file":         {"missing.json", "--provider", "openai"},
		"no error found in it": {"-", "--provider", "openai"},
	} {
		got := command(t, `{"choices":[]}`, append([]string{"explain"}, args...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: exit %d: %s", args, got.code, got.stderr)
		}
	}
}
