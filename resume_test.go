package llmcall_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"llmcall"
	"llmcall/llm"
)

// handedOver returns a client, its model, and a call that was handed to a person and has
// been through JSON.
func handedOver(t *testing.T, steps ...step) (*llmcall.Client, *player, *llmcall.HumanReviewError) {
	t.Helper()
	m := play(t, steps...)
	c := client(t, m, checked, exact(llmcall.RetryConfig{System: "Be good.", Temperature: new(0.5), Stages: []llmcall.Stage{{Attempts: 2}, {Human: true}}}))
	_, err := c.Do(t.Context(), llm.Prompt("?"))
	e, ok := errors.AsType[*llmcall.HumanReviewError](err)
	if !ok {
		t.Fatal(err)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back *llmcall.HumanReviewError
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(text) || back.Error() != e.Error() || !reflect.DeepEqual(back.Conversation, e.Conversation) {
		t.Errorf("written %s\nread and written %s, %v", text, again, err)
	}
	return c, m, back
}

func TestAPersonDecides(t *testing.T) {
	for _, row := range []struct {
		name     string
		steps    []step
		decision llmcall.Decision
		text     string
		reason   llmcall.Reason
		attempts string
	}{
		{"the last answer is right", []step{say("a"), say("b")}, llmcall.Decision{Verdict: llmcall.VerdictAccept}, "b", "", "1 invalid, 2 invalid"},
		{"another is right", []step{say("a"), say("b")}, llmcall.Decision{Verdict: llmcall.VerdictEdit, Text: "good"}, "good", "", "1 invalid, 2 invalid"},
		{"another that does not pass either", []step{say("a"), say("b")}, llmcall.Decision{Verdict: llmcall.VerdictEdit, Text: "c"}, "", llmcall.ReasonNoValidAnswer, "1 invalid, 2 invalid"},
		{"a hint", []step{say("a"), say("b"), say("c")}, llmcall.Decision{Verdict: llmcall.VerdictHint, Text: "Say good."}, "good", "", "1 invalid, 2 invalid, 3 invalid, 4 valid"},
		{"a hint after failures alone", []step{down, down}, llmcall.Decision{Verdict: llmcall.VerdictHint, Text: "Say good."}, "good", "", "1 failed, 2 failed, 3 valid"},
		{"a hint in vain", []step{say("a"), say("b"), say("c"), say("d")}, llmcall.Decision{Verdict: llmcall.VerdictHint, Text: "Say good."}, "", llmcall.ReasonHumanReview, "1 invalid, 2 invalid, 3 invalid, 4 invalid"},
		{"no answer", []step{say("a"), say("b")}, llmcall.Decision{Verdict: llmcall.VerdictAbort, Text: "the customer has left"}, "", llmcall.ReasonAborted, "1 invalid, 2 invalid"},
	} {
		c, m, e := handedOver(t, row.steps...)
		result, err := c.Resume(t.Context(), e, row.decision)
		var attempts []string
		for _, a := range traceOf(result, err).Attempts {
			attempts = append(attempts, fmt.Sprintf("%d %s", a.Number, a.Outcome))
		}
		if reasonOf(t, err) != row.reason || strings.Join(attempts, ", ") != row.attempts {
			t.Errorf("%s: %v, %q", row.name, err, attempts)
		}
		if err == nil && (result.Text != row.text || (result.Model == "") != (result.Person != "")) {
			t.Errorf("%s: %q by %q and %q", row.name, result.Text, result.Model, result.Person)
		}
		if row.decision.Verdict == llmcall.VerdictHint {
			r := m.asked[2]
			if !strings.Contains(talk(r.Messages), "A person who has looked at this says: Say good.") || *r.Temperature != 0.5 || r.Messages[0].Text() != "Be good." {
				t.Errorf("%s: the model was sent %s", row.name, talk(r.Messages))
			}
			if n := strings.Count(talk(r.Messages), `assistant: "b"`); n != 1 && row.steps[1] != nil && e.Last != nil {
				t.Errorf("%s: the model was sent %s", row.name, talk(r.Messages))
			}
		}
	}
}

func TestATypedCallIsResumed(t *testing.T) {
	m := play(t, say(`{"name": 1}`), say(`{"name": 2}`))
	c := client(t, m, nil, exact(llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2}, {Human: true}}}))
	type city struct {
		Name string `json:"name"`
	}
	_, _, err := llmcall.Ask[city](t.Context(), c, llm.Prompt("?"))
	e, ok := errors.AsType[*llmcall.HumanReviewError](err)
	if !ok {
		t.Fatal(err)
	}
	got, r, err := llmcall.ResumeAsk[city](t.Context(), c, e, llmcall.Decision{Verdict: llmcall.VerdictEdit, Text: `{"name": "Rome"}`})
	if err != nil || got.Name != "Rome" || r.Person != llmcall.VerdictEdit {
		t.Errorf("%+v, %v", got, err)
	}
	if _, _, err = llmcall.ResumeAsk[city](t.Context(), c, e, llmcall.Decision{Verdict: llmcall.VerdictAccept}); reasonOf(t, err) != llmcall.ReasonNoValidAnswer {
		t.Errorf("an answer that is no city was accepted: %v", err)
	}
}

func TestImpossibleDecisions(t *testing.T) {
	c, _, e := handedOver(t, say("a"), say("b"))
	_, _, without := handedOver(t, down, down)
	for want, row := range map[string]struct {
		e *llmcall.HumanReviewError
		d llmcall.Decision
	}{
		`verdict: must be one of accept, edit, hint, abort, got "acept", did you mean accept?`: {e, llmcall.Decision{Verdict: "acept"}},
		`text must be the text of the edit, got ""`:                                            {e, llmcall.Decision{Verdict: llmcall.VerdictEdit}},
		`text must be the text of the hint, got ""`:                                            {e, llmcall.Decision{Verdict: llmcall.VerdictHint}},
		`text: must be empty for accept: an answer with another text is an edit`:               {e, llmcall.Decision{Verdict: llmcall.VerdictAccept, Text: "good"}},
		`verdict: must be edit, hint or abort: there is no answer to accept`:                   {without, llmcall.Decision{Verdict: llmcall.VerdictAccept}},
		`review must be one with a request, got none`:                                          {&llmcall.HumanReviewError{}, llmcall.Decision{Verdict: llmcall.VerdictAbort}},
	} {
		if _, err := c.Resume(t.Context(), row.e, row.d); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
