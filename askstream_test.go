package llmcall_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/llm"
	"llmcall/validate"
)

// typed is all that a typed stream yields: each value as JSON, "|" for a restart.
func typed[T any](seq iter.Seq2[llmcall.Partial[T], error]) (shown []string, last llmcall.Partial[T], err error) {
	for p, e := range seq {
		switch text, _ := json.Marshal(p.Value); {
		case e != nil:
			err = e
		case p.Restart:
			shown = append(shown, "|")
		case p.Result != nil:
			last = p
		default:
			shown = append(shown, string(text))
		}
	}
	return shown, last, err
}

// bytewise is an answer that comes a byte at a time.
func bytewise(text string) []any {
	var pieces []any
	for i := range len(text) {
		pieces = append(pieces, text[i:i+1])
	}
	return append(pieces, llm.FinishStop)
}

func askStream[T any](t *testing.T, cfg llmcall.RetryConfig, streams ...[]any) ([]string, llmcall.Partial[T], error) {
	t.Helper()
	return typed(llmcall.AskStream[T](t.Context(), client(t, stream(t, streams...), nil, exact(cfg)), llm.Prompt("x")))
}

// What a value shows of itself is growing's; here is what the stream makes of it.
func TestAskStreamShowsWhatIsCompleteSoFar(t *testing.T) {
	for name, c := range map[string]struct {
		run  func() ([]string, any, error)
		want []string
	}{
		"an object": {func() ([]string, any, error) {
			shown, last, err := askStream[Tree](t, llmcall.RetryConfig{}, bytewise(`{"label": "a", "children": [{"label": "b"}]}`))
			return shown, last.Value, err
		}, []string{`{"label":"a"}`, `{"label":"a","children":[{"label":"b"}]}`}},
		"a list": {func() ([]string, any, error) {
			shown, last, err := askStream[[]Tree](t, llmcall.RetryConfig{}, bytewise(`{"value":[{"label":"a"},{"label":"b"}]}`))
			return shown, last.Value, err
		}, []string{`[{"label":"a"}]`, `[{"label":"a"},{"label":"b"}]`}},
		"a text": {func() ([]string, any, error) {
			shown, last, err := askStream[string](t, llmcall.RetryConfig{}, bytewise(`{"value":"a\u00e4\"b"}`))
			return shown, last.Value, err
		}, []string{`"aä\"b"`}},
		"a fence": {func() ([]string, any, error) {
			shown, last, err := askStream[[]int](t, llmcall.RetryConfig{}, bytewise("```json\n{\"value\":[1,2]}\n```\n"))
			return shown, last.Value, err
		}, []string{`[1]`, `[1,2]`}},
		"a bare list": {func() ([]string, any, error) {
			shown, last, err := askStream[[]Tree](t, llmcall.RetryConfig{}, bytewise("```json\n"+`[{"label":"a"},{"label":"b"}]`+"\n```"))
			return shown, last.Value, err
		}, []string{`[{"label":"a"}]`, `[{"label":"a"},{"label":"b"}]`}},
		"a bare text": {func() ([]string, any, error) {
			shown, last, err := askStream[string](t, llmcall.RetryConfig{}, bytewise(`"a"`))
			return shown, last.Value, err
		}, []string{`"a"`}},
		"values that are written otherwise": {func() ([]string, any, error) {
			shown, last, err := askStream[map[string]time.Duration](t, llmcall.RetryConfig{}, bytewise(`{"a":"PT1S","b":"2s"}`))
			return shown, last.Value, err
		}, []string{`{"a":1000000000}`, `{"a":1000000000,"b":2000000000}`}},
		"one of several types": {func() ([]string, any, error) {
			shown, last, err := askStream[[]Reply](t, llmcall.RetryConfig{}, bytewise(`{"value":[{"type":"Refund","Amount":5.0},{"Text":"?","type":"Question"}]}`))
			return shown, last.Value, err
		}, []string{`[{"type":"Refund","Amount":5}]`, `[{"type":"Refund","Amount":5},{"type":"Question","Text":"?"}]`}},
		"whole numbers with a fraction": {func() ([]string, any, error) {
			shown, last, err := askStream[[]int](t, llmcall.RetryConfig{}, bytewise(`{"value":[1.0,2e1]}`))
			return shown, last.Value, err
		}, []string{`[1]`, `[1,20]`}},
		"one partial a piece": {func() ([]string, any, error) {
			shown, last, err := askStream[[]int](t, llmcall.RetryConfig{}, start(`{"value":[1,`, `2,3,`, `4]`, `}`, llm.FinishStop))
			return shown, last.Value, err
		}, []string{`[1]`, `[1,2,3]`, `[1,2,3,4]`}},
	} {
		shown, last, err := c.run()
		if err != nil || !slices.Equal(shown, c.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, strings.Join(shown, "\n"), strings.Join(c.want, "\n"))
			continue
		}
		if text, _ := json.Marshal(last); string(text) != c.want[len(c.want)-1] {
			t.Errorf("%s: the whole is %s", name, text)
		}
	}
}

