package account_test

import (
	"fmt"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/llm"
)

// perMillion is a price in dollars for a million tokens.
type perMillion struct{ input, output int64 }

func (p perMillion) Most(input, output int64) int64 {
	return (input*p.input + output*p.output) * account.Dollar / 1_000_000
}

// Three attempts of a call that may cost 2 cents: what is left for the second pays for
// a shorter answer, and for the third it does not pay for one of 256 tokens.
func Example() {
	day := account.Daily(endpoint.Amount{Nanos: account.Dollar}, time.UTC)
	call := account.New(endpoint.Amount{Nanos: 20_000_000}, day)
	call.Name = "max_cost"

	req := llm.Prompt("Write a poem.")
	req.MaxTokens = 1000
	price := perMillion{input: 2, output: 10}
	strict := account.Estimate{Input: account.MostInput(req, "acme/large"), Output: int64(req.MaxTokens), Price: price}

	for range 3 {
		lent, err := call.Reserve(strict.Amount(), strict.Least(256))
		if err != nil {
			fmt.Println(err)
			break
		}
		output, _ := strict.Affords(lent)
		fmt.Println("a request with max_tokens", output)
		call.Settle(lent, endpoint.Amount{Tokens: 12 + output, Nanos: price.Most(12, output)}) // what the provider reports
	}
	fmt.Println("spent today, in nano-dollars:", day.Snapshot().Spent.Nanos)
	// Output:
	// a request with max_tokens 1000
	// a request with max_tokens 940
	// max_cost has $0.000552 left of $0.02, and the request may use $0.01057, at least $0.00313
	// spent today, in nano-dollars: 19448000
}

// How a call of package retry passes an account: by a guard of its own.
func ExampleAccount_Guard() {
	purse := account.New(endpoint.Amount{Tokens: 20_000})
	guard := purse.Guard()
	permit, refusal := guard.Admit(endpoint.Ask{Need: &endpoint.Need{Want: &endpoint.Amount{Tokens: 30_000}, Least: &endpoint.Amount{Tokens: 5000}}})
	fmt.Println(guard.Lent().Tokens, refusal == nil)
	guard.Settle(permit, endpoint.Outcome{}) // the request was not made
	fmt.Println(purse.Snapshot().Reserved.Tokens)
	// Output:
	// 20000 true
	// 0
}

// A tenant has a dollar a day, of what the process may spend.
func ExampleDaily() {
	process := account.New(endpoint.Amount{Nanos: 100 * account.Dollar})
	day := account.Daily(endpoint.Amount{Nanos: account.Dollar}, time.UTC, process)
	day.Name = "the tenant's day"
	day.Settle(endpoint.Amount{}, endpoint.Amount{Nanos: 990_000_000}) // what it has spent before the program was started

	_, err := day.Reserve(endpoint.Amount{Nanos: 50_000_000}, endpoint.Amount{Nanos: 20_000_000})
	fmt.Println(err)
	fmt.Println(process.Snapshot().Spent.Nanos)
	// Output:
	// the tenant's day has $0.01 left of $1.00 until midnight in UTC, and the request may use $0.05, at least $0.02
	// 990000000
}
