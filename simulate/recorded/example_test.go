package recorded_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"llmcall"
	"llmcall/simulate"
	"llmcall/simulate/recorded"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	night := filepath.Join(dir, "night.jsonl")
	lines := ""
	for second := range 60 {
		if second%3 == 0 { // a third of the requests failed
			lines += fmt.Sprintf(`{"time": %d, "duration_ms": 40, "status": 503}`+"\n", 1764151200+second)
			continue
		}
		lines += fmt.Sprintf(`{"time": %d, "duration_ms": 900}`+"\n", 1764151200+second)
	}
	if err := os.WriteFile(night, []byte(lines), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	scenario, err := recorded.Open(night)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(scenario.About)
	for _, attempts := range []int{1, 5} {
		report, err := simulate.Do(context.Background(), llmcall.RetryConfig{MaxAttempts: attempts}, scenario)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("attempts: %d, more than nine of ten are answered: %v\n", attempts, report.AnsweredShare() > 0.9)
	}
	// Output:
	// What was recorded from 2025-11-26 10:00:00 UTC: 60 calls, 60 requests.
	// attempts: 1, more than nine of ten are answered: false
	// attempts: 5, more than nine of ten are answered: true
}
