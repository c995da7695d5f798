package conformance_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider"
	_ "llmcall/provider/all"
	"llmcall/record"
)

// planOf returns the plan that is made of a directory's recordings.
func planOf(t *testing.T, dir string) *chaos.Plan {
	t.Helper()
	text, err := record.Plan(recordings(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := chaos.ParsePlan("plan.yaml", text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return plan
}

// adapters are models of each protocol.
var adapters = map[string]string{"openai/m": "/v1", "openai-responses/m": "/v1", "anthropic/m": "", "gemini/m": ""}

// What a model did becomes what chaos does, to a client of any protocol: each kind of failure
// stays what it is.
func TestAPlanDoesWhatWasDoneToTheRecordedRequests(t *testing.T) {
	outcomes := []func() (*llm.Response, error){
		says("Paris, the capital.\nOf France."),
		fails(&failure.Error{Kind: failure.RateLimited, Status: 429, RetryAfter: 2500 * time.Millisecond, Told: true}),
		fails(&failure.Error{Kind: failure.RateLimited, Status: 429}),
		fails(&failure.Error{Kind: failure.Overloaded, Status: 529}),
		fails(&failure.Error{Kind: failure.Overloaded, Status: 503}),
		fails(&failure.Error{Kind: failure.Transient, Status: 500, NoRetry: true}),
		fails(&failure.Error{Kind: failure.Transient, Status: 502}),
		fails(&failure.Error{Kind: failure.Transient}),
		fails(&failure.Error{Kind: failure.QuotaExhausted, Status: 402}),
		fails(&failure.Error{Kind: failure.QuotaExhausted, Status: 429}),
		fails(&failure.Error{Kind: failure.Unauthorized, Status: 401}),
		fails(&failure.Error{Kind: failure.ModelNotFound, Status: 404}),
		fails(&failure.Error{Kind: failure.InvalidRequest, Status: 400}),
		fails(&failure.Error{Kind: failure.ContextTooLong, Status: 400}),
		fails(&failure.Error{Kind: failure.ContentFiltered}),
		func() (*llm.Response, error) {
			return &llm.Response{Message: llm.Assistant("half an"), Finish: llm.FinishLength}, nil
		},
	}
	dir := t.TempDir()
	m := recorder(t, dir).Model(answers(outcomes...))
	for range outcomes {
		_, _ = m.Complete(t.Context(), llm.Prompt("The capital of France?"))
	}
	plan := planOf(t, dir)
	if len(plan.Steps) != len(outcomes) {
		t.Fatalf("%d steps, want %d", len(plan.Steps), len(outcomes))
	}
	for name, path := range adapters {
		url, _, _ := practice(t, plan)
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		model, err := provider.Open(name, provider.Options{APIKey: secret, BaseURL: url + path, HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		for i, outcome := range outcomes {
			want, wanted := outcome()
			got, err := model.Complete(t.Context(), llm.Prompt("The capital of France?"))
			if (err == nil) != (wanted == nil) || failure.KindOf(err) != failure.KindOf(wanted) || failure.NoRetryOf(err) != failure.NoRetryOf(wanted) {
				t.Errorf("%s: step %d (%+v): got %v, want %v", name, i, plan.Steps[i], err, wanted)
				continue
			}
			wait, told := failure.RetryAfterOf(err)
			wantedWait, wantedTold := failure.RetryAfterOf(wanted)
			if wantedTold && (wait != wantedWait || !told) {
				t.Errorf("%s: step %d: told %v, want %v", name, i, wait, wantedWait)
			}
			if want == nil {
				continue
			}
			if got.Finish != want.Finish || want.Finish == llm.FinishStop && got.Text() != want.Text() {
				t.Errorf("%s: step %d: got %q %q, want %q %q", name, i, got.Text(), got.Finish, want.Text(), want.Finish)
			}
		}
	}
}

// The plan of an HTTP recording sends what was received, to the byte.
func TestAPlanOfHTTPRecordingsSendsTheSameBodies(t *testing.T) {
	faults := []chaos.Fault{
		{Answer: "Paris"}, {Kind: chaos.Status, Error: "overloaded", RetryAfter: "3"}, {Kind: chaos.Reset},
		{Kind: chaos.Status, Status: 500, Body: new(string)}, {Kind: chaos.Slow, Delay: 20 * time.Millisecond, Answer: "late"},
	}
	url, network, _ := practice(t, &chaos.Plan{Steps: faults})
	dir := t.TempDir()
	ask := func(url string, transport http.RoundTripper) (bodies []string) {
		for range faults {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"?"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if err != nil {
				bodies = append(bodies, "an error")
				continue
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, response.Status+response.Header.Get("Retry-After")+string(body))
		}
		return bodies
	}
	was := ask(url, recorder(t, dir).Transport(network))
	plan := planOf(t, dir)
	url, network, _ = practice(t, plan)
	if is := ask(url, network); !reflect.DeepEqual(is, was) {
		t.Errorf("got\n%q\nwant\n%q", is, was)
	}
	if d := plan.Steps[4].Delay; d < 20*time.Millisecond || d > 10*time.Second {
		t.Errorf("the delay of the late answer is %v", d)
	}
}

func TestAPlanInWords(t *testing.T) {
	got, err := record.Plan(recordings(t, filepath.Join("..", "testdata", "format1")))
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join("testdata", "plan.yaml")
	if *update {
		if err := os.WriteFile(kept, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(kept)
	if err != nil || string(got) != string(want) {
		t.Errorf("got\n%s%v", got, err)
	}
	if _, err := chaos.ParsePlan("plan.yaml", got); err != nil {
		t.Error(err)
	}
	if _, err := record.Plan(nil); err == nil {
		t.Error("a plan without steps")
	}
}

// No kind of failure makes a plan that chaos refuses.
func TestEveryFailureHasAStep(t *testing.T) {
	for k := failure.Unknown; k <= failure.DeadlineExceeded; k++ {
		for _, status := range []int{0, 200, 400, 429, 503, 599, 700} {
			for _, pieces := range [][]llm.Chunk{nil, {{Text: "a"}, {Progress: true}}} {
				if k == failure.Cancelled {
					continue
				}
				dir := t.TempDir()
				end := &failure.Error{Kind: k, Status: status, NoRetry: true, RetryAfter: time.Second / 3, Told: status == 429}
				for range recorder(t, dir).Model(breaks(pieces, end)).(llm.Streamer).Stream(context.Background(), llm.Prompt("?")) {
				}
				planOf(t, dir)
			}
		}
	}
}
