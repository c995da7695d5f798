package judge_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What judges say.
const (
	pass = `{"reasons": [], "passed": true}`
	fail = `{"reasons": [{"problem": "it is rude", "pointer": "", "suggestion": "be polite"}], "passed": false}`
)

// script is a judge that says one thing after the other, and the last for ever:
// a text, a *llm.Response, an error, or a function of the context.
type script struct {
	name string
	says []any

	mu    sync.Mutex
	heard []*llm.Request
}

func says(t *testing.T, what ...any) *script {
	return &script{name: "judges/" + unused(t), says: what}
}

// named gives a judge another name: judges of one name share their limits.
func (s *script) named(name string) *script {
	s.name += "/" + name
	return s
}

func (s *script) Name() string { return s.name }

func (s *script) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	s.mu.Lock()
	s.heard = append(s.heard, req)
	say := s.says[min(len(s.heard), len(s.says))-1]
	s.mu.Unlock()
	if do, ok := say.(func(context.Context) any); ok {
		say = do(ctx)
	}
	switch say := say.(type) {
	case error:
		return nil, say
	case *llm.Response:
		return say, nil
	case string:
		r := llm.Reply(say)
		r.Usage = llm.Usage{InputTokens: 100, OutputTokens: 10}
		return r, nil
	}
	return nil, nil
}

func (s *script) requests() []*llm.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heard)
}

// waits never says anything.
func waits(ctx context.Context) any {
	<-ctx.Done()
	return ctx.Err()
}

func broken(kind failure.Kind, message string) error {
	return &failure.Error{Kind: kind, Message: message}
}

// check makes a check of a text, and returns its complaints in lines.
func check(t *testing.T, s validate.Strategy, text string) ([]string, llm.Usage, error) {
	t.Helper()
	v, err := s.Check(t.Context(), &validate.Answer{Text: text, Attempt: 1})
	return lines(v), v.Usage, err
}

func lines(v validate.Verdict) []string {
	texts := []string{}
	for _, c := range v.Complaints {
		texts = append(texts, c.String())
	}
	return texts
}

func want(t *testing.T, about string, got []string, err error, want ...string) {
	t.Helper()
	if err != nil || !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("%s: complaints\n  %q, %v\nwant\n  %q", about, got, err, want)
	}
}

func contains(t *testing.T, about, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s: %q is not in\n%s", about, p, text)
		}
	}
}

var names atomic.Int64

// unused returns a name that no other test has, nor this one when it runs again:
// judges of one name share an endpoint.
func unused(t *testing.T) string { return fmt.Sprintf("%s-%d", t.Name(), names.Add(1)) }
