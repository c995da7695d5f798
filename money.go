package llmcall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/decimal"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"
)

// Reserve says how much of what a call may spend is set aside before each request.
type Reserve string

// The ways to reserve.
const (
	// ReserveStrict sets aside what a request can use at most: a token for each byte of
	// the prompt, at the dearest rate, and the whole limit of output tokens. No ceiling is
	// ever passed.
	ReserveStrict Reserve = "strict"
	// ReserveExpected sets aside 1.3 times what the client's requests to the model have
	// used of that before. A ceiling can be passed, by one attempt at most (and one hedge).
	ReserveExpected Reserve = "expected"
)

// The defaults of requests under a ceiling.
const (
	// DefaultMinOutputTokens is the default of [RetryConfig.MinOutputTokens].
	DefaultMinOutputTokens = 256
	// DefaultOutputTokens is the limit of output tokens of a request under a ceiling that
	// has none, since an answer without a limit has no highest price.
	DefaultOutputTokens = 16_000
)

// maxDollars is the largest ceiling, in dollars.
const maxDollars = 1_000_000

// ceiling returns what each call may use in all; 0: no limit.
func (c *RetryConfig) ceiling() endpoint.Amount {
	return endpoint.Amount{Tokens: c.MaxTokensTotal, Nanos: int64(math.Round(c.MaxCost * account.Dollar))}
}

// limitsMoney reports whether a request must have a price.
func (c *RetryConfig) limitsMoney() bool {
	return c.MaxCost > 0 || c.Account != nil && c.Account.LimitsMoney()
}

// limitsAny reports whether calls have an account.
func (c *RetryConfig) limitsAny() bool {
	return c.ceiling() != endpoint.Amount{} || c.Account != nil
}

// limited reports whether there is a ceiling. An account without one only counts.
func (c *RetryConfig) limited() bool {
	return c.ceiling() != endpoint.Amount{} || c.Account != nil && c.Account.Limited()
}

// priceOf returns the price of a model: the caller's, or the known one.
func (c *RetryConfig) priceOf(model string) (price.Price, bool) {
	if p, ok := c.Prices.Find(model); ok {
		return p, true
	}
	return price.Known(model)
}

// validateMoney checks the settings of money.
func (c *RetryConfig) validateMoney() error {
	switch {
	case !(c.MaxCost >= 0 && c.MaxCost <= maxDollars):
		return &ConfigError{Field: "max_cost", Got: c.MaxCost, Takes: takesDollars}
	case c.MaxCost > 0 && c.ceiling().Nanos == 0:
		return &ConfigError{Field: "max_cost", Got: c.MaxCost, Takes: "at least a nano-dollar (0.000000001)"}
	case c.Reserve != "" && c.Reserve != ReserveStrict && c.Reserve != ReserveExpected:
		return &ConfigError{Field: "reserve", Got: strconv.Quote(string(c.Reserve)), Takes: takesReserve}
	case !c.limitsAny() && c.Reserve != "":
		return &ConfigError{Field: "reserve", Err: errors.New(noCeiling)}
	case !c.limitsAny() && c.MinOutputTokens != 0:
		return &ConfigError{Field: "min_output_tokens", Err: errors.New(noCeiling)}
	}
	if err := c.bounded("extra", c.Extra); err != nil {
		return err
	}
	for i, s := range c.Stages {
		if err := c.bounded(fmt.Sprintf("stages[%d].extra", i), s.Extra); err != nil {
			return err
		}
	}
	return nil
}

const noCeiling = "has no effect unless max_cost, max_tokens_total or an account is set"

// pricing returns the prices of models, nil where one is not known. Under a ceiling of
// money each must be, also those of the models that the checks ask.
func (c *RetryConfig) pricing(models []llm.Model, checks []validate.Strategy) ([]*price.Price, error) {
	var all []*price.Price
	for _, m := range models {
		p, ok := c.priceOf(m.Name())
		if !ok {
			if c.limitsMoney() {
				return nil, unpriced(m.Name())
			}
			all = append(all, nil)
			continue
		}
		all = append(all, &p)
	}
	if !c.limitsMoney() {
		return all, nil
	}
	for _, check := range checks {
		asks, ok := check.(interface{ Models() []string }) // see validate.Costly
		if !ok {
			continue
		}
		for _, name := range asks.Models() {
			if _, ok := c.priceOf(name); !ok {
				return nil, unpriced(name)
			}
		}
	}
	return all, nil
}

