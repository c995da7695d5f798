package record_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/record"
)

// watched returns a Recorder, and the texts of all files that it wrote and the errors that it
// reported.
func watched(t *testing.T, keys ...string) (r *record.Recorder, written func() (files string, reported []error)) {
	t.Helper()
	var all []error
	dir := t.TempDir()
	r, err := record.New(record.Config{Dir: dir, Keys: keys, Report: func(err error) { all = append(all, err) }})
	if err != nil {
		t.Fatal(err)
	}
	return r, func() (string, []error) {
		var files bytes.Buffer
		paths, _ := filepath.Glob(filepath.Join(dir, "*"))
		hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
		for _, path := range append(paths, hidden...) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files.Write(text)
		}
		return files.String(), all
	}
}

// must checks that nothing holds the key, and that this was reported without it.
func must(t *testing.T, where, key, what string, files string, reported []error) {
	t.Helper()
	if files != "" {
		t.Errorf("%s: a file was written:\n%s", where, files)
	}
	if len(reported) != 1 {
		t.Errorf("%s: reported %v, want one error", where, reported)
		return
	}
	if e, ok := errors.AsType[*record.SecretError](reported[0]); !ok || !strings.Contains(e.What, what) || strings.Contains(e.Error(), key) {
		t.Errorf("%s: reported %v, want %q", where, reported[0], what)
	}
}

// A key in any place of a request, an answer or a failure is not written.
func TestNoRecordingOfAModelHoldsAKey(t *testing.T) {
	const fromEnvironment, given, quoted = "live-key-in-environment-123456", "live-key-of-options-654321", `live"key\with <odd> characters`
	t.Setenv("ACME_API_KEY", fromEnvironment)
	for _, key := range []struct{ value, what string }{
		{fromEnvironment, "the value of the environment variable ACME_API_KEY"},
		{given, "the key Config.Keys[0]"},
		{quoted, "the key Config.Keys[1]"},
		{"sk-ant-" + "api03-" + strings.Repeat("aB3", 30), "an Anthropic API key"},
		{"AKIA" + "ABCDEFGHIJKLMNOP", "an AWS access key ID"},
	} {
		inJSON, err := json.Marshal(map[string]string{"a": "x " + key.value + " y"})
		if err != nil {
			t.Fatal(err)
		}
		with := "the key is " + key.value + ", I think\nand so on"
		ask := func(change func(*llm.Request)) (*llm.Request, *llm.Response, error) {
			req := llm.Prompt("Hi")
			change(req)
			return req, llm.Reply("Hello"), nil
		}
		answer := func(parts ...llm.Part) (*llm.Request, *llm.Response, error) {
			return llm.Prompt("Hi"), &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: parts}}, nil
		}
		fail := func(err error) (*llm.Request, *llm.Response, error) { return llm.Prompt("Hi"), nil, err }
		places := map[string]func() (*llm.Request, *llm.Response, error){
			"a message": func() (*llm.Request, *llm.Response, error) {
				return ask(func(r *llm.Request) { r.Messages = append(r.Messages, llm.User(with)) })
			},
			"the system": func() (*llm.Request, *llm.Response, error) {
				return ask(func(r *llm.Request) { r.Messages = append([]llm.Message{llm.System(with)}, r.Messages...) })
			},
			"a tool": func() (*llm.Request, *llm.Response, error) {
				return ask(func(r *llm.Request) { r.Tools = []llm.Tool{{Name: "f", Description: with}} })
			},
			"the schema": func() (*llm.Request, *llm.Response, error) {
				return ask(func(r *llm.Request) { r.Schema = &llm.Schema{Name: "s", JSON: inJSON} })
			},
			"stop": func() (*llm.Request, *llm.Response, error) {
				return ask(func(r *llm.Request) { r.Stop = []string{key.value} })
			},
			"extra": func() (*llm.Request, *llm.Response, error) {
				return ask(func(r *llm.Request) { r.Extra = map[string]any{"user": key.value} })
			},
			"a name in extra": func() (*llm.Request, *llm.Response, error) {
				return ask(func(r *llm.Request) { r.Extra = map[string]any{key.value: 1} })
			},
			"a document": func() (*llm.Request, *llm.Response, error) {
				return ask(func(r *llm.Request) {
					r.Messages[0].Parts = []llm.Part{llm.Document{MediaType: "text/plain", Data: []byte(with)}}
				})
			},
			"the answer": func() (*llm.Request, *llm.Response, error) { return answer(llm.Text(with)) },
			"a tool call": func() (*llm.Request, *llm.Response, error) {
				return answer(llm.ToolCall{ID: "1", Name: "f", Arguments: inJSON})
			},
			"broken arguments": func() (*llm.Request, *llm.Response, error) {
				return answer(llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage("{" + with)})
			},
			"reasoning": func() (*llm.Request, *llm.Response, error) { return answer(llm.Reasoning{Provider: "p", Data: inJSON}) },
			"a failure": func() (*llm.Request, *llm.Response, error) {
				return fail(&failure.Error{Kind: failure.Unauthorized, Message: with})
			},
			"its cause": func() (*llm.Request, *llm.Response, error) {
				return fail(&failure.Error{Message: "m", Err: errors.New(with)})
			},
			"a plain error": func() (*llm.Request, *llm.Response, error) { return fail(errors.New(with)) },
		}
		for where, make := range places {
			req, response, failed := make()
			r, written := watched(t, given, quoted)
			m := r.Model(answers(func() (*llm.Response, error) { return response, failed }))
			if got, err := m.Complete(t.Context(), req); got != response || err != failed {
				t.Errorf("%s: the call got %v, %v", where, got, err)
			}
			files, reported := written()
			must(t, where, key.value, key.what, files, reported)
		}
		// Token by token, in no piece whole.
		var pieces []chunk
		for _, c := range with {
			pieces = append(pieces, chunk{Chunk: llm.Chunk{Text: string(c)}})
		}
		r, written := watched(t, given, quoted)
		_, _ = listened(t, r.Model(streamed(pieces, nil)))
		files, reported := written()
		must(t, "a stream", key.value, key.what, files, reported)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The credentials of a request are keys that the process knows, whatever they look like.
