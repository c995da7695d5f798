package account

import (
	"context"

	"llmcall/endpoint"
	"llmcall/llm"
)

// Payer pays for requests that are made on behalf of a call, such as those of a judge to
// its own model. A call puts it into the context of its checks and tools. Its functions are
// safe for concurrent use.
type Payer struct {
	// Account is what each request must be reserved from, by a [Guard] of its own.
	// nil: nothing limits the call.
	Account *Account
	// Estimate returns what a request to a model may use at most, with a full name, for
	// [endpoint.Ask.Want]; nil if that is not known.
	Estimate func(model string, req *llm.Request) *endpoint.Amount
	// Charge returns what a request has used, for [endpoint.Report.Used], and adds it to
	// what the call has cost. Of a usage that is zero it is known only that something may
	// have to be paid.
	Charge func(model string, used llm.Usage) endpoint.Amount
}

type payerKey struct{}

// WithPayer returns a context whose requests p pays for.
func WithPayer(ctx context.Context, p *Payer) context.Context {
	return context.WithValue(ctx, payerKey{}, p)
}

// PayerOf returns the payer of a context, or nil.
func PayerOf(ctx context.Context) *Payer {
	p, _ := ctx.Value(payerKey{}).(*Payer)
	return p
}
