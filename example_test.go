package llmcall_test

import (
	"context"
	"fmt"
	"iter"

	"llmcall"
	"llmcall/llm"
)

// scripted is a model that streams the same pieces to everyone.
type scripted []string

func (scripted) Name() string { return "scripted" }

func (s scripted) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	var whole llm.Assembly
	for chunk := range s.Stream(ctx, req) {
		whole.Add(chunk)
	}
	return whole.Response(), nil
}

func (s scripted) Stream(context.Context, *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		for _, piece := range s {
			if !yield(llm.Chunk{Text: piece}, nil) {
				return
			}
		}
		yield(llm.Chunk{Finish: llm.FinishStop}, nil)
	}
}

func ExampleAskStream() {
	type Recipe struct {
		Title  string   `json:"title"`
		Serves int      `json:"serves"`
		Steps  []string `json:"steps"`
	}
	model := scripted{`{"title": "Pan`, `cakes", "serves": 1`, `2, "steps": ["Mix`, ` all.", "Wait.`, `", "Fry."]`, `}`}
	for recipe, err := range llmcall.AskStream[Recipe](context.Background(), model, llm.Prompt("How do I make pancakes?"), nil, llmcall.RetryConfig{}) {
		switch {
		case err != nil:
			fmt.Println(err)
		case recipe.Result != nil:
			fmt.Printf("checked: %+v\n", recipe.Value)
		default:
			fmt.Printf("%+v\n", recipe.Value)
		}
	}
	// Output:
	// {Title:Pancakes Serves:0 Steps:[]}
	// {Title:Pancakes Serves:12 Steps:[]}
	// {Title:Pancakes Serves:12 Steps:[Mix all.]}
	// {Title:Pancakes Serves:12 Steps:[Mix all. Wait. Fry.]}
	// checked: {Title:Pancakes Serves:12 Steps:[Mix all. Wait. Fry.]}
}
