package conformance_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"llmcall"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/provider/openai"
	"llmcall/transport"
)

// crowd is many callers of one provider and key at the same time, on the
// defaults.
type crowd struct {
	name   string
	limits chaos.Limits
	root   int  // callers by the library
	sdk    int  // callers by OpenAI's SDK on the transport
	again  bool // whose own retries are left switched on
	within time.Duration
	most   int // refusals, at most
}

func fiftyASecond(h chaos.Hint, headers bool) chaos.Limits {
	return chaos.Limits{RequestsPerMinute: 3000, Burst: 10, Hint: h, Headers: &headers}
}

// Each caller makes three calls: 300 in all, which take 6 s at fifty a second.
var crowds = []crowd{
	{"root, no hint", fiftyASecond(chaos.HintNone, false), 100, 0, false, 14 * time.Second, 150},
	{"root, exact", fiftyASecond(chaos.HintExact, true), 100, 0, false, 12 * time.Second, 150},
	{"transport, no hint", fiftyASecond(chaos.HintNone, false), 0, 100, false, 14 * time.Second, 150},
	{"transport, exact", fiftyASecond(chaos.HintExact, true), 0, 100, false, 12 * time.Second, 150},
	{"transport, no hint, the SDK's retries", fiftyASecond(chaos.HintNone, false), 0, 100, true, 14 * time.Second, 150},
	{"both, no hint", fiftyASecond(chaos.HintNone, false), 50, 50, false, 20 * time.Second, 200},
	{"both, seconds", fiftyASecond(chaos.HintSeconds, false), 50, 50, true, 20 * time.Second, 200},
	{"both, queue", chaos.Limits{Concurrent: 4, Queue: 8}, 50, 50, true, 25 * time.Second, 0},
}

func TestACrowdAtALimitIsServed(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 20 s")
	}
	ran := make([]outcome, len(crowds))
	var all sync.WaitGroup
	for i, c := range crowds {
		all.Go(func() { ran[i] = c.run(t.Context()) })
	}
	all.Wait()
	for i, c := range crowds {
		t.Run(c.name, func(t *testing.T) {
			o := ran[i]
			t.Logf("%d of 300 in %v; %d refused, %d of them after the first burst", o.answered, o.took.Round(10*time.Millisecond), o.refused, o.after)
			for i, err := range o.errs {
				if i < 3 {
					t.Error(err)
				}
			}
			if len(o.errs) > 0 || o.answered != 300 || o.took > c.within || c.most > 0 && o.refused > c.most {
				t.Errorf("%d errors", len(o.errs))
			}
		})
	}
}

func (c crowd) run(ctx context.Context) (o outcome) {
	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{AnswerTime: 50 * time.Millisecond, Limits: &c.limits}})
	if err != nil {
		return outcome{errs: []error{err}}
	}
	url, client, end := listen(s)
	defer end()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 100
	seen := &sends{RoundTripper: client.Transport}
	client.Transport = seen
	endpoints, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		return outcome{errs: []error{err}}
	}
	model, err := openai.New(openai.DefaultModel, openai.Options{BaseURL: url + "/v1", APIKey: key, HTTPClient: client})
	if err != nil {
		return outcome{errs: []error{err}}
	}
	root, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{Endpoints: endpoints})
	if err != nil {
		return outcome{errs: []error{err}}
	}
	resilient, err := transport.New(transport.Config{Base: seen, Endpoints: endpoints})
	if err != nil {
		return outcome{errs: []error{err}}
	}
	options := []option.RequestOption{option.WithAPIKey(key), option.WithBaseURL(url + "/v1"), option.WithHTTPClient(&http.Client{Transport: resilient})}
	if !c.again {
		options = append(options, option.WithMaxRetries(0))
	}
	own := sdk.NewClient(options...)
	var callers sync.WaitGroup
	var mu sync.Mutex
	ask := func(call func(string) error) {
		callers.Go(func() {
			for n := range 3 {
				if err := call(fmt.Sprintf("Job %d.", n)); err != nil {
					mu.Lock()
					o.errs = append(o.errs, err)
					mu.Unlock()
				}
			}
		})
	}
	start := time.Now()
	for range c.root {
		ask(func(prompt string) error {
			_, err := root.Do(ctx, llm.Prompt(prompt))
			return err
		})
	}
	for range c.sdk {
		ask(func(prompt string) error {
			_, err := own.Chat.Completions.New(ctx, sdk.ChatCompletionNewParams{
				Model: openai.DefaultModel, Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage(prompt)},
			})
			return err
		})
	}
	callers.Wait()
	o.took = time.Since(start)
	o.answered, o.refused, o.after = seen.counts()
	for e := range endpoints.All() {
		if s := e.Snapshot(); s.Pace.InFlight != 0 || s.Pace.Queue != 0 {
			o.errs = append(o.errs, fmt.Errorf("left behind: %+v", s))
		}
	}
	return o
}

// A crowd that finds out at the same time what a server lacks is no outage: the
// server has answered each, and each asks at once in another way.
func TestWhatAServerLacksIsNoFailure(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(string(b), "response_format") {
			w.Header().Set("X-Should-Retry", "false")
			w.WriteHeader(400)
			io.WriteString(w, `{"error":{"message":"response_format is not supported","type":"invalid_request_error","param":"response_format"}}`)
			return
		}
		io.WriteString(w, `{"choices":[{"message":{"content":"{\"value\":7}"},"finish_reason":"stop"}]}`)
	}))
	defer server.Close()
	registry, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := openai.New("m", openai.Options{BaseURL: server.URL + "/v1", APIKey: key, HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := llmcall.New([]llm.Model{m}, nil, llmcall.RetryConfig{EnableCircuitBreaker: true, Endpoints: registry})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	start := time.Now()
	for range 200 {
		all.Go(func() {
			n, _, err := llmcall.Ask[int](t.Context(), c, llm.Prompt("x"))
			if err != nil || n != 7 {
				t.Error(n, err)
			}
		})
	}
	all.Wait()
	if took := time.Since(start); took > 10*time.Second { // none waits for anything; a busy machine needs a second
		t.Errorf("it took %v", took)
	}
	for e := range registry.All() {
		if s := e.Snapshot(); s.Retries != 100 || s.Circuits[0].State != breaker.Closed || s.Circuits[0].Failures != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// sends is a RoundTripper that notes when each request was sent, and how it was
// answered.
type sends struct {
	http.RoundTripper
	mu    sync.Mutex
	all   []send
	first time.Time // when the first refusal was read
}

type send struct {
	at      time.Time
	refused bool
}

func (s *sends) RoundTrip(r *http.Request) (*http.Response, error) {
	at := time.Now()
	response, err := s.RoundTripper.RoundTrip(r)
	refused := err != nil || response.StatusCode != http.StatusOK
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, send{at, refused})
	if refused && s.first.IsZero() {
		s.first = time.Now()
	}
	return response, err
}

// counts returns how many requests were answered and refused, and how many of
// these after the first burst, which is what was sent before the first refusal
// was read, less what was accepted.
func (s *sends) counts() (answered, refused, after int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.all {
		switch {
		case !x.refused:
			answered++
			continue
		case x.at.After(s.first):
			after++
		}
		refused++
	}
	return answered, refused, after
}
