package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/openai"
	"llmcall/validate"
)

// A schema that the provider refuses costs no attempt: the request goes again a step down,
// and the trace says what was refused and what is sent instead.
func TestARefusedSchemaCostsNoAttempt(t *testing.T) {
	const answer = `{"id":"1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"{\"name\":\"Oslo\"}"},"finish_reason":"stop"}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(string(body), "json_schema") {
			w.WriteHeader(400)
			io.WriteString(w, `{"error":{"message":"Grammar error: Unknown format: uri"}}`)
			return
		}
		io.WriteString(w, answer)
	}))
	defer server.Close()
	model, err := openai.New("m", openai.Options{APIKey: "of-the-test", BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	type city struct {
		Name string `json:"name"`
	}
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, result, err := llmcall.Ask[city](t.Context(), client, llm.Prompt("Which city?"))
	if err != nil || got.Name != "Oslo" || len(result.Attempts) != 1 {
		t.Fatalf("got %+v, %+v, %v", got, result, err)
	}
	notes := result.Attempts[0].Notes
	want := []string{
		"openai refused a strict schema: Grammar error: Unknown format: uri", "the schema is not strict: refused before",
		"openai refused a schema: Grammar error: Unknown format: uri", "the schema is in the prompt, and only JSON is enforced",
	}
	if !slices.Equal(notes, want) {
		t.Errorf("notes %q", notes)
	}
	raw, _ := json.Marshal(result.Attempts[0])
	var back llmcall.Attempt
	if err := json.Unmarshal(raw, &back); err != nil || !slices.Equal(back.Notes, notes) {
		t.Errorf("%s was read as %q, %v", raw, back.Notes, err)
	}
}

// A token limit that was raised after an answer that was cut off, and is above the model's,
// is taken back: the cut-off is what the call ends with, not the provider's 400.
func TestARaisedTokenLimitIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		refusal string
		want    []int // the limits of the requests
	}{
		{"", []int{100, 200}},
		{"max_tokens is too large: %d. This model supports at most 150 completion tokens.", []int{100, 200, 150}},
		{"max_tokens is too large: %d", []int{100, 200, 100}},
		{"max_tokens: this range is [1, 180]; %d is above 150", []int{100, 200, 180, 150}}, // a number that is not the maximum
	} {
		var limits []int
		model := llm.Func(t.Name(), func(_ context.Context, req *llm.Request) (*llm.Response, error) {
			limits = append(limits, req.MaxTokens)
			if c.refusal != "" && req.MaxTokens > 150 {
				message := c.refusal
				if strings.Contains(message, "%d") {
					message = fmt.Sprintf(message, req.MaxTokens)
				}
				return nil, &failure.Error{Kind: failure.InvalidRequest, Status: 400, Message: message}
			}
			return &llm.Response{Message: llm.Assistant("half"), Finish: llm.FinishLength}, nil
		})
		req := llm.Prompt("x")
		req.MaxTokens = 100
		_, err := llmcall.RetryWithValidation(t.Context(), model, req, nil, llmcall.RetryConfig{})
		e, _ := errors.AsType[*llmcall.Error](err)
		if !slices.Equal(limits, c.want) || e == nil || e.Reason != llmcall.ReasonNoValidAnswer || failure.KindOf(err) != failure.CutOff {
			t.Errorf("%s: limits %v, want %v; %v", c.refusal, limits, c.want, err)
		}
	}
	// The caller's own limit is the caller's fault.
	model := llm.Func(t.Name(), func(context.Context, *llm.Request) (*llm.Response, error) {
		return nil, &failure.Error{Kind: failure.InvalidRequest, Status: 400, Message: "max_tokens is too large: this model supports at most 50"}
	})
	req := llm.Prompt("x")
	req.MaxTokens = 100
	if _, err := llmcall.RetryWithValidation(t.Context(), model, req, nil, llmcall.RetryConfig{}); failure.KindOf(err) != failure.InvalidRequest {
		t.Errorf("got %v", err)
	}
}

// A turn that the provider has paused goes back as the last message, as it came, and the
// answer is the whole of it.
func TestAPausedTurnGoesOn(t *testing.T) {
	const search = `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}}`
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		w.Header().Set("Content-Type", "application/json")
		switch len(bodies) {
		case 1:
			io.WriteString(w, `{"type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Let me look."},`+search+`],"stop_reason":"pause_turn","usage":{"input_tokens":1,"output_tokens":2}}`)
		default:
			io.WriteString(w, `{"type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"It is 7."}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":4}}`)
		}
	}))
	defer server.Close()
	model, err := anthropic.New("claude-haiku-5-5", anthropic.Options{APIKey: "of-the-test", BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	result, err := llmcall.RetryWithValidation(t.Context(), model, llm.Prompt("x"), []validate.Strategy{validate.NotEmpty()}, llmcall.RetryConfig{MaxAttempts: 1})
	if err != nil || result.Text != "Let me look.\nIt is 7." || len(result.Attempts) != 1 || result.Usage.OutputTokens != 6 {
		t.Fatalf("got %+v, %v", result, err)
	}
	want := `"messages":[{"content":[{"text":"x","type":"text"}],"role":"user"},{"content":[{"text":"Let me look.","type":"text"},` + search + `],"role":"assistant"}]`
	if len(bodies) != 2 || !strings.Contains(bodies[1], want) {
		t.Errorf("sent %q", bodies)
	}
}
