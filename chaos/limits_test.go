package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/chaos"
)

// memory is a listener whose connections are pipes, so that a server and its
// clients can live in a bubble of virtual time.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
	case <-ctx.Done():
	}
	return nil, net.ErrClosed
}

// bubble is a Server in virtual time, with a client that remembers the headers
// of the last response.
type bubble struct {
	*chaos.Server
	client *http.Client
	last   http.Header
	status int
}

func (b *bubble) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.client.Transport.(*http.Transport).RoundTrip(r)
	if err == nil {
		b.last, b.status = response.Header, response.StatusCode
	}
	return response, err
}

const bubbleURL = "http://chaos.test"

func inBubble(t *testing.T, plan chaos.Plan, f func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := chaos.New(chaos.Config{Plan: &plan, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		ln := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, ln) }()
		transport := &http.Transport{DialContext: ln.dial, MaxIdleConnsPerHost: 100}
		f(t, &bubble{Server: s, client: &http.Client{Transport: transport}})
		stop()
		transport.CloseIdleConnections()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if c := s.Counts(); c.Serving+c.Waiting != 0 || c.Requests != c.Answered+c.RateLimited+c.Overloaded+c.Failed {
			t.Errorf("at the end: %+v", c)
		}
	})
}

func sdkOf(p chaos.Protocol) sdk {
	return sdks[slices.IndexFunc(sdks, func(s sdk) bool { return s.protocol == p })]
}

// ask asks with an SDK.
func (b *bubble) ask(t *testing.T, s sdk, streaming bool, q question) reply {
	if q.turns == nil {
		q.turns = []string{"Hello?"}
	}
	return s.do(t.Context(), streaming, bubbleURL, &http.Client{Transport: b}, q)
}

