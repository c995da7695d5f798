package llmcall_test

import (
	"fmt"

	"llmcall"
)

func ExampleLoadConfig() {
	config, checks, err := llmcall.LoadConfig("examples/resilient.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config.MaxAttempts, "attempts,", len(checks), "checks")
	// A client of them: client, err := llmcall.New(models, checks, config), with the
	// models that config.Models names, opened by provider.Open.

	// Output: 6 attempts, 2 checks
}
