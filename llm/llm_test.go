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
