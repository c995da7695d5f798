package recorded

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	recording "llmcall/record"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAgain records what real providers answered with package record, and replays it to the
// byte: bodies of three protocols, streams, HTML, compressed ones, of up to some megabytes.
func TestAgain(t *testing.T) {
	all := load(t)
	dir := t.TempDir()
	recorder, err := recording.New(recording.Config{Dir: dir, Report: func(err error) { t.Errorf("reported: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	recorded := recorder.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
		x := all[next]
		return &http.Response{StatusCode: x.status, Header: x.header.Clone(), ContentLength: -1, Body: io.NopCloser(bytes.NewReader(x.body)), Request: r}, nil
	}))
	ask := func(transport http.RoundTripper, x interaction) (int, []byte) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.url.String(), bytes.NewReader(x.asked))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer of-the-test-and-of-nobody-else")
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s: %v", x.source, err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatalf("%s: %v", x.source, err)
		}
		return response.StatusCode, body
	}
	begun := time.Now()
	for ; next < len(all); next++ {
		ask(recorded, all[next])
	}
	t.Logf("%d were recorded in %v", len(all), time.Since(begun))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(all) {
		t.Fatalf("%d files, want %d; %v", len(entries), len(all), err)
	}
	begun = time.Now()
	player, err := recording.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("they were opened in %v", time.Since(begun))
	begun = time.Now()
	for _, x := range all {
		if status, body := ask(player.Transport(), x); status != x.status || !bytes.Equal(body, x.body) {
			t.Errorf("%s: got %d %.200q, want %d %.200q", x.source, status, body, x.status, x.body)
		}
	}
	if left := player.Left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	t.Logf("they were replayed in %v", time.Since(begun))
}