// post sends a request of OpenAI's, with a key, and returns its status.
func (b *bubble) post(ctx context.Context, key, model string) (status int, err error) {
	response, err := b.send(ctx, key, fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"x"}]}`, model))
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, errors.Join(err, response.Body.Close())
}

func (b *bubble) send(ctx context.Context, key, body string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, bubbleURL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	return b.client.Do(request)
}

func (b *bubble) statuses(t *testing.T, n int) []int {
	t.Helper()
	var got []int
	for range n {
		status, err := b.post(t.Context(), "k", "m")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	return got
}

// limitHeaders are the headers that tell of limits or of a wait.
func limitHeaders(h http.Header) string {
	var found []string
	for name, values := range h {
		if lower := strings.ToLower(name); strings.Contains(lower, "ratelimit") || strings.Contains(lower, "retry-after") {
			found = append(found, lower+": "+strings.Join(values, ","))
		}
	}
	slices.Sort(found)
	return strings.Join(found, "\n")
}

func TestARefusalIsInTheProvidersWordsAndHeaders(t *testing.T) {
	for _, c := range []struct {
		hint     chaos.Hint
		headers  *bool
		protocol chaos.Protocol
		says     string // in the error
		tells    string
	}{
		{"", nil, chaos.OpenAI, "Limit 30, Used 30, Requested 1. Please try again in 1.766s. Visit",
			"retry-after-ms: 1766\nretry-after: 2\nx-ratelimit-limit-requests: 1\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 1.766s"},
		{"", nil, chaos.OpenAIResponses, "Please try again in 1.766s.",
			"retry-after-ms: 1766\nretry-after: 2\nx-ratelimit-limit-requests: 1\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 1.766s"},
		{"", nil, chaos.Anthropic, "rate limit of 30 requests per minute. For details",
			"anthropic-ratelimit-requests-limit: 1\nanthropic-ratelimit-requests-remaining: 0\nanthropic-ratelimit-requests-reset: 2000-01-01T00:00:02Z\nretry-after: 2"},
		{"", nil, chaos.Gemini, "limit: 30, model: gemini-practice\nPlease retry in 1.766s.", ""},
		{chaos.HintExact, new(false), chaos.OpenAI, "Please try again in 1.766s.", "retry-after-ms: 1766\nretry-after: 2"},
		{chaos.HintSeconds, new(false), chaos.OpenAI, "Please try again in 2s.", "retry-after: 2"},
		{chaos.HintSeconds, new(false), chaos.Anthropic, "requests per minute", "retry-after: 2"},
		{chaos.HintSeconds, nil, chaos.Gemini, "Please retry in 2s.", ""},
		{chaos.HintNone, nil, chaos.OpenAI, "Limit 30, Used 30, Requested 1. Visit", ""},
		{chaos.HintNone, nil, chaos.Anthropic, "requests per minute", ""},
		{chaos.HintNone, nil, chaos.Gemini, "model: gemini-practice", ""},
		{chaos.HintNone, new(true), chaos.OpenAI, "Requested 1. Visit", "x-ratelimit-limit-requests: 1\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 1.766s"},
	} {
		for _, streaming := range []bool{false, true} {
			t.Run(fmt.Sprint(c.protocol, " ", c.hint, " ", streaming), func(t *testing.T) {
				plan := chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 30, Burst: 1, Hint: c.hint, Headers: c.headers}}
				inBubble(t, plan, func(t *testing.T, b *bubble) {
					s := sdkOf(c.protocol)
					if r := b.ask(t, s, streaming, question{}); r.err != nil || !r.ended {
						t.Fatalf("the first is refused: %+v", r)
					}
					time.Sleep(234 * time.Millisecond)
					r := b.ask(t, s, streaming, question{})
					if r.status != 429 || !strings.Contains(r.message, c.says) {
						t.Errorf("got %d %s", r.status, r.message)
					}
					if c.hint == chaos.HintNone && (strings.Contains(r.message, "again in") || strings.Contains(r.message, "retry in") || strings.Contains(fmt.Sprint(r.err), "retryDelay")) {
						t.Errorf("the words tell the wait: %v", r.err)
					}
					if got := limitHeaders(b.last); got != c.tells {
						t.Errorf("headers:\n%s\nwant\n%s", got, c.tells)
					}
					rec := b.Requests()[1]
					if rec.Limit != "requests" || rec.Status != 429 || rec.Fault.Kind != "" || rec.Refusal != "over the limit of 30 requests a minute" {
						t.Errorf("recorded %+v", rec)
					}
					if r := b.Counts(); r.Requests != 2 || r.Answered != 1 || r.RateLimited != 1 {
						t.Errorf("counts %+v", r)
					}
					time.Sleep(1766 * time.Millisecond)
					if r := b.ask(t, s, streaming, question{}); r.err != nil {
						t.Errorf("after the wait: %v", r.err)
					}
				})
			})
		}
	}
}

func TestAnAnswerTellsWhatIsLeft(t *testing.T) {
	limits := chaos.Limits{RequestsPerMinute: 60, Burst: 10, TokensPerMinute: 600}
	for _, c := range []struct {
		window   chaos.Window
		protocol chaos.Protocol
		tells    string
	}{
		// A second after the request, when the answer begins: the bucket of requests
		// is full again, and of 30 tokens ten have come back.
		{chaos.WindowBucket, chaos.OpenAI, "x-ratelimit-limit-requests: 10\nx-ratelimit-limit-tokens: 600\nx-ratelimit-remaining-requests: 10\nx-ratelimit-remaining-tokens: 580\n" +
			"x-ratelimit-reset-requests: 0s\nx-ratelimit-reset-tokens: 2s"},
		{chaos.WindowBucket, chaos.Anthropic, "anthropic-ratelimit-requests-limit: 10\nanthropic-ratelimit-requests-remaining: 10\nanthropic-ratelimit-requests-reset: 2000-01-01T00:00:01Z\n" +
			"anthropic-ratelimit-tokens-limit: 600\nanthropic-ratelimit-tokens-remaining: 580\nanthropic-ratelimit-tokens-reset: 2000-01-01T00:00:03Z"},
		{chaos.WindowBucket, chaos.Gemini, ""},
		{chaos.WindowMinute, chaos.OpenAI, "x-ratelimit-limit-requests: 60\nx-ratelimit-limit-tokens: 600\nx-ratelimit-remaining-requests: 59\nx-ratelimit-remaining-tokens: 570\n" +
			"x-ratelimit-reset-requests: 59s\nx-ratelimit-reset-tokens: 59s"},
	} {
		t.Run(fmt.Sprint(c.window, " ", c.protocol), func(t *testing.T) {
			limits := limits
			if limits.Window = c.window; c.window == chaos.WindowMinute {
				limits.Burst = 0
			}
			inBubble(t, chaos.Plan{Limits: &limits, AnswerTime: time.Second}, func(t *testing.T, b *bubble) {
				// The prompt is 3 + 4 + 2 tokens.
				if r := b.ask(t, sdkOf(c.protocol), false, question{maxTokens: 21}); r.err != nil {
					t.Fatal(r.err)
				}
				if got := limitHeaders(b.last); got != c.tells {
					t.Errorf("headers:\n%s\nwant\n%s", got, c.tells)
				}
			})
		})
	}
}

func TestWhatThePlanSaysOfLimitsStays(t *testing.T) {
	plan := chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 60}, Steps: []chaos.Fault{
		{Kind: chaos.Status, Error: "rate_limit", ResetAfter: 6 * time.Minute},
		{Kind: chaos.Status, Status: 500, Headers: http.Header{"x-ratelimit-limit-requests": {"many"}}},
		{Kind: chaos.Status, Code: "html"},
	}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		for i, want := range []string{
			"retry-after: 1\nx-ratelimit-limit-requests: 60\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 6m0s",
			"x-ratelimit-limit-requests: many\nx-ratelimit-remaining-requests: 58\nx-ratelimit-reset-requests: 2s",
			"", // a proxy knows of no limits
			"x-ratelimit-limit-requests: 60\nx-ratelimit-remaining-requests: 56\nx-ratelimit-reset-requests: 4s",
		} {
			b.ask(t, sdkOf(chaos.OpenAI), false, question{})
			if got := limitHeaders(b.last); got != want {
				t.Errorf("request %d:\n%s\nwant\n%s", i, got, want)
			}
		}
	})
}

func TestLimitsOverTime(t *testing.T) {
	const ok, no = 200, 429
	for _, c := range []struct {
		name   string
		limits chaos.Limits
		pauses []time.Duration // before each group of requests
		want   [][]int
	}{
		{"a bucket refills steadily", chaos.Limits{RequestsPerMinute: 60, Burst: 2},
			[]time.Duration{0, time.Second, 500 * time.Millisecond, 500 * time.Millisecond, time.Hour},
			[][]int{{ok, ok, no}, {ok, no}, {no}, {ok, no}, {ok, ok, no}}},
		{"a bucket is as large as the minute by default", chaos.Limits{RequestsPerMinute: 3},
			[]time.Duration{0, 19 * time.Second, time.Second},
			[][]int{{ok, ok, ok, no}, {no}, {ok, no}}},
		{"windows of a minute", chaos.Limits{RequestsPerMinute: 2, Window: chaos.WindowMinute},
			[]time.Duration{30 * time.Second, 59 * time.Second, time.Second, 10 * time.Minute},
			[][]int{{ok, ok, no}, {no}, {ok, ok, no}, {ok, ok, no}}},
		{"tokens: 3 + 4 + 1 of the prompt, and 28 of the answer", chaos.Limits{TokensPerMinute: 72},
			[]time.Duration{0, time.Minute},
			[][]int{{ok, ok, no}, {ok, ok, no}}},
		{"tokens of an answer may be more than are left", chaos.Limits{TokensPerMinute: 60},
			[]time.Duration{0, 19 * time.Second, time.Second},
			[][]int{{ok, ok, no}, {no}, {ok, no}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, chaos.Plan{Limits: &c.limits}, func(t *testing.T, b *bubble) {
				for i, pause := range c.pauses {
					time.Sleep(pause)
					if got := b.statuses(t, len(c.want[i])); !slices.Equal(got, c.want[i]) {
						t.Errorf("group %d: got %v, want %v", i, got, c.want[i])
					}
				}
			})
		})
	}
}

func TestATokenLimitIsInTheProvidersWords(t *testing.T) {
	plan := chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 600, TokensPerMinute: 1200}, Repeat: true, Steps: []chaos.Fault{{Answer: "four"}}}
	prompt := func(tokens int) question { return question{turns: []string{strings.Repeat("four", tokens-7)}} } // 3 + 4 are added
	asking := func(tokens int) question { return question{turns: []string{"x"}, maxTokens: tokens - 8} }
	for _, c := range []struct {
		name           string
		protocol       chaos.Protocol
		ask            func(tokens int) question
		left           string
		tooMany, never string
		wait           string // that is told
	}{
		// OpenAI counts max_tokens: 1000 are used, and 800 more are 40 s.
		{"reserved", chaos.OpenAI, asking, "200", "on tokens per min (TPM): Limit 1200, Used 1000, Requested 1000. Please try again in 40s. Visit", "Request too large for gpt-practice in organization org-practice on tokens per min (TPM): Limit 1200, Requested 1201. The", "40"},
		// The answer is a token.
		{"not reserved", chaos.OpenAI, prompt, "199", "Limit 1200, Used 1001, Requested 1000. Please try again in 40.05s. Visit", "Limit 1200, Requested 1201.", "41"},
		{"", chaos.Anthropic, prompt, "199", "rate limit of 1,200 tokens per minute", "it has 1,201 input tokens, and the limit is 1,200 input tokens per minute", "41"},
		{"", chaos.Gemini, prompt, "", "input_token_count, limit: 1200, model: gemini-practice\nPlease retry in 40.05s.", "input_token_count, limit: 1200, model: gemini-practice", ""},
	} {
		t.Run(fmt.Sprint(c.protocol, " ", c.name), func(t *testing.T) {
			inBubble(t, plan, func(t *testing.T, b *bubble) {
				s := sdkOf(c.protocol)
				r := b.ask(t, s, false, c.ask(1000))
				if left := b.last.Get("X-Ratelimit-Remaining-Tokens") + b.last.Get("Anthropic-Ratelimit-Tokens-Remaining"); r.err != nil || left != c.left {
					t.Errorf("got %v, and %s left", r.err, left)
				}
				r = b.ask(t, s, false, c.ask(1000))
				if r.status != 429 || !strings.Contains(r.message, c.tooMany) || b.last.Get("Retry-After") != c.wait {
					t.Errorf("got %d %s, Retry-After %q", r.status, r.message, b.last.Get("Retry-After"))
				}
				r = b.ask(t, s, false, c.ask(1201))
				if r.status != 429 || !strings.Contains(r.message, c.never) || b.last.Get("Retry-After") != "" || strings.Contains(fmt.Sprint(r.err), "retryDelay") {
					t.Errorf("got %d %s, Retry-After %q", r.status, r.message, b.last.Get("Retry-After"))
				}
				if rec := b.Requests()[1]; rec.Limit != "tokens" {
					t.Errorf("recorded %+v", rec)
				}
			})
		})
	}
}

func TestEachKeyAndModelHasItsOwnLimits(t *testing.T) {
	inBubble(t, chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 1}}, func(t *testing.T, b *bubble) {
		for _, c := range []struct {
			key, model string
			want       int
		}{{"a", "m", 200}, {"a", "m", 429}, {"b", "m", 200}, {"a", "n", 200}, {"b", "m", 429}, {"", "m", 200}, {"", "m", 429}} {
			if got, err := b.post(t.Context(), c.key, c.model); got != c.want || err != nil {
				t.Errorf("%+v: got %d, %v", c, got, err)
			}
		}
		for _, s := range sdks { // the same key in each provider's own header, and models of their own
			if s.protocol == chaos.OpenAIResponses {
				continue // has OpenAI's key and model
			}
			if r := b.ask(t, s, false, question{}); r.err != nil {
				t.Errorf("%s: %v", s.protocol, r.err)
			}
			if r := b.ask(t, s, true, question{}); r.status != 429 {
				t.Errorf("%s: the second got %+v", s.protocol, r)
			}
		}
	})
}

func TestARefusalTakesNoStepAndAWrongRequestNoLimit(t *testing.T) {
	plan := chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 60, Burst: 1}, Repeat: true, Steps: []chaos.Fault{{Answer: "a"}, {Kind: chaos.Status, Status: 503}}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		var got []int
		for range 3 {
			if response, err := b.send(t.Context(), "k", `{"model":"m"}`); err != nil || response.StatusCode != 400 {
				t.Errorf("a wrong request: %v, %v", response, err)
			} else if found := limitHeaders(response.Header); found != "" {
				t.Errorf("a wrong request is told of limits that are not its own:\n%s", found)
			} else {
				_ = response.Body.Close()
			}
			got = append(got, b.statuses(t, 3)...)
			time.Sleep(time.Second)
		}
		if want := []int{200, 429, 429, 503, 429, 429, 200, 429, 429}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if c := b.Counts(); c.Requests != 12 || c.Answered != 2 || c.RateLimited != 6 || c.Failed != 4 || c.Overloaded != 0 {
			t.Errorf("counts %+v", c)
		}
		b.Reset()
		if got := b.statuses(t, 2); !slices.Equal(got, []int{200, 429}) {
			t.Errorf("after Reset: %v", got)
		}
		if c := b.Counts(); c.Requests != 2 || c.Answered != 1 || c.RateLimited != 1 {
			t.Errorf("counts after Reset %+v", c)
		}
	})
}

func TestSoManyAreServedAndSoManyWait(t *testing.T) {
	plan := chaos.Plan{AnswerTime: time.Second, Limits: &chaos.Limits{Concurrent: 3, Queue: 4}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		begin := time.Now()
		var mu sync.Mutex
		after := map[time.Duration]int{}
		var clients sync.WaitGroup
		for range 10 {
			clients.Go(func() {
				status, err := b.post(t.Context(), "k", "m")
				mu.Lock()
				defer mu.Unlock()
				if err != nil || status != 200 && status != 503 {
					t.Errorf("got %d, %v", status, err)
				}
				if status == 503 {
					after[-1]++
				}
				if status == 200 {
					after[time.Since(begin)]++
				}
			})
		}
		synctest.Wait()
		if c := b.Counts(); c.Serving != 3 || c.Waiting != 4 || c.Overloaded != 3 {
			t.Errorf("counts %+v", c)
		}
		clients.Wait()
		if after[-1] != 3 || after[time.Second] != 3 || after[2*time.Second] != 3 || after[3*time.Second] != 1 {
			t.Errorf("got %v", after)
		}
		if c := b.Counts(); c.MostServing != 3 || c.Answered != 7 || c.Overloaded != 3 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestAFullQueueIsInTheProvidersWords(t *testing.T) {
	for p, want := range map[chaos.Protocol]struct {
		status int
		says   string
	}{
		chaos.OpenAI:          {503, "server busy, please try again.  maximum pending requests exceeded"},
		chaos.OpenAIResponses: {503, "server busy, please try again.  maximum pending requests exceeded"},
		chaos.Anthropic:       {529, `"type":"overloaded_error"`},
		chaos.Gemini:          {503, "The model is overloaded."},
	} {
		t.Run(string(p), func(t *testing.T) {
			plan := chaos.Plan{Limits: &chaos.Limits{Concurrent: 1}, Steps: []chaos.Fault{{Kind: chaos.Hang}, {Answer: "the next step"}}}
			inBubble(t, plan, func(t *testing.T, b *bubble) {
				ctx, leave := context.WithCancel(t.Context())
				gone := make(chan error)
				go func() {
					_, err := b.post(ctx, "k", "m")
					gone <- err
				}()
				synctest.Wait()
				for _, streaming := range []bool{false, true} {
					var body strings.Builder
					client := &http.Client{Transport: copying{b, &body}}
					r := sdkOf(p).do(t.Context(), streaming, bubbleURL, client, question{turns: []string{"x"}})
					if r.err == nil || b.status != want.status || !strings.Contains(body.String(), want.says) || limitHeaders(b.last) != "" {
						t.Errorf("got %d %s, %v\n%s", b.status, &body, r.err, limitHeaders(b.last))
					}
				}
				if rec := b.Requests()[1]; rec.Limit != "concurrent" || rec.Status != want.status || rec.Refusal != "1 request is being served, and 0 wait" {
					t.Errorf("recorded %+v", rec)
				}
				leave()
				if err := <-gone; !errors.Is(err, context.Canceled) {
					t.Errorf("the one that hung: %v", err)
				}
				synctest.Wait()
				if r := b.ask(t, sdkOf(p), false, question{}); r.text != "the next step" {
					t.Errorf("afterwards: %+v", r)
				}
			})
		})
	}
}

// copying keeps what comes as a body.
type copying struct {
	next http.RoundTripper
	to   io.Writer
}

func (c copying) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(r)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(response.Body, c.to), response.Body}
	}
	return response, err
}

// Every way out of a request gives its place back.
func TestAPlaceIsGivenBackOnEveryWayOut(t *testing.T) {
	const stream = `{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}`
	const whole = `{"model":"m","messages":[{"role":"user","content":"x"}]}`
	read := func(n int) func(*http.Response) {
		return func(r *http.Response) { _, _ = io.ReadFull(r.Body, make([]byte, n)) }
	}
	for _, c := range []struct {
		name  string
		fault chaos.Fault
		body  string
		after time.Duration // the client goes away
		reads func(*http.Response)
	}{
		{"an answer", chaos.Fault{}, whole, 0, read(9999)},
		{"a stream", chaos.Fault{}, stream, 0, read(99999)},
		{"a stream that is left", chaos.Fault{Kind: chaos.Drip}, stream, 0, read(300)},
		{"a stream that is left at its headers", chaos.Fault{Kind: chaos.Drip}, stream, 0, read(0)},
		{"an answer that is left while it is made", chaos.Fault{Kind: chaos.Slow}, whole, time.Second, nil},
		{"a hang", chaos.Fault{Kind: chaos.Hang}, stream, time.Second, nil},
		{"a hang after a delay", chaos.Fault{Kind: chaos.Hang, Delay: time.Minute}, stream, time.Second, nil},
		{"an error", chaos.Fault{Kind: chaos.Status, Status: 500}, whole, 0, read(9999)},
		{"an error in a stream", chaos.Fault{Kind: chaos.StreamError, Status: 500}, stream, 0, read(9999)},
		{"a reset", chaos.Fault{Kind: chaos.Reset}, whole, 0, nil},
		{"a stream that is cut", chaos.Fault{Kind: chaos.Cut}, stream, 0, read(9999)},
		{"an answer that is cut", chaos.Fault{Kind: chaos.Cut}, whole, 0, read(9999)},
		{"a stream that is cut cleanly at once", chaos.Fault{Kind: chaos.Cut, End: chaos.Clean, After: new(0)}, stream, 0, read(9999)},
		{"a redirect", chaos.Fault{Kind: chaos.Redirect}, whole, 0, nil},
		{"a huge answer that is left", chaos.Fault{Kind: chaos.Huge}, whole, 0, read(99999)},
		{"an answer that can't be made", chaos.Fault{Kind: chaos.Break}, whole, 0, read(9999)},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := chaos.Plan{Limits: &chaos.Limits{Concurrent: 1}, Repeat: true, Steps: []chaos.Fault{c.fault, {}}}
			inBubble(t, plan, func(t *testing.T, b *bubble) {
				for i := range 3 {
					ctx, leave := context.WithCancel(t.Context())
					if c.after > 0 {
						time.AfterFunc(c.after, leave)
					}
					response, err := b.send(ctx, "k", c.body)
					if err == nil {
						if c.reads != nil {
							c.reads(response)
						}
						_ = response.Body.Close()
					}
					leave()
					synctest.Wait()
					if n := b.Counts(); n.Serving != 0 || n.Waiting != 0 {
						t.Fatalf("time %d: %+v after %v", i, n, err)
					}
					if got := b.statuses(t, 1); got[0] != 200 {
						t.Fatalf("time %d: the next got %d", i, got[0])
					}
				}
			})
		})
	}
}

func TestAStreamHoldsItsPlaceToItsLastPiece(t *testing.T) {
	plan := chaos.Plan{Limits: &chaos.Limits{Concurrent: 1}, AnswerTime: 10 * time.Second}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		begin := time.Now()
		for _, s := range sdks {
			ended := make(chan reply)
			go func() { ended <- b.ask(t, s, true, question{}) }()
			for i := range 9 {
				time.Sleep(time.Second)
				if got := b.statuses(t, 1); got[0] != 503 {
					t.Errorf("%s: after %d s: got %d", s.protocol, i+1, got[0])
				}
			}
			if r := <-ended; r.err != nil || !r.ended {
				t.Errorf("%s: %+v", s.protocol, r)
			}
			// The very next one gets the place.
			if r := b.ask(t, s, false, question{}); r.err != nil {
				t.Errorf("%s: after the stream: %v", s.protocol, r.err)
			}
		}
		// Each answer takes its ten seconds, whole or streamed; a stream's are
		// divided by the number of its pieces.
		if d := time.Since(begin).Round(time.Millisecond); d != time.Duration(len(sdks))*20*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestWhoLeavesTheQueueMakesRoomAndTakesNoStep(t *testing.T) {
	plan := chaos.Plan{Limits: &chaos.Limits{Concurrent: 1, Queue: 1}, Repeat: true, Steps: []chaos.Fault{{Kind: chaos.Slow, Delay: time.Minute}, {Answer: "second step"}}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		first := make(chan int)
		go func() {
			status, _ := b.post(t.Context(), "k", "m")
			first <- status
		}()
		synctest.Wait()
		for range 5 {
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			if _, err := b.post(ctx, "k", "m"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who waited got %v", err)
			}
			leave()
			synctest.Wait()
		}
		second := make(chan reply)
		go func() { second <- b.ask(t, sdkOf(chaos.OpenAI), true, question{}) }()
		synctest.Wait()
		if got := b.statuses(t, 1); got[0] != 503 {
			t.Errorf("a queue with one who waits took another: %d", got[0])
		}
		if status := <-first; status != 200 {
			t.Errorf("the first got %d", status)
		}
		if r := <-second; r.text != "second step" {
			t.Errorf("the second got %+v", r)
		}
		if rec := b.Requests()[0]; rec.Status != 200 {
			t.Errorf("the first: %+v", rec)
		}
		if rec := b.Requests()[1]; rec.Status != 0 || rec.Fault.Kind != "" || rec.Limit != "" || rec.Refusal == "" {
			t.Errorf("who left: %+v", rec)
		}
		if c := b.Counts(); c.Requests != 8 || c.Answered != 2 || c.Overloaded != 1 || c.Failed != 5 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestCloseEndsTheWaitForAPlace(t *testing.T) {
	plan := chaos.Plan{Limits: &chaos.Limits{Concurrent: 1, Queue: 5}, Repeat: true, Steps: []chaos.Fault{{Kind: chaos.Hang}}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		var clients sync.WaitGroup
		for range 5 {
			clients.Go(func() {
				if status, err := b.post(t.Context(), "k", "m"); err == nil {
					t.Errorf("got %d", status)
				}
			})
		}
		synctest.Wait()
		b.Close()
		clients.Wait()
	})
}

// A program that sends one request at a time never has two at the server.
func TestOneAtATimeNeverMeetsItself(t *testing.T) {
	p := start(t, chaos.Config{Plan: &chaos.Plan{Limits: &chaos.Limits{Concurrent: 1}}})
	for i := range 100 {
		if i%2 == 0 {
			p.answer(t, ask("x"))
		} else if got := p.stream(t, ask("x")); got.err != nil || got.finish != "stop" {
			t.Fatalf("request %d: %+v", i, got)
		}
	}
	if c := p.Counts(); c.Answered != 100 || c.MostServing != 1 {
		t.Errorf("%+v", c)
	}
}

// A client that stops to read, and does not go away, keeps its place for a minute.
func TestAClientThatDoesNotReadLosesItsPlace(t *testing.T) {
	for _, body := range []string{
		`{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}`, // hangs at the first piece
		`{"model":"m","messages":[{"role":"user","content":"x"}]}`,               // 100 MiB
	} {
		plan := chaos.Plan{Limits: &chaos.Limits{Concurrent: 1}, Steps: []chaos.Fault{{Kind: chaos.Huge}}}
		inBubble(t, plan, func(t *testing.T, b *bubble) {
			response, err := b.send(t.Context(), "k", body)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(59 * time.Second)
			if c := b.Counts(); c.Serving != 1 {
				t.Errorf("after 59 s: %+v", c)
			}
			time.Sleep(2 * time.Second)
			if c := b.Counts(); c.Serving != 0 || c.Failed != 1 {
				t.Errorf("after a minute: %+v", c)
			}
			if got := b.statuses(t, 1); got[0] != 200 {
				t.Errorf("the next got %d", got[0])
			}
			_ = response.Body.Close()
		})
	}
}

func TestCloseEndsAnAnswerThatNobodyReads(t *testing.T) {
	inBubble(t, chaos.Plan{Steps: []chaos.Fault{{Kind: chaos.Huge}}}, func(t *testing.T, b *bubble) {
		response, err := b.send(t.Context(), "k", `{"model":"m","messages":[{"role":"user","content":"x"}]}`)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		b.Close()
		time.Sleep(2 * time.Second)
		if c := b.Counts(); c.Serving != 0 {
			t.Errorf("%+v", c)
		}
		_ = response.Body.Close()
	})
}

// What is slow, but goes on, is not cut off, and an old deadline does not meet
// the next request of the connection.
func TestASlowReaderGetsAll(t *testing.T) {
	plan := chaos.Plan{Repeat: true, Steps: []chaos.Fault{{Kind: chaos.Drip, ChunkDelay: 2 * time.Minute}, {Kind: chaos.Slow, Delay: 5 * time.Minute}, {Kind: chaos.Huge, Size: 1 << 20}}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		for range 2 {
			for i := range 2 {
				if r := b.ask(t, sdkOf(chaos.OpenAI), true, question{}); r.err != nil || !r.ended {
					t.Errorf("request %d: %+v", i, r)
				}
				time.Sleep(time.Minute + time.Second)
			}
			response, err := b.send(t.Context(), "k", `{"model":"m","messages":[{"role":"user","content":"x"}]}`)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(slowly{}, response.Body)
			if err != nil || n < 1<<20 {
				t.Errorf("%d bytes came, %v", n, err)
			}
			_ = response.Body.Close()
		}
	})
}

// slowly takes ten seconds for what it gets at once.
type slowly struct{}

func (slowly) Write(p []byte) (int, error) {
	time.Sleep(10 * time.Second)
	return len(p), nil
}

func TestAnAnswerTakesItsTime(t *testing.T) {
	plan := chaos.Plan{AnswerTime: time.Second, Steps: []chaos.Fault{{}, {Kind: chaos.Status, Status: 500}, {Kind: chaos.Slow, Delay: 3 * time.Second}, {Kind: chaos.Fence}}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		for i, want := range []time.Duration{time.Second, 0, 3 * time.Second, time.Second, time.Second} {
			begin := time.Now()
			b.ask(t, sdkOf(chaos.OpenAI), false, question{})
			if d := time.Since(begin); d != want {
				t.Errorf("request %d took %v, want %v", i, d, want)
			}
		}
	})
}

func TestManyClientsAtOneLimit(t *testing.T) {
	const rate, burst, clients, wanted = 600, 5, 30, 120
	plan := chaos.Plan{AnswerTime: 200 * time.Millisecond, Limits: &chaos.Limits{RequestsPerMinute: rate, Burst: burst}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		begin := time.Now()
		jobs := make(chan int, wanted)
		for i := range wanted {
			jobs <- i
		}
		close(jobs)
		var workers sync.WaitGroup
		for range clients {
			workers.Go(func() {
				for range jobs {
					for {
						response, err := b.send(t.Context(), "k", `{"model":"m","messages":[{"role":"user","content":"x"}]}`)
						if err != nil {
							t.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, response.Body)
						_ = response.Body.Close()
						if response.StatusCode == 200 {
							break
						}
						wait, err := time.ParseDuration(response.Header.Get("Retry-After-Ms") + "ms")
						if err != nil || wait <= 0 {
							t.Errorf("Retry-After-Ms %v, %v", wait, err)
							return
						}
						time.Sleep(wait)
					}
				}
			})
		}
		workers.Wait()
		// 115 after the burst at ten a second, and the last answer's time: the
		// limit let through exactly as many as it may.
		if d := time.Since(begin).Round(time.Millisecond); d != 11700*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		if c := b.Counts(); c.Answered != wanted || c.Requests != wanted+c.RateLimited {
			t.Errorf("%+v", c)
		}
	})
}