// unpriced is the error of a model without a known price under a ceiling of money.
func unpriced(model string) error {
	return &ConfigError{Field: "prices", Err: fmt.Errorf(
		"the price of %s is not known, and there is a ceiling of money: add the line `%s: {input: 0.15, output: 0.60}` with its prices in dollars per million tokens (or import llmcall/price/known)",
		model, model)}
}

// unboundedFields are the provider's own fields with which a request may cost more than
// its prompt and its limit of output tokens say, at a known price. Those of Gemini's
// generationConfig are among them.
var unboundedFields = []string{
	"max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", // set MaxTokens
	"n", "best_of", "candidateCount", // several answers
	"tools", "mcp_servers", "web_search_options", "plugins", // tools that run at the provider, and what they find
	"previous_response_id", "conversation", "prompt", "cachedContent", "container", // a part of the prompt is at the provider
	"models", "fallbacks", // other models
	"prediction", "speed", "inference_geo", // other prices
}

// bounded returns a [*ConfigError] if extra fields, with the given name, leave open what a
// request may cost, under a ceiling.
func (c *RetryConfig) bounded(name string, extra map[string]any) error {
	if !c.limited() {
		return nil
	}
	within, _ := extra["generationConfig"].(map[string]any)
	for _, field := range unboundedFields {
		_, found := extra[field]
		if _, deeper := within[field]; found || deeper {
			return &ConfigError{Field: name + "." + field, Err: errors.New("must not be set under a ceiling of money or tokens, because the most that a request can use would not be known")}
		}
	}
	for _, field := range []string{"service_tier", "serviceTier"} {
		if extra[field] == "priority" {
			return &ConfigError{Field: name + "." + field, Got: `"priority"`, Takes: "another tier under a ceiling of money or tokens: the known prices are those of the usual one"}
		}
	}
	return nil
}

// purse is what a call may spend, and what it has cost. It is shared by the call, its
// hedges and its judges.
type purse struct {
	cfg     *RetryConfig
	account *account.Account // nil without a ceiling

	mu       sync.Mutex
	checks   int64 // nano-dollars of the checks of the current attempt
	unpriced bool  // of which some have no known price
}

// nameOfCall is the name of the account of each call.
const nameOfCall = "the call"

// newPurse returns the purse of a call.
func (c *Client) newPurse() *purse {
	p := &purse{cfg: &c.cfg}
	if c.cfg.limitsAny() {
		var above []*account.Account
		if c.cfg.Account != nil {
			above = append(above, c.cfg.Account)
		}
		p.account = account.New(c.cfg.ceiling(), above...)
		p.account.Name = nameOfCall
	}
	return p
}

// guards returns the guard of one retry.Call, and that as the call's own.
func (p *purse) guards() (*account.Guard, []endpoint.Guard) {
	if p.account == nil {
		return nil, nil
	}
	g := p.account.Guard()
	return g, []endpoint.Guard{g}
}

// within returns the context of checks and tools, whose requests the purse pays for.
func (p *purse) within(ctx context.Context) context.Context {
	return account.WithPayer(ctx, &account.Payer{Account: p.account, Estimate: p.estimate, Charge: p.charge})
}

// estimate returns what a request of a check may use at most.
func (p *purse) estimate(model string, req *llm.Request) *endpoint.Amount {
	e := account.Estimate{Input: account.MostInput(req, model), Output: cmp.Or(int64(req.MaxTokens), DefaultOutputTokens)}
	known, ok := p.cfg.priceOf(model)
	if ok {
		e.Price = dearest{known}
	} else if p.cfg.limitsMoney() {
		return nil
	}
	want := e.Amount()
	return &want
}