// What the checks will complain of is left out until they do.
func TestAskStreamLeavesOutWhatItCannotDecode(t *testing.T) {
	shown, _, err := askStream[[]int](t, llmcall.RetryConfig{}, bytewise(`{"value":[1,"two",3]}`))
	if !slices.Equal(shown, []string{"[1]"}) || reasonOf(t, err) != llmcall.ReasonNoValidAnswer {
		t.Errorf("%q, %v", shown, err)
	}
}

func TestAskStreamShowsAPartWhenItIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := stream(t, start(`{"name":"Berlin`, s, `","population":37`, s, `00000`, s, `,"continent":"Europe"`, s, `,"rivers":["Spree",`, s, `"Ha`, s, `vel"]`, s, `}`, llm.FinishStop))
		var got []string
		for p, err := range llmcall.AskStream[City](t.Context(), client(t, m, nil, exact(llmcall.RetryConfig{})), llm.Prompt("x")) {
			if err != nil {
				t.Fatal(err)
			}
			v := p.Value
			got = append(got, fmt.Sprintf("%v %s %d %s %v %v", time.Since(m.start), v.Name, v.Population, v.Continent, v.Rivers, p.Result != nil))
		}
		want := []string{
			"1s Berlin 0  [] false",
			"3s Berlin 3700000 Europe [] false",
			"4s Berlin 3700000 Europe [Spree] false",
			"6s Berlin 3700000 Europe [Spree Havel] false",
			"7s Berlin 3700000 Europe [Spree Havel] true",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestAskStreamEndsAsStreamDoes(t *testing.T) {
	berlin := start(`{"name":"Berlin",`, `"population":1,"continent":"Europe"}`, llm.FinishStop)
	name, all := `{"name":"Berlin","population":0,"continent":""}`, `{"name":"Berlin","population":1,"continent":"Europe"}`
	bonn := start(`{"name":"Bonn","population":1,"continent":"Europe"}`, llm.FinishStop)
	wrong := `{"name":"Bonn","population":1,"continent":"Europe"}`
	again := llmcall.RetryConfig{RestartStreams: true}
	for what, c := range map[string]struct {
		streams [][]any
		cfg     llmcall.RetryConfig
		shown   []string
		reason  llmcall.Reason
	}{
		"it fails before its first piece":      {[][]any{start(broken), berlin}, llmcall.RetryConfig{}, []string{name, all}, ""},
		"it breaks":                            {[][]any{start(`{"name":"Berlin",`, broken), berlin}, llmcall.RetryConfig{}, []string{name}, llmcall.ReasonProviderFailed},
		"it breaks, and may begin anew":        {[][]any{start(`{"name":"Rome",`, broken), berlin}, again, []string{strings.Replace(name, "Berlin", "Rome", 1), "|", name, all}, ""},
		"the type complains at its end":        {[][]any{bonn}, llmcall.RetryConfig{}, []string{wrong}, llmcall.ReasonNoValidAnswer},
		"the type complains, and it may again": {[][]any{bonn, berlin}, again, []string{wrong, "|", name, all}, ""},
		"there is prose before the JSON":       {[][]any{start("Sure: ", `{"name":"Berlin"`), berlin}, again, []string{name, all}, ""},
		"it is no JSON any more":               {[][]any{start(`{"name":"Berlin",`, `}, {"population":1`, llm.FinishStop)}, llmcall.RetryConfig{}, []string{name}, llmcall.ReasonNoValidAnswer},
		"reasoning and a tool call come too":   {[][]any{append(start(llm.Reasoning{Data: []byte("hm")}, calls("1", "look", "{}")), berlin...)}, llmcall.RetryConfig{}, []string{name, all}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shown, last, err := askStream[City](t, c.cfg, c.streams...)
				if !slices.Equal(shown, c.shown) || reasonOf(t, err) != c.reason {
					t.Errorf("%v\n%s\nwant %s\n%s", err, strings.Join(shown, "\n"), c.reason, strings.Join(c.shown, "\n"))
				}
				if ok := last.Result != nil && last.Value.Name == "Berlin" && last.Value.Population == 1; ok != (c.reason == "") {
					t.Errorf("last %+v", last)
				}
			})
		})
	}
}

