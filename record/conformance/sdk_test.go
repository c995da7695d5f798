package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"llmcall/chaos"
	"llmcall/record"
	"llmcall/transport"
)

const secret = "sk-of-this-test-very-secret"

// sdks ask one question with an official SDK, and return all that the SDK made of the
// answer as a text, and its error.
var sdks = []struct {
	name string
	ask  func(ctx context.Context, url string, client *http.Client, stream bool) (string, error)
}{
	{"openai", askChat}, {"openai-responses", askResponses}, {"anthropic", askAnthropic}, {"gemini", askGemini},
}

func openAI(url string, client *http.Client) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(secret), option.WithMaxRetries(0), option.WithHTTPClient(client))
}

func askChat(ctx context.Context, url string, client *http.Client, stream bool) (string, error) {
	c := openAI(url, client)
	params := openai.ChatCompletionNewParams{Model: "gpt-practice", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("The capital of France?")}}
	if !stream {
		answer, err := c.Chat.Completions.New(ctx, params)
		if err != nil {
			return "", err
		}
		return answer.RawJSON(), nil
	}
	s := c.Chat.Completions.NewStreaming(ctx, params)
	defer s.Close()
	all := ""
	for s.Next() {
		chunk := s.Current()
		all += chunk.RawJSON() + "\n"
	}
	return all, s.Err()
}

func askResponses(ctx context.Context, url string, client *http.Client, stream bool) (string, error) {
	c := openAI(url, client)
	params := responses.ResponseNewParams{Model: "gpt-practice", Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("The capital of France?")}}
	if !stream {
		answer, err := c.Responses.New(ctx, params)
		if err != nil {
			return "", err
		}
		return answer.RawJSON(), nil
	}
	s := c.Responses.NewStreaming(ctx, params)
	defer s.Close()
	all := ""
	for s.Next() {
		event := s.Current()
		all += event.RawJSON() + "\n"
	}
	return all, s.Err()
}

func askAnthropic(ctx context.Context, url string, client *http.Client, stream bool) (string, error) {
	c := anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithAPIKey(secret), anthropicoption.WithMaxRetries(0), anthropicoption.WithHTTPClient(client))
	params := anthropic.MessageNewParams{Model: "claude-practice", MaxTokens: 100, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("The capital of France?"))}}
	if !stream {
		answer, err := c.Messages.New(ctx, params)
		if err != nil {
			return "", err
		}
		return answer.RawJSON(), nil
	}
	s := c.Messages.NewStreaming(ctx, params)
	defer s.Close()
	all := ""
	for s.Next() {
		event := s.Current()
		all += event.RawJSON() + "\n"
	}
	return all, s.Err()
}

func askGemini(ctx context.Context, url string, client *http.Client, stream bool) (string, error) {
	c, err := genai.NewClient(ctx, &genai.ClientConfig{APIKey: secret, Backend: genai.BackendGeminiAPI, HTTPClient: client, HTTPOptions: genai.HTTPOptions{BaseURL: url}})
	if err != nil {
		return "", err
	}
	contents := []*genai.Content{genai.NewContentFromText("The capital of France?", genai.RoleUser)}
	shown := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(text) + "\n"
	}
	if !stream {
		answer, err := c.Models.GenerateContent(ctx, "gemini-practice", contents, nil)
		if err != nil {
			return "", err
		}
		return shown(answer.Candidates) + shown(answer.UsageMetadata), nil
	}
	all := ""
	for answer, err := range c.Models.GenerateContentStream(ctx, "gemini-practice", contents, nil) {
		if err != nil {
			return all, err
		}
		all += shown(answer.Candidates) + shown(answer.UsageMetadata)
	}
	return all, nil
}

// read is what a Read of a body gave.
type read struct {
	bytes string
	err   string
}

// tap is an http.RoundTripper that notes what an SDK gets.
type tap struct {
	base   http.RoundTripper
	lock   sync.Mutex
	status int
	header http.Header
	failed error
	reads  []read
}

