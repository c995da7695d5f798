// Package price says what the tokens of a call cost.
//
// Money is counted in whole nano-dollars, a billionth of a US dollar: 0.05 dollars
// are 50_000_000. [Rates] are in nano-dollars per million tokens, so that $0.15 per
// million, as providers print it, is 150_000_000. The tokens of each kind are
// multiplied by their rate in 128 bits, the products are added, and the sum is
// rounded up, once a call: no float is involved, and what is reported is never below
// what is billed for the tokens of the usage.
//
// A [Price] has the rates of one model. Input that was read from a cache, or written
// to one, and sound have rates of their own. Where a prompt is long, all tokens of the
// call, the output too, may cost more: a [Tier]. Where the provider has told a change
// of prices, each time has its own: [Dated].
//
// [Price.Cost] is what a call has cost, [Price.Most] the most that one can cost that
// is not made yet. A [Table] has the prices of a user; [Known] asks the tables that
// the program has imported, such as package [llmcall/price/known]. Neither knows what
// is charged for anything but tokens (searches of the provider's own tools, an hour
// of a cache that was made by hand), discounts of batches and contracts, and what a
// faster or slower service tier costs.
//
// In a file a price is in dollars per million tokens:
//
//	prices:
//	  acme/small: {input: 0.15, output: 0.60}
//	  acme/large:
//	    input: 2.50
//	    output: 10
//	    cached_input: 0.25
//	    cache_write: 3.125
//	    tiers:
//	      - {above: 200000, input: 5, output: 15, cached_input: 0.5, cache_write: 6.25}
//	    dated:
//	      - {from: 2027-01-01, input: 2, output: 8, cached_input: 0.2, cache_write: 2.5}
//	  vllm/*: {input: 0, output: 0}
//
// See [Price.UnmarshalJSON] for the fields.
package price
