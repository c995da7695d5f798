package providertest

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
)

var redirects = []int{301, 302, 303, 307, 308}

func redirectsElsewhere(t *testing.T, a Adapter) {
	var elsewhere atomic.Int32
	other := Server(t, func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		Reply(200, a.Hello)(w, r)
	})
	for _, status := range redirects {
		s := Server(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(other.URL, "http://", "http://user:word@", 1)+"/v2/?token=secret#here", status)
		})
		for name, client := range map[string]*http.Client{
			"given": s.Client(),
			"with its own rule": {Transport: s.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
				return nil
			}},
		} {
			got := a.failed(t, a.model(t, s, func(o *Options) { o.HTTPClient = client }), t.Context())
			want := "the server redirects to " + other.URL + "/v2/: give its address as the base URL"
			if got.Kind != failure.InvalidRequest || got.Status != status || got.Message != want {
				t.Errorf("%d, client %s: got %#v", status, name, got)
			}
		}
	}
	if elsewhere.Load() != 0 {
		t.Errorf("the other host got %d requests", elsewhere.Load())
	}
}

func redirectsAtHome(t *testing.T, a Adapter) {
	for _, status := range redirects {
		m := a.answeredBy(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch {
			case !strings.HasPrefix(r.URL.Path, "/v2/"):
				http.Redirect(w, r, "/v2/more", status)
			case r.Method != "POST" || r.Header.Get(a.Authorization) != a.Scheme+Key || !strings.Contains(string(body), "the prompt"):
				t.Errorf("%d: got %s %v %s", status, r.Method, r.Header, body)
			default:
				Reply(200, a.Hello)(w, r)
			}
		})
		if status < http.StatusTemporaryRedirect { // it would lose the prompt
			if got := a.failed(t, m, t.Context()); got.Kind != failure.InvalidRequest {
				t.Errorf("%d: got %#v", status, got)
			}
			continue
		}
		if got, err := m.Complete(t.Context(), prompt); err != nil || got.Finish != llm.FinishStop {
			t.Errorf("%d: got %v, %v", status, got, err)
		}
	}
}

func redirectsObeyTheClient(t *testing.T, a Adapter) {
	s := Server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v2/more", http.StatusPermanentRedirect)
	})
	m := a.model(t, s, func(o *Options) {
		o.HTTPClient = &http.Client{Transport: s.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	})
	if got := a.failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || got.Status != http.StatusPermanentRedirect {
		t.Errorf("got %#v", got)
	}
}

func redirectsWithoutEnd(t *testing.T, a Adapter) {
	handle, calls := counted(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
	})
	if got := a.failed(t, a.answeredBy(t, handle), t.Context()); got.Kind != failure.InvalidRequest || calls.Load() != 20 {
		t.Errorf("%d calls, of one whole and one streamed: got %#v", calls.Load(), got)
	}
	nowhere := a.answeredBy(t, Reply(304, ""))
	if got := a.failed(t, nowhere, t.Context()); got.Kind != failure.InvalidRequest || got.Message != "Not Modified" {
		t.Errorf("got %#v", got)
	}
}