// charge adds what a request of a check has cost.
func (p *purse) charge(model string, used llm.Usage) endpoint.Amount {
	a := endpoint.Amount{Tokens: endpoint.Tokens(used)}
	known, ok := p.cfg.priceOf(model)
	if ok {
		a.Nanos = known.Cost(used, time.Now())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks = Cost{Nanos: p.checks}.Add(Cost{Nanos: a.Nanos}).Nanos
	p.unpriced = p.unpriced || !(ok && (a.Tokens > 0 || isFree(&known)))
	return a
}

// takeChecks returns what checks have cost since the last time.
func (p *purse) takeChecks() Cost {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := Cost{p.checks, p.unpriced}
	p.checks, p.unpriced = 0, false
	return c
}

// isFree reports whether nothing is to be paid, whatever is used.
func isFree(p *price.Price) bool { return p.Most(math.MaxInt32, math.MaxInt32, time.Now()) == 0 }

// dearest is a price as an account reserves by it.
type dearest struct{ price.Price }

func (d dearest) Most(input, output int64) int64 { return d.Price.Most(input, output, time.Now()) }

// Cost is an amount of money.
type Cost struct {
	// Nanos is in nano-dollars (1e-9 US dollars).
	Nanos int64
	// Partial says that Nanos is not everything: something was used whose price is not
	// known, or nothing is known about what a request has used that may be billed, such as
	// one that was cancelled.
	Partial bool
}

// Add returns the sum of two costs. What does not fit is [math.MaxInt64].
func (c Cost) Add(d Cost) Cost {
	return Cost{c.Nanos + min(d.Nanos, math.MaxInt64-c.Nanos), c.Partial || d.Partial}
}

// Known reports whether c is everything that was spent.
func (c Cost) Known() bool { return !c.Partial }

// Dollars returns the cost in dollars, with all digits: "0.000123". It is exact.
func (c Cost) Dollars() string { return decimal.Dollars(c.Nanos, 0) }

// String returns "$0.000123", or "unknown" if something has no known price.
func (c Cost) String() string {
	if c.Partial {
		return "unknown"
	}
	return "$" + c.Dollars()
}

// MarshalJSON writes dollars as a number, or null if something has no known price.
func (c Cost) MarshalJSON() ([]byte, error) {
	if c.Partial {
		return []byte("null"), nil
	}
	return []byte(c.Dollars()), nil
}

// UnmarshalJSON reads what [Cost.MarshalJSON] writes; null is a cost of which nothing is
// known.
func (c *Cost) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*c = Cost{Partial: true}
		return nil
	}
	var dollars json.Number
	if err := json.Unmarshal(data, &dollars); err != nil {
		return err
	}
	whole, part, _ := strings.Cut(dollars.String(), ".")
	nanos, err := strconv.ParseInt(whole+(part + "000000000")[:9], 10, 64)
	if err != nil || nanos < 0 || len(part) > 9 {
		return fmt.Errorf("llmcall: a cost must be dollars with at most nine decimals, got %s", dollars)
	}
	*c = Cost{Nanos: nanos}
	return nil
}

// after returns the JSON of the cost of a usage: nothing if that is zero, or has no known
// price; null if it is only known that something may have to be paid.
func (c Cost) after(used llm.Usage) json.RawMessage {
	none := used == (llm.Usage{})
	switch {
	case c.Partial && none:
		return json.RawMessage("null")
	case c.Partial, c.Nanos == 0 && none:
		return nil
	}
	return json.RawMessage(c.Dollars())
}

// costAfter reads what [Cost.after] returns.
func costAfter(data json.RawMessage, used llm.Usage) (c Cost, err error) {
	if len(data) == 0 {
		return Cost{Partial: used != llm.Usage{}}, nil
	}
	err = json.Unmarshal(data, &c)
	return c, err
}

// reckoned is what the next request may use at a target.
type reckoned struct {
	most       account.Estimate // strictly
	all, least endpoint.Amount  // what is reserved for it, and what at least
	need       endpoint.Need
}

