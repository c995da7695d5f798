package provider_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"llmcall/llm"
	"llmcall/provider"
	_ "llmcall/provider/openai" // makes "openai/…", "groq/…", "ollama/…" and others known
)

func ExampleOpen() {
	// A server on this machine that speaks OpenAI's protocol. Without BaseURL, the
	// model is OpenAI's own, and the key is read from $OPENAI_API_KEY.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"choices": [{"message": {"content": "Berlin"}, "finish_reason": "stop"}]}`)
	}))
	defer server.Close()

	model, err := provider.Open("openai/gpt-6-luna", provider.Options{BaseURL: server.URL + "/v1", APIKey: "sk-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := model.Complete(context.Background(), llm.Prompt("Which city is the capital of Germany?"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(model.Name(), "says", answer.Text())
	// Output: openai/gpt-6-luna says Berlin
}

// An adapter registers itself in its init function; Open then knows its name.
func ExampleRegister() {
	provider.Register(provider.Provider{Name: "parrot", KeyVariable: "PARROT_API_KEY", KeyOptional: true},
		func(model string, opts provider.Options) (llm.Model, error) {
			return llm.Func("parrot/"+model, func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
				return llm.Reply(req.Messages[0].Text()), nil
			}), nil
		})

	model, err := provider.Open("parrot/grey", provider.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(model.Name())
}