func TestNoRecordingOfHTTPHoldsAKey(t *testing.T) {
	const key = "tenant-credential-31415926"
	echo := func(body string, header http.Header) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: header, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		})
	}
	credentials := map[string]func(*http.Request){
		"Authorization": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key) },
		"Proxy-Authorization": func(r *http.Request) {
			r.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("me:"+key)))
		},
		"X-Api-Key":      func(r *http.Request) { r.Header.Set("X-Api-Key", key) },
		"X-Goog-Api-Key": func(r *http.Request) { r.Header.Set("X-Goog-Api-Key", key) },
		"Api-Key":        func(r *http.Request) { r.Header.Set("Api-Key", key) },
		"Cookie":         func(r *http.Request) { r.Header.Set("Cookie", "a=b; session="+key+"; c=d") },
		"X-Acme-Token":   func(r *http.Request) { r.Header.Set("X-Acme-Token", key) },
		"key":            func(r *http.Request) { r.URL.RawQuery = "alt=sse&key=" + key },
		"access_token":   func(r *http.Request) { r.URL.RawQuery = "access_token=" + key },
		"the password":   func(r *http.Request) { r.URL.User = url.UserPassword("me", key) },
	}
	do := func(r *record.Recorder, base http.RoundTripper, body string, set func(*http.Request)) {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://acme.example/v1/ask", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		set(request)
		response, err := r.Transport(base).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(response.Body); err != nil {
			t.Fatal(err)
		}
	}
	for where, set := range credentials {
		r, written := watched(t)
		do(r, echo(`{"ok": true}`, http.Header{"Set-Cookie": {key}, "X-Echo": {key}, "Content-Type": {"application/json"}}), `{"model": "m"}`, set)
		files, reported := written()
		if strings.Contains(files, key) || !strings.Contains(files, `{"ok": true}`) || len(reported) != 0 {
			t.Errorf("%s: %v\n%s", where, reported, files)
		}
		for what, body := range map[string]string{
			"plain": `{"error": "the key ` + key + ` is bad"}`, "wrapped": "Authorization:\n  " + key[:9] + "\n  " + key[9:],
			"binary": "\xff\xfe " + key, "base64": `{"data": "` + base64.StdEncoding.EncodeToString([]byte("in "+key)) + `"}`,
		} {
			r, written := watched(t)
			do(r, echo(body, nil), `{"model": "m"}`, set)
			files, reported := written()
			// The text of a body is not searched for what is encoded in it once more.
			if what == "base64" {
				if strings.Contains(files, key) {
					t.Errorf("%s", files)
				}
				continue
			}
			must(t, where+", "+what, key, where, files, reported)
		}
		r, written = watched(t)
		do(r, echo("{}", nil), `{"model": "m", "input": "`+key+`"}`, set)
		files, reported = written()
		must(t, where+", in the request's body", key, where, files, reported)
	}
	for _, header := range []string{"Retry-After", "X-Request-Id", "Location"} {
		r, written := watched(t, key)
		do(r, echo("{}", http.Header{header: {"at " + key}}), "{}", func(*http.Request) {})
		files, reported := written()
		must(t, header, key, "Config.Keys[0]", files, reported)
	}
}

// What is no key is written: short placeholders, words that begin as keys do.
func TestWhatIsNotAKeyIsWritten(t *testing.T) {
	t.Setenv("OLLAMA_API_KEY", "ollama")
	r, written := watched(t, "", "none", "x")
	m := r.Model(answers(says("none of it: ollama, x, sk-ant-…, AKIA, eyJ")))
	if _, err := m.Complete(t.Context(), llm.Prompt("ollama?")); err != nil {
		t.Fatal(err)
	}
	if files, reported := written(); files == "" || len(reported) > 0 {
		t.Errorf("%q, %v", files, reported)
	}
}