// reckon tells the guards what the next request may use at each target. The prompt is
// measured once for each.
func (c *call) reckon(req *llm.Request) {
	need := &endpoint.Need{Tokens: endpoint.Wanted(req)}
	c.tries.Need = func(int) *endpoint.Need { return need }
	if c.purse.account == nil {
		return
	}
	c.measured = map[int]*reckoned{}
	c.tries.Need = func(target int) *endpoint.Need {
		r, ok := c.measured[target]
		if !ok {
			r = c.measure(target, req)
			r.need = endpoint.Need{Tokens: need.Tokens, Want: &r.all, Least: &r.least}
			c.measured[target] = r
		}
		return &r.need
	}
}

// measure returns what a request may use at a target.
func (c *call) measure(target int, req *llm.Request) *reckoned {
	r := &reckoned{most: account.Estimate{
		Input: account.MostInput(req, c.client.models[target].Name()), Output: cmp.Or(int64(req.MaxTokens), DefaultOutputTokens),
	}}
	if p := c.client.prices[target]; p != nil {
		r.most.Price = dearest{*p}
	}
	e := r.most
	if c.cfg.Reserve == ReserveExpected {
		e = c.client.ratios[target].Expected(e)
	}
	r.all, r.least = e.Amount(), e.Least(c.fewest())
	return r
}

// fewest is the lowest limit of output tokens that a request gets for want of money.
func (c *call) fewest() int64 {
	return int64(cmp.Or(c.cfg.MinOutputTokens, DefaultMinOutputTokens))
}

// afford lowers the token limit of a request to what the account has lent for it. If the
// request is sent again without something that the provider refuses, its limit stays, so
// that as much must be lent then.
func (c *call) afford(req *llm.Request) {
	c.lowered = false
	if c.guard == nil || !c.cfg.limited() {
		return
	}
	r := c.measured[c.target]
	lent := c.guard.Lent()
	output, lower := r.most.Output, lent.Tokens < r.all.Tokens || lent.Nanos < r.all.Nanos
	if lower {
		if output, _ = r.most.Affords(lent); c.cfg.Reserve == ReserveExpected {
			output = min(max(output, c.fewest()), r.most.Output)
		}
	}
	req.MaxTokens, c.lowered = int(output), lower && output < r.most.Output
	r.all, r.least = lent, lent
}

// used returns the report of an answer, with its cost, which is added to that of the
// attempt; nil if there is no answer.
func (c *call) used(answer *llm.Response) *endpoint.Report {
	report := endpoint.Used(answer)
	if report == nil {
		return nil
	}
	r := c.current()
	p := c.client.prices[c.target]
	if p != nil {
		report.Used.Nanos = p.Cost(answer.Usage, r.Start)
		r.Cost = r.Cost.Add(Cost{Nanos: report.Used.Nanos})
	}
	known := answer.Usage != (llm.Usage{})
	begun := c.streams() && answer.Finish == llm.FinishNone // the usage is that of its beginning
	switch {
	case p == nil && known, p != nil && (!known || begun) && !isFree(p):
		r.Cost.Partial = true
	}
	if c.guard == nil {
		return report
	}
	switch {
	case begun && answer.Usage.InputTokens > 0: // all of the answer may be billed
		whole := answer.Usage
		whole.OutputTokens = max(whole.OutputTokens, int64(c.limit))
		report.Used.Tokens = endpoint.Tokens(whole)
		if p != nil {
			report.Used.Nanos = p.Cost(whole, r.Start)
		}
	case begun:
		report.Used = endpoint.Amount{}
	case c.cfg.Reserve == ReserveExpected:
		c.client.ratios[c.target].Learn(c.measured[c.target].most, answer.Usage)
	}
	return report
}

// unanswered notes that the provider may bill a request of which nothing is known.
func (c *call) unanswered(kind failure.Kind, err error) {
	if p := c.client.prices[c.target]; c.lost != nil || p != nil && isFree(p) || !(endpoint.Outcome{Kind: kind, Err: err}).MayBill() {
		return
	}
	c.current().Cost.Partial, c.trace.Cost.Partial = true, true
}
