package eventlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"llmcall"
	"llmcall/eventlog"
	"llmcall/llm"
)

func Example() {
	handler := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "call" || a.Key == "duration" { // which differ from run to run
			return slog.Attr{}
		}
		return a
	}})
	model := llm.Func("acme/small", func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("Berlin"), nil })
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{
		Observer: eventlog.Observer(slog.New(handler), eventlog.Options{Name: "capitals"}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Do(context.Background(), llm.Prompt("Which city is the capital of Germany?")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// level=INFO msg=call name=capitals reason=valid model=acme/small attempts=1
}
