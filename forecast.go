package llmcall

import "llmcall/llm"

// Forecast says what a call may cost before it is made; see [Client.Forecast].
type Forecast struct {
	// Input and Output are the most tokens that the prompt of the first request, and its
	// answer, can have at the first model: a token for each byte of text, and the
	// request's limit, or [DefaultOutputTokens] if it has none.
	Input, Output int64
	// First is the most that the first request can cost.
	First Cost
	// Attempts is the largest number of attempts that count, of all stages.
	Attempts int
	// All is the most that so many first requests cost, each at the dearest model of its
	// stage. What is added to the prompt by complaints, rounds of tools, judges and hedges
	// come on top, all of it up to [RetryConfig.MaxCost].
	All Cost
	// Unlimited says that the request sets no limit of output tokens, and no ceiling does:
	// its provider decides how long the answer gets.
	Unlimited bool
}

// Forecast returns what a call with a request may cost. It makes no request. A cost is
// Partial if the price of a model is not known. The error is that of [Client.Do] for a
// request without messages.
func (c *Client) Forecast(req *llm.Request) (Forecast, error) {
	k, err := c.newCall(req, c.checks)
	if err != nil {
		return Forecast{}, err
	}
	f := Forecast{Attempts: c.attempts, Unlimited: k.maxTokens == 0 && !c.cfg.limited()}
	for at, step := range c.cfg.Stair() {
		if step.Human {
			break
		}
		k.enter(at)
		k.next = k.conversation()
		highest := Cost{}
		for i, target := range c.stages[at].order {
			request := k.pending()
			most := k.measure(target, &request).most
			cost := Cost{most.Amount().Nanos, c.prices[target] == nil}
			if at == 0 && i == 0 {
				f.Input, f.Output, f.First = most.Input, most.Output, cost
			}
			highest = Cost{max(highest.Nanos, cost.Nanos), highest.Partial || cost.Partial}
		}
		f.All = f.All.Add(Cost{highest.Nanos * int64(step.Attempts), highest.Partial})
	}
	return f, nil
}
