package transport_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"llmcall/transport"
)

// moved answers a request to one host with a redirect, and any other with 200.
type moved struct {
	status   int
	to       string
	requests []*http.Request
	bodies   []string
}

func (m *moved) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	m.requests, m.bodies = append(m.requests, r), append(m.bodies, string(body))
	answer := status(200, "fine")
	if len(m.requests) == 1 {
		answer = status(m.status, "moved", "Location", m.to)
	}
	return answer(r)
}

// A redirect is the server's word. It decides neither who reads a prompt nor who
// gets a key.
func TestARedirectTakesNeitherKeyNorPromptElsewhere(t *testing.T) {
	const first = "https://api.example.com/v1/chat/completions?key=SECRET"
	keys := []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Ocp-Apim-Subscription-Key", "Cookie"}
	for name, c := range map[string]struct {
		method string
		status int
		to     string
		want   string // "METHOD body" of the second request, "" if there is none
		keys   bool   // it has the keys
	}{
		"a POST, within the host":           {"POST", 307, "https://api.example.com/v2", "POST prompt", true},
		"a POST, within the host for good":  {"POST", 308, "/v2", "POST prompt", true},
		"a POST, to another host":           {"POST", 307, "https://evil.example/v1", "", false},
		"a POST, to another host for good":  {"POST", 308, "https://evil.example/v1", "", false},
		"a POST, to a host below":           {"POST", 307, "https://eu.api.example.com/v1", "", false},
		"a POST, to another port":           {"POST", 307, "https://api.example.com:8443/v1", "", false},
		"a POST, in the clear":              {"POST", 307, "http://api.example.com/v1", "", false},
		"a POST that would become a GET":    {"POST", 301, "/v2", "", false},
		"a POST that would become one, 302": {"POST", 302, "/v2", "", false},
		"a POST whose answer is to be seen": {"POST", 303, "/answers/1", "GET ", true},
		"and to be seen elsewhere":          {"POST", 303, "https://files.example/1", "GET ", false},
		"a GET, within the host":            {"GET", 302, "/v2", "GET ", true},
		"a GET, to another host":            {"GET", 302, "https://files.example/1", "GET ", false},
		"a GET, in the clear":               {"GET", 302, "http://api.example.com/1", "GET ", false},
		"a DELETE, to another host":         {"DELETE", 307, "https://evil.example/v1", "", false},
	} {
		base := &moved{status: c.status, to: c.to}
		resilient, err := transport.New(transport.Config{Endpoints: registry(t), Base: base})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
		var body io.Reader
		if c.method == "POST" {
			body = strings.NewReader("prompt")
		}
		r, err := http.NewRequestWithContext(t.Context(), c.method, first, body)
		if err != nil {
			t.Fatal(err)
		}
		for _, header := range keys {
			r.Header.Set(header, "SECRET")
		}
		r.Header.Set("Accept", "a/b")
		response, err := client.Do(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		response.Body.Close()
		if c.want == "" {
			if len(base.requests) != 1 || response.StatusCode != c.status {
				t.Errorf("%s: %d after %d requests", name, response.StatusCode, len(base.requests))
			}
			continue
		}
		if len(base.requests) != 2 {
			t.Errorf("%s: %d after %d requests", name, response.StatusCode, len(base.requests))
			continue
		}
		second := base.requests[1]
		if got := second.Method + " " + base.bodies[1]; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		for _, header := range keys {
			if got := second.Header.Get(header); (got != "") != c.keys {
				t.Errorf("%s: %s is %q", name, header, got)
			}
		}
		if got := second.Header.Get("Referer"); !c.keys && got != "" {
			t.Errorf("%s: Referer is %q", name, got)
		}
		if second.Header.Get("Accept") != "a/b" {
			t.Errorf("%s: what the caller takes is not said", name)
		}
	}
}

// Who was sent away does not get the keys back by a further redirect.
func TestAHostThatWasRedirectedToCannotSpendTheKey(t *testing.T) {
	var last *http.Request
	base := base(func(r *http.Request) (*http.Response, error) {
		last = r
		switch r.URL.Host + r.URL.Path {
		case "api.example.com/file":
			return status(302, "", "Location", "https://evil.example/")(r)
		case "evil.example/":
			return status(302, "", "Location", "https://api.example.com/spend")(r)
		}
		return status(200, "fine")(r)
	})
	resilient, err := transport.New(transport.Config{Endpoints: registry(t), Base: base})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://api.example.com/file", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "SECRET")
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if last.URL.Path != "/spend" || last.Header.Get("X-Api-Key") != "" {
		t.Errorf("%s with key %q", last.URL, last.Header.Get("X-Api-Key"))
	}
}

func TestARedirectToAnAnswerMayBeRedirected(t *testing.T) {
	resilient, err := transport.New(transport.Config{Endpoints: registry(t), Base: base(func(r *http.Request) (*http.Response, error) {
		switch r.URL.Path {
		case "/v1/chat/completions":
			return status(303, "", "Location", "/answers/1")(r)
		case "/answers/1":
			return status(302, "", "Location", "/answers/2")(r)
		}
		return status(200, r.Method)(r)
	})})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
	response, err := client.Do(post(t, chat, "prompt"))
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("%v, %v", response, err)
	}
	response.Body.Close()
}

func TestARingOfRedirectsEnds(t *testing.T) {
	requests := 0
	resilient, err := transport.New(transport.Config{Endpoints: registry(t), Base: base(func(r *http.Request) (*http.Response, error) {
		requests++
		return status(302, "", "Location", "/again")(r)
	})})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://api.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil || response.StatusCode != 302 || requests != 10 {
		t.Fatalf("%v, %v after %d requests", response, err, requests)
	}
	response.Body.Close()
}

// net/http takes another spelling of a host for another host where it cuts out
// Authorization; a redirect to it is followed all the same.
func TestAHostInAnotherSpellingIsTheSame(t *testing.T) {
	base := &moved{status: 307, to: "https://API.example.com:443/v2"}
	resilient, err := transport.New(transport.Config{Endpoints: registry(t), Base: base})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
	response, err := client.Do(post(t, chat, "prompt"))
	if err != nil || response.StatusCode != 200 || base.bodies[1] != "prompt" {
		t.Fatalf("%v, %v", response, err)
	}
	response.Body.Close()
}

func TestTheClientOfTheDefaultsMindsRedirects(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	var mu sync.Mutex
	var stolen []string
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		stolen = append(stolen, fmt.Sprint(r.Header, " ", string(body)))
	}))
	defer evil.Close()
	elsewhere := strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)
	server := httptest.NewServer(http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect))
	defer server.Close()
	for _, header := range []string{"X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Authorization"} {
		r := post(t, server.URL+"/v1/chat/completions", `{"model":"m"}`)
		r.Header.Set(header, "SECRET")
		response, err := transport.Client().Do(r)
		if err != nil || response.StatusCode != http.StatusTemporaryRedirect {
			t.Fatalf("%v, %v", response, err)
		}
		response.Body.Close()
	}
	if len(stolen) > 0 {
		t.Errorf("the other host got %q", stolen)
	}
}
