// Command smallest is a program with one checked call and nothing else. Its size is what
// llmcall costs every program that imports it.
package main

import (
	"context"
	"fmt"
	"os"

	"llmcall"
	"llmcall/llm"
	"llmcall/validate"
)

func main() {
	model := llm.Func("local", func(context.Context, *llm.Request) (*llm.Response, error) {
		return llm.Reply("Berlin"), nil
	})
	checks := []validate.Strategy{validate.NotEmpty()}
	result, err := llmcall.RetryWithValidation(context.Background(), model, llm.Prompt("Name a city."), checks, llmcall.RetryConfig{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(result.Text)
}
