package chaos_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"llmcall/chaos"
)

func Example() {
	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{
		{Kind: chaos.Status, Status: 503, RetryAfter: "1"},
		{Kind: chaos.Right, Answer: "Paris"},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(s)
	defer server.Close()
	for range 2 {
		question := `{"model": "m", "messages": [{"role": "user", "content": "The capital of France?"}]}`
		response, err := http.Post(server.URL+"/v1/chat/completions", "application/json", strings.NewReader(question))
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = response.Body.Close()
		fmt.Printf("%d %q\n", response.StatusCode, response.Header.Get("Retry-After"))
	}
	for _, r := range s.Requests() {
		fmt.Println(r.Number, r.Messages[0].Text, r.Fault.Kind)
	}
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// 503 "1"
	// 200 ""
	// 1 The capital of France? status
	// 2 The capital of France? right
}

// What is over a limit is refused in the provider's own words and headers.
func ExampleLimits() {
	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 60, Burst: 2}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(s)
	defer server.Close()
	for range 3 {
		question := `{"model": "m", "messages": [{"role": "user", "content": "The capital of France?"}]}`
		response, err := http.Post(server.URL+"/v1/chat/completions", "application/json", strings.NewReader(question))
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = response.Body.Close()
		fmt.Printf("%d %q %q\n", response.StatusCode, response.Header.Get("X-Ratelimit-Remaining-Requests"), response.Header.Get("Retry-After"))
	}
	counts := s.Counts()
	fmt.Println(counts.Answered, counts.RateLimited)
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// 200 "1" ""
	// 200 "0" ""
	// 429 "0" "1"
	// 2 1
}