func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.failed = err; err != nil {
		return nil, err
	}
	t.status, t.header = response.StatusCode, response.Header
	response.Body = &tapped{response.Body, t}
	return response, nil
}

type tapped struct {
	io.ReadCloser
	tap *tap
}

func (b *tapped) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.tap.lock.Lock()
	defer b.tap.lock.Unlock()
	r := read{bytes: string(p[:n])}
	if err != nil {
		r.err = err.Error()
	}
	b.tap.reads = append(b.tap.reads, r)
	return n, err
}

// pieces returns what came, read by read, and how it ended.
func (t *tap) pieces() (pieces []string, end string) {
	for _, r := range t.reads {
		if r.bytes != "" {
			pieces = append(pieces, r.bytes)
		}
		end = r.err
	}
	return pieces, end
}

// What the official SDKs get from a replay is what they got from the server: each byte, each
// piece of a stream, each error.
func TestTheOfficialSDKsGetTheSameBytesAndPieces(t *testing.T) {
	after := 3
	for what, fault := range map[string]chaos.Fault{
		"answer":      {Answer: "Paris, of course: the \"city of light\"\nand of   more."},
		"drip":        {Kind: chaos.Drip, ChunkDelay: 2 * time.Millisecond, Answer: "Paris is the capital."},
		"refused":     {Kind: chaos.Status, Error: "rate_limit", RetryAfter: "7"},
		"overloaded":  {Kind: chaos.Status, Error: "overloaded"},
		"html":        {Kind: chaos.Status, Code: "html"},
		"cut":         {Kind: chaos.Cut, After: &after, Answer: "Paris is the capital of France, as everybody knows."},
		"cut clean":   {Kind: chaos.Cut, End: chaos.Clean, Answer: "Paris is the capital of France."},
		"error late":  {Kind: chaos.StreamError, Error: "overloaded", After: &after},
		"reset":       {Kind: chaos.Reset},
		"comments":    {Kind: chaos.Comments},
		"not JSON":    {Kind: chaos.Garbage},
		"length":      {Kind: chaos.Length},
		"empty":       {Kind: chaos.Empty},
		"unfinished":  {Kind: chaos.Unfinished},
		"status only": {Kind: chaos.Status, Status: 502, Body: new(string)},
	} {
		for _, sdk := range sdks {
			for _, stream := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/stream=%t", what, sdk.name, stream), func(t *testing.T) {
					same(t, fault, func(url string, client *http.Client) (string, error) {
						return sdk.ask(t.Context(), url, client, stream)
					}, stream)
				})
			}
		}
	}
}

