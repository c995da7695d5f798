package transport_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"
	"llmcall/transport"
)

// An SDK takes a stream that just ends for a whole answer, and half an answer, or
// none, for a success. Each of them is told of the cut by the read that ends it.
func TestEverySDKHearsThatItsStreamWasCut(t *testing.T) {
	for _, k := range sdks {
		first := k.stream[:strings.Index(k.stream, "\n\n")+2]
		for name, stream := range map[string]string{
			"after an event": strings.Replace(first, `,"finishReason":"STOP"`, "", 1),
		} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, stream)
			}))
			_, err := k.listen(t.Context(), resilient(t), server.URL)
			if !errors.Is(err, io.ErrUnexpectedEOF) || failure.KindOf(err) != failure.Transient {
				t.Errorf("%s, cut %s: %v", k.name, name, err)
			}
			server.Close()
		}
	}
}

// An HTML page instead of an answer is a failure, and the caller gets it with a status
// that no SDK takes for a success. So is an empty body.
func TestAPageIsNotAnAnswer(t *testing.T) {
	for address, status := range map[string]int{
		"https://api.example.com/v1/chat/completions":                                     502,
		"https://api.anthropic.com/v1/messages":                                           502,
		"https://generativelanguage.googleapis.com/v1beta/models/m:generateContent":       502,
		"https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent": 502,
		"https://api.example.com/docs":                                                    200,
	} {
		synctest.Test(t, func(t *testing.T) {
			for _, content := range []io.ReadCloser{io.NopCloser(strings.NewReader("<html>")), http.NoBody} {
				tr, e := watched(t, serve(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/html"}}, Body: content}, nil
				}), nil)
				response, err := tr.RoundTrip(post(t, address, "{}"))
				if err != nil {
					t.Fatal(err)
				}
				got, _ := io.ReadAll(response.Body)
				response.Body.Close()
				if opened := state(e) == breaker.Open; response.StatusCode != status || content != http.NoBody && string(got) != "<html>" || opened != (status == 502) {
					t.Errorf("%s: %s with %q, circuit %v", address, response.Status, got, state(e))
				}
			}
		})
	}
}

// A body that stalls while it is read ends, and counts as a failure; one that its
// reader leaves alone for as long does not.
func TestABodyThatStallsEnds(t *testing.T) {
	const limit = 2 * s
	for name, c := range map[string]struct {
		pieces []time.Duration // before each piece; the stream is whole after the last
		pause  time.Duration   // of the reader, between reads
		stalls bool
	}{
		"it stalls at once":            {pieces: []time.Duration{3 * s}, stalls: true},
		"it stalls between its pieces": {pieces: []time.Duration{s, s, 3 * s}, stalls: true},
		"it is slow":                   {pieces: []time.Duration{s, s, s, s}},
		"its reader is slow":           {pieces: []time.Duration{s, s}, pause: 10 * s},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {sse}}, Body: &slow{request: r, pieces: c.pieces}}, nil
			}
			tr, e := watched(t, serve(base), func(cfg *transport.Config) { cfg.IdleTimeout = limit })
			response, err := tr.RoundTrip(post(t, chat, "{}"))
			if err != nil {
				t.Fatal(err)
			}
			start, read := time.Now(), 0
			for buffer := make([]byte, 100); err == nil; {
				var n int
				n, err = response.Body.Read(buffer)
				read += n
				time.Sleep(c.pause)
			}
			response.Body.Close()
			f, _ := errors.AsType[*failure.Error](err)
			if stalled := f != nil && f.Kind == failure.AttemptTimeout; stalled != c.stalls || (state(e) == breaker.Open) != c.stalls {
				t.Errorf("%s: %v after %v and %d bytes, circuit %v", name, err, time.Since(start), read, state(e))
			}
		})
	}
}

// slow is a body whose pieces come after a time each, and that ends with its
// request.
type slow struct {
	request *http.Request
	pieces  []time.Duration
}

func (b *slow) Read(to []byte) (int, error) {
	if len(b.pieces) == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(b.pieces[0]):
	case <-b.request.Context().Done():
		return 0, b.request.Context().Err()
	}
	text := "data: {}\n\n"
	if b.pieces = b.pieces[1:]; len(b.pieces) == 0 {
		text = "data: [DONE]\n\n"
	}
	return copy(to, text), nil
}

func (*slow) Close() error { return nil }

func TestAnIdleTimeoutIsNotNegative(t *testing.T) {
	_, err := transport.New(transport.Config{IdleTimeout: -1})
	if e, ok := errors.AsType[*retry.ConfigError](err); !ok || e.Field != "IdleTimeout" {
		t.Error(err)
	}
}
