package metrics_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"llmcall"
	"llmcall/llm"
	"llmcall/metrics"
)

// A program gives its clients the observer, and serves the handler at /metrics.
func Example() {
	model := llm.Func("acme/small", func(context.Context, *llm.Request) (*llm.Response, error) {
		answer := llm.Reply("Berlin")
		answer.Usage = llm.Usage{InputTokens: 14, OutputTokens: 2}
		return answer, nil
	})
	m, err := metrics.New(metrics.Options{Models: []string{model.Name()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{Observer: m.Observer()})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Do(context.Background(), llm.Prompt("Which city is the capital of Germany?")); err != nil {
		fmt.Println(err)
		return
	}

	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "llmcall_tokens_total") && !strings.HasSuffix(line, " 0\n") {
			fmt.Print(line)
		}
	}
	// Output:
	// llmcall_tokens_total{model="acme/small",type="input",use="answer"} 14
	// llmcall_tokens_total{model="acme/small",type="output",use="answer"} 2
}