func same(t *testing.T, fault chaos.Fault, ask func(url string, client *http.Client) (string, error), stream bool) {
	url, network, stop := practice(t, &chaos.Plan{Steps: []chaos.Fault{fault}})
	dir := t.TempDir()
	was := &tap{base: recorder(t, dir).Transport(network)}
	answer, failed := ask(url, &http.Client{Transport: was})
	stop()

	p := open(t, dir)
	is := &tap{base: p.Transport()}
	again, failedAgain := ask(url, &http.Client{Transport: is})
	if again != answer || fmt.Sprint(failedAgain) != fmt.Sprint(failed) {
		t.Errorf("the SDK made of it\n%s %v\nwant\n%s %v", again, failedAgain, answer, failed)
	}
	if is.status != was.status || fmt.Sprint(is.failed) != fmt.Sprint(was.failed) {
		t.Errorf("got %d %v, want %d %v", is.status, is.failed, was.status, was.failed)
	}
	for _, header := range []string{"Content-Type", "Retry-After", "Retry-After-Ms", "Date", "X-Ratelimit-Remaining-Requests", "Request-Id"} {
		if !slices.Equal(is.header[header], was.header[header]) {
			t.Errorf("%s: got %q, want %q", header, is.header[header], was.header[header])
		}
	}
	got, end := is.pieces()
	want, wantEnd := was.pieces()
	if strings.Join(got, "") != strings.Join(want, "") || end != wantEnd && end+wantEnd != io.EOF.Error() { // an end may come with the last bytes, or after them
		t.Errorf("got\n%.2000q %s\nwant\n%.2000q %s", got, end, want, wantEnd)
	}
	if streams := strings.HasPrefix(was.header.Get("Content-Type"), "text/event-stream"); streams && !reflect.DeepEqual(got, want) {
		t.Errorf("got the pieces\n%.2000q\nwant\n%.2000q", got, want)
	} else if stream && fault.Kind == chaos.Drip && (!streams || len(want) < 4) {
		t.Errorf("not a stream in pieces: %.2000q", want)
	}
	if left := p.Left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// practice starts a server that follows a plan.
func practice(t *testing.T, plan *chaos.Plan) (url string, network *http.Transport, stop func()) {
	t.Helper()
	s, err := chaos.New(chaos.Config{Plan: plan, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	network = &http.Transport{}
	stop = sync.OnceFunc(func() {
		network.CloseIdleConnections()
		s.Close()
		server.Close()
	})
	t.Cleanup(stop)
	return server.URL, network, stop
}

// Below the loop of package transport each attempt is recorded, and a replay makes the same
// attempts.
func TestTheAttemptsOfATransportAreReplayed(t *testing.T) {
	url, network, stop := practice(t, &chaos.Plan{Steps: []chaos.Fault{
		{Kind: chaos.Status, Error: "rate_limit", RetryAfterMS: "5"}, {Kind: chaos.Reset}, {Answer: "Paris"},
	}})
	dir := t.TempDir()
	ask := func(base http.RoundTripper) string {
		resilient, err := transport.New(transport.Config{Base: base, Backoff: quick{}})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := askChat(t.Context(), url, &http.Client{Transport: resilient}, false)
		if err != nil {
			t.Error(err)
		}
		return answer
	}
	was := ask(recorder(t, dir).Transport(network))
	stop()
	p := open(t, dir)
	if n := len(p.Left()); n != 3 {
		t.Errorf("%d attempts were recorded, want 3", n)
	}
	if is := ask(p.Transport()); is != was || len(p.Left()) != 0 {
		t.Errorf("got %s, want %s; left: %v", is, was, p.Left())
	}
}

type quick struct{}

func (quick) Delay(int) time.Duration { return time.Millisecond }

func TestHTTPRequestsAreMatchedByWhatTheyAsk(t *testing.T) {
	url, network, stop := practice(t, nil)
	dir := t.TempDir()
	post := func(client *http.Client, path, body string) (string, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Stainless-Retry-Count", body)
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return string(text), err
	}
	const path, body = "/v1/chat/completions?b=2&a=1&key=secret-in-query", `{"model": "m", "temperature": 1.0, "messages": [{"role": "user", "content": "Hi"}]}`
	want, err := post(&http.Client{Transport: recorder(t, dir).Transport(network)}, path, body)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for _, c := range []struct {
		path, body string
		matches    bool
	}{
		{path, body, true},
		{"/v1/chat/completions?a=1&b=2&key=another-secret", body, true},
		{path, `{"messages":[{"content":"Hi","role":"user"}],"temperature":1,"model":"m"}`, true},
		{"/v1/chat/completions?a=1&b=3", body, false},
		{"/chat/completions?a=1&b=2", body, false},
		{path, strings.Replace(body, "Hi", "Ho", 1), false},
		{path, body + "x", false},
	} {
		got, err := post(&http.Client{Transport: open(t, dir).Transport()}, c.path, c.body)
		_, missing := errors.AsType[*record.MissingError](err)
		if missing == c.matches || c.matches && got != want {
			t.Errorf("%s %s: got %q, %v", c.path, c.body, got, err)
		}
	}
}