// An answer that must be repaired first shows nothing behind its first fault.
func TestAskStreamOfAnAnswerThatIsRepaired(t *testing.T) {
	m := stream(t, bytewise(`{"value":[1,2,],}`))
	shown, last, err := typed(llmcall.AskStream[[]int](t.Context(), client(t, m, []validate.Strategy{validate.JSONWithRepair()}, exact(llmcall.RetryConfig{})), llm.Prompt("x")))
	if err != nil || !slices.Equal(shown, []string{"[1]", "[1,2]"}) || !slices.Equal(last.Value, []int{1, 2}) {
		t.Errorf("%q, %+v, %v", shown, last, err)
	}
}

func TestAskStreamOfAModelThatDoesNotStream(t *testing.T) {
	m := play(t, say(`{"value":"one"}`), say(`{"value":1}`))
	shown, last, err := typed(llmcall.AskStream[int](t.Context(), client(t, m, nil, exact(llmcall.RetryConfig{})), llm.Prompt("x")))
	if err != nil || !slices.Equal(shown, []string{"1"}) || last.Value != 1 || len(last.Result.Attempts) != 2 {
		t.Errorf("%q, %+v, %v", shown, last, err)
	}
}

func TestAskStreamThatCannotBegin(t *testing.T) {
	withSchema := llm.Prompt("x")
	withSchema.Schema = &llm.Schema{JSON: []byte(`{}`)}
	m := stream(t)
	for field, seq := range map[string]iter.Seq2[llmcall.Partial[int], error]{
		"request":        llmcall.AskStream[int](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), nil),
		"request.schema": llmcall.AskStream[int](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), withSchema),
	} {
		shown, last, err := typed(seq)
		if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != field || len(shown) > 0 || last.Result != nil {
			t.Errorf("%s: %q, %v", field, shown, err)
		}
	}
	_, _, err := typed(llmcall.AskStream[func()](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), llm.Prompt("x")))
	if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != "T" || m.calls() != 0 {
		t.Errorf("%v", err)
	}
}

// To leave the loop, by a panic too, is what it is in Stream.
func TestACallerThatLeavesATypedStream(t *testing.T) {
	registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
	cfg := exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, RestartStreams: true})
	boom := errors.New("boom")
	for name, leaves := range map[string]func(p llmcall.Partial[[]int]) bool{
		"at the first part": func(llmcall.Partial[[]int]) bool { return true },
		"at a restart":      func(p llmcall.Partial[[]int]) bool { return p.Restart },
		"at the end":        func(p llmcall.Partial[[]int]) bool { return p.Result != nil },
		"by a panic":        func(llmcall.Partial[[]int]) bool { panic(boom) },
	} {
		m := stream(t, start(`{"value":[1,`, `2,"three"]}`, llm.FinishStop), start(`{"value":[1]}`, llm.FinishStop))
		func() {
			defer func() {
				if v := recover(); v != nil && v != boom || (v == nil) == (name == "by a panic") {
					t.Errorf("%s: panicked with %v", name, v)
				}
			}()
			for p, err := range llmcall.AskStream[[]int](t.Context(), client(t, m, nil, cfg), llm.Prompt("x")) {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if leaves(p) {
					break
				}
			}
		}()
		if state := registry.Get(m.Name()).State(); m.closed != m.calls() || state != breaker.Closed {
			t.Errorf("%s: %d of %d streams closed, circuit %v", name, m.closed, m.calls(), state)
		}
	}
}
