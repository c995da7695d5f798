package record_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/record"
)

// A directory keeps what a model answered; a test asks the directory.
func Example() {
	dir, err := os.MkdirTemp("", "calls")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	asked := 0
	model := llm.Func("openai/gpt-6-luna", func(context.Context, *llm.Request) (*llm.Response, error) { // a real one: provider.Open
		if asked++; asked == 1 {
			return nil, &failure.Error{Kind: failure.Overloaded, Status: 503}
		}
		return llm.Reply("Paris"), nil
	})
	recorded, err := record.Model(model, dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	question := llm.Prompt("The capital of France?")
	for range 2 {
		_, _ = recorded.Complete(context.Background(), question)
	}

	player, err := record.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	replayed := player.Model("openai/gpt-6-luna")
	_, err = replayed.Complete(context.Background(), question)
	fmt.Println(err)
	answer, err := replayed.Complete(context.Background(), question)
	fmt.Println(answer.Text(), err)
	_, err = replayed.Complete(context.Background(), llm.Prompt("The capital of Spain?"))
	if missing, ok := errors.AsType[*record.MissingError](err); ok {
		for line := range strings.Lines(missing.Diff) {
			if strings.HasPrefix(line, "-  ") || strings.HasPrefix(line, "+  ") {
				fmt.Print(line)
			}
		}
	}
	// Output:
	// overloaded (HTTP 503)
	// Paris <nil>
	// -  - The capital of France?
	// +  - The capital of Spain?
}
