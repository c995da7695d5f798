package account

import (
	"math"
	"sort"
	"sync"

	"llmcall/endpoint"
	"llmcall/llm"
)

// Price says what tokens cost at most: the dearest that can apply to so many tokens of
// input and output, in nano-dollars. It must not fall if either grows.
type Price interface {
	Most(input, output int64) int64
}

// Estimate is what a request may use. With [MostInput] and the request's limit of output
// tokens it is strict: no more can be used.
type Estimate struct {
	Input  int64 // tokens of the prompt
	Output int64 // tokens of the answer
	Price  Price // nil: only tokens are reckoned
}

// Amount returns what to reserve, for [endpoint.Need.Want]. Numbers below 0 count as 0.
func (e Estimate) Amount() endpoint.Amount {
	input, output := max(0, e.Input), max(0, e.Output)
	a := endpoint.Amount{Tokens: add(input, output)}
	if e.Price != nil {
		a.Nanos = e.Price.Most(input, output)
	}
	return a
}

// Least returns what to reserve at least, for [endpoint.Need.Least], if an answer of so
// many tokens would do.
func (e Estimate) Least(output int64) endpoint.Amount {
	e.Output = min(e.Output, output)
	return e.Amount()
}

// Affords returns how many output tokens are paid for with what an account has lent
// ([Guard.Lent]), at most e.Output. If less was lent than the whole estimate, lower is
// true, and the request's limit has to be lowered to that number.
func (e Estimate) Affords(lent endpoint.Amount) (output int64, lower bool) {
	if fits(e.Amount(), lent) {
		return e.Output, false
	}
	top := int(min(max(0, e.Output), math.MaxInt32)) // of which the account lends less
	over := sort.Search(top, func(n int) bool { return !fits(e.Least(int64(n)), lent) })
	return int64(max(0, over-1)), true
}

// fits reports whether a is at most b.
func fits(a, b endpoint.Amount) bool { return a.Tokens <= b.Tokens && a.Nanos <= b.Nanos }

// Learning of a [Ratio].
const (
	enough  = 5  // requests after which it is used
	memory  = 20 // requests that it remembers, about
	reserve = 1.3
)

// Ratio learns how much of one model's strict estimates is used. The zero value has
// learned nothing. It is safe for concurrent use.
//
// With it, an account can be passed: by what the requests under way use above what was
// reserved for them, which is at most their strict estimates less the expected ones. A
// call makes one request at a time, so that its account is passed by at most one attempt,
// and with hedges by one for each.
type Ratio struct {
	mu            sync.Mutex
	seen          float64
	input, output float64 // means of what was used of the estimates
}

// Learn records what a request has used of its strict estimate. A usage of 0 is not
// known, and teaches nothing.
func (r *Ratio) Learn(strict Estimate, used llm.Usage) {
	if strict.Input <= 0 || strict.Output <= 0 || used.InputTokens <= 0 || used.OutputTokens <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = min(r.seen+1, memory)
	r.input += (float64(used.InputTokens)/float64(strict.Input) - r.input) / r.seen
	r.output += (float64(used.OutputTokens)/float64(strict.Output) - r.output) / r.seen
}

// Expected returns what a request is expected to use at most, given its strict estimate:
// 1.3 times the mean of the last 20 requests or so, for input and output separately. It
// is never more than the strict estimate, and equal to it until five requests have been
// learned from.
func (r *Ratio) Expected(strict Estimate) Estimate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen >= enough {
		strict.Input, strict.Output = part(strict.Input, r.input), part(strict.Output, r.output)
	}
	return strict
}

// part returns the part of n to reserve, at least 1, rounded up.
func part(n int64, ratio float64) int64 {
	if n <= 0 || ratio*reserve >= 1 {
		return n
	}
	return min(n, max(1, int64(math.Ceil(float64(n)*ratio*reserve))))
}
