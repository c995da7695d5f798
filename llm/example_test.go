package llm_test

import (
	"context"
	"fmt"

	"llmcall/llm"
)

// A model made of a function: a client that you already have, or a test's own.
func ExampleFunc() {
	model := llm.Func("echo", func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		last := req.Messages[len(req.Messages)-1]
		return llm.Reply("You said: " + last.Text()), nil
	})
	answer, err := model.Complete(context.Background(), &llm.Request{
		Messages: []llm.Message{llm.User("Hello")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text())
	// Output: You said: Hello
}
