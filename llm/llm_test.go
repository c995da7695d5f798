package llm_test

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"testing"

	"llmcall/llm"
)

func TestAStreamFuncIsAModelToo(t *testing.T) {
	broken := errors.New("broken")
	var fails error
	m := llm.StreamFunc("fake/stream", func(_ context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
		return func(yield func(llm.Chunk, error) bool) {
			if !yield(llm.Chunk{Text: req.Messages[0].Text()}, nil) || !yield(llm.Chunk{Text: "!"}, nil) {
				return
			}
			if fails != nil {
				yield(llm.Chunk{}, fails)
				return
			}
			yield(llm.Chunk{Finish: llm.FinishStop}, nil)
		}
	})
	text := ""
	for chunk, err := range m.Stream(t.Context(), llm.Prompt("Hello")) {
		if err != nil {
			t.Fatal(err)
		}
		text += chunk.Text
	}
	whole, err := m.Complete(t.Context(), llm.Prompt("Hello"))
	if text != "Hello!" || err != nil || !reflect.DeepEqual(whole, llm.Reply("Hello!")) || m.Name() != "fake/stream" {
		t.Errorf("%q, %+v, %v, %s", text, whole, err, m.Name())
	}
	fails = broken
	if whole, err = m.Complete(t.Context(), llm.Prompt("Hello")); whole != nil || err != broken {
		t.Errorf("%+v, %v", whole, err)
	}
}

// What a later version counts is summed too.
func TestUsagesAreAddedFieldByField(t *testing.T) {
	var a, b llm.Usage
	for i := range reflect.TypeFor[llm.Usage]().NumField() {
		reflect.ValueOf(&a).Elem().Field(i).SetInt(int64(1 + i))
		reflect.ValueOf(&b).Elem().Field(i).SetInt(int64(100 * (1 + i)))
	}
	sum := reflect.ValueOf(a.Add(b))
	for i := range sum.NumField() {
		if got, want := sum.Field(i).Int(), int64(101*(1+i)); got != want {
			t.Errorf("%s is %d, want %d", sum.Type().Field(i).Name, got, want)
		}
	}
}
