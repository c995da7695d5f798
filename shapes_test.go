package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"llmcall"
	"llmcall/llm"
	"llmcall/validate"
)

var gradesAsked atomic.Int32

// Grade counts how often its values are asked for.
type Grade string

func (Grade) EnumValues() []any {
	gradesAsked.Add(1)
	return []any{"good", "bad"}
}

func (g *Grade) Validate() error {
	if *g == "bad" {
		*g = "written over"
		return errors.New("it is bad")
	}
	return nil
}

// A check that writes to the schema of its request, and an answer that was wrong,
// are in no other call.
func TestCallsWithATypeShareItsSchemaAlone(t *testing.T) {
	vandal := validate.Func("vandal", func(_ context.Context, a *validate.Answer) error {
		if a.Request != nil && a.Request.Schema != nil {
			copy(a.Request.Schema.JSON, "XXXXXX")
			a.Request.Schema.Name = "spoiled"
		}
		return nil
	})
	var first sync.Once
	var schema string
	var calls sync.WaitGroup
	for i := range 50 {
		calls.Go(func() {
			m := llm.Func(fmt.Sprint(t.Name(), i), func(_ context.Context, r *llm.Request) (*llm.Response, error) {
				if len(r.Messages) > 1 {
					return llm.Reply(`{"value":"good"}`), nil
				}
				now := r.Schema.Name + string(r.Schema.JSON)
				first.Do(func() { schema = now })
				if now != schema || !strings.HasPrefix(now, `Grade{"type":"object","properties":{"value":{"type":"string","enum":["good","bad"]}}`) {
					return nil, fmt.Errorf("asked for %s", now)
				}
				return llm.Reply(`{"value":"bad"}`), nil
			})
			for range 3 {
				grade, result, err := llmcall.Ask[Grade](t.Context(), client(t, m, []validate.Strategy{vandal}, exact(llmcall.RetryConfig{})), llm.Prompt("x"))
				if err != nil || grade != "good" || len(result.Attempts) != 2 || result.Attempts[0].Complaints[0].Problem != "it is bad" {
					t.Errorf("%q, %v", grade, err)
				}
			}
		})
	}
	calls.Wait()
	before := gradesAsked.Load()
	if _, _, err := asked[Grade](t, `{"value":"good"}`); err != nil {
		t.Error(err)
	}
	if asked := gradesAsked.Load() - before; asked != 0 {
		t.Errorf("the values were asked for again, %d times", asked)
	}
}

var unready atomic.Bool

type Moody string

func (Moody) EnumValues() []any {
	if unready.Load() {
		panic("not loaded yet")
	}
	return []any{"up", "down"}
}

func TestATypeThatWasNotReadyIsLookedAtAgain(t *testing.T) {
	unready.Store(true)
	_, _, err := llmcall.Ask[Moody](t.Context(), client(t, play(t), nil, llmcall.RetryConfig{}), llm.Prompt("x"))
	if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != "T" || !strings.Contains(err.Error(), "not loaded yet") {
		t.Errorf("%v", err)
	}
	unready.Store(false)
	if mood, _, err := asked[Moody](t, `{"value":"up"}`); mood != "up" || err != nil {
		t.Errorf("%q, %v", mood, err)
	}
}

func TestTypesOfOneNameHaveTheirOwnSchemas(t *testing.T) {
	type first = struct{ A int }
	check := func(schema, want string, err error) {
		if err != nil || !strings.Contains(schema, want) {
			t.Errorf("%s, %v", schema, err)
		}
	}
	type Local struct{ A int }
	_, schema, err := asked[Local](t, `{"A":1}`)
	check(schema, `"A"`, err)
	{
		type Local struct{ B int }
		_, schema, err := asked[Local](t, `{"B":1}`)
		check(schema, `"B"`, err)
	}
	_, schema, err = asked[first](t, `{"A":1}`)
	check(schema, `answer {`, err)
}
