package llmcall_test

import (
	"context"
	"reflect"
	"runtime"
	"testing"

	"llmcall"
	"llmcall/llm"
)

// A picture, a document and a recording are not copied at each attempt: 10 MiB cost
// 4.5 ms.
func TestAnAttemptDoesNotCopyThePicture(t *testing.T) {
	req := &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("What is this?"),
		llm.Image{MediaType: "image/png", Data: make([]byte, 10<<20)}, llm.Document{Data: make([]byte, 10<<20)}, llm.Audio{Data: make([]byte, 10<<20)}}}}}
	const attempts = 10
	m := llm.Func(t.Name(), func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("bad"), nil })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, exact(llmcall.RetryConfig{MaxAttempts: attempts}))
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / attempts; reasonOf(t, err) != llmcall.ReasonNoValidAnswer || each > 100<<10 {
		t.Errorf("%d bytes an attempt, %v", each, err)
	}
}

// What holds itself is for encoding/json to refuse, and what is shared stays so:
// a copy of each use would grow without bound.
func TestExtraOfAnyShapeIsCopied(t *testing.T) {
	ring := map[string]any{}
	ring["self"] = []any{ring}
	shared := any(map[string]any{"n": 1})
	for range 100 {
		shared = []any{shared, shared}
	}
	type settings struct{ N int }
	kept := &settings{1}
	req := llm.Prompt("x")
	req.Extra = map[string]any{"ring": ring, "shared": shared, "kept": kept, "settings": settings{2}}
	m := llm.Func(t.Name(), func(_ context.Context, r *llm.Request) (*llm.Response, error) {
		own := r.Extra["ring"].(map[string]any)
		if inner := own["self"].([]any)[0].(map[string]any); reflect.ValueOf(inner).UnsafePointer() != reflect.ValueOf(own).UnsafePointer() {
			t.Error("the ring is not one")
		}
		if r.Extra["kept"] != any(kept) || r.Extra["settings"] != any(settings{2}) {
			t.Error("a pointer or struct was not kept")
		}
		delete(own, "self")
		twins := r.Extra["shared"].([]any)
		twins[0], twins[1] = nil, nil
		return llm.Reply("good"), nil
	})
	if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, exact(llmcall.RetryConfig{})); err != nil {
		t.Fatal(err)
	}
	if ring["self"] == nil || shared.([]any)[0] == nil {
		t.Error("the caller's Extra was changed")
	}
}
