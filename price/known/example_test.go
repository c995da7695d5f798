package known_test

import (
	"fmt"
	"time"

	"llmcall/llm"
	"llmcall/price"
	_ "llmcall/price/known"
)

func Example() {
	p, ok := price.Known("anthropic/claude-sonnet-4-5-20250929")
	if !ok {
		fmt.Println("the price is not known")
		return
	}
	used := llm.Usage{InputTokens: 12_000, CachedTokens: 10_000, OutputTokens: 800}
	fmt.Printf("%.4f dollars\n", float64(p.Cost(used, time.Now()))/1e9)
	// Output: 0.0210 dollars
}
