package price_test

import (
	"encoding/json"
	"fmt"
	"time"

	"llmcall/llm"
	"llmcall/price"
)

// The prices of a model that no table has, as a file has them.
func Example() {
	var prices price.Table
	err := json.Unmarshal([]byte(`{"acme/small": {"input": 0.15, "output": 0.60, "cached_input": 0.015}}`), &prices)
	if err != nil {
		fmt.Println(err)
		return
	}
	acme, ok := prices.Find("acme/small-2026-05-06")
	if !ok {
		fmt.Println("the price is not known")
		return
	}
	now := time.Now()
	fmt.Println("at most", acme.Most(2000, 500, now), "nano-dollars")
	fmt.Println("has cost", acme.Cost(llm.Usage{InputTokens: 1800, CachedTokens: 1000, OutputTokens: 200}, now))
	// Output:
	// at most 600000 nano-dollars
	// has cost 255000
}
