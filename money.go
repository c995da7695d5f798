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
		asks, ok := check.(interface{ Models() []string })
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

// purse is what a call may spend, and what it has cost. It is shared by the call, its
// hedges and its judges.
type purse struct {
	cfg     *RetryConfig
	account *account.Account // nil without a ceiling

	mu       sync.Mutex
	checks   int64 // nano-dollars of the checks of the current attempt
	unpriced bool  // of which some have no known price
}

// newPurse returns the purse of a call.
func (c *Client) newPurse() *purse {
	p := &purse{cfg: &c.cfg}
	if c.cfg.limitsAny() {
		var above []*account.Account
		if c.cfg.Account != nil {
			above = append(above, c.cfg.Account)
		}
		p.account = account.New(c.cfg.ceiling(), above...)
		p.account.Name = "the call"
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
	a := endpoint.Amount{Tokens: used.InputTokens + used.OutputTokens}
	known, ok := p.cfg.priceOf(model)
	if ok {
		a.Nanos = known.Cost(used, time.Now())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks += a.Nanos
	p.unpriced = p.unpriced || !ok && a.Tokens > 0
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

// dearest is a price as an account reserves by it.
type dearest struct{ price.Price }

func (d dearest) Most(input, output int64) int64 { return d.Price.Most(input, output, time.Now()) }

// Cost is an amount of money.
type Cost struct {
	// Nanos is in nano-dollars (1e-9 US dollars).
	Nanos int64
	// Partial says that Nanos is not everything, because something was used whose price
	// is not known.
	Partial bool
}

// Add returns the sum of two costs.
func (c Cost) Add(d Cost) Cost { return Cost{c.Nanos + d.Nanos, c.Partial || d.Partial} }

// Known reports whether c is everything that was spent.
func (c Cost) Known() bool { return !c.Partial }

// Dollars returns the cost in dollars, with all digits: "0.000123". It is exact.
func (c Cost) Dollars() string {
	text := fmt.Sprintf("%d.%09d", c.Nanos/account.Dollar, c.Nanos%account.Dollar)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
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
	if err != nil || len(part) > 9 {
		return fmt.Errorf("llmcall: a cost must be dollars with at most nine decimals, got %s", dollars)
	}
	*c = Cost{Nanos: nanos}
	return nil
}

// after returns the cost of a usage for JSON; nil if it is not known, or nothing was used.
func (c Cost) after(used llm.Usage) *Cost {
	if c.Partial || c.Nanos == 0 && used == (llm.Usage{}) {
		return nil
	}
	return &c
}

// costOf returns the cost of a usage that JSON has.
func costOf(c *Cost, used llm.Usage) Cost {
	if c == nil {
		return Cost{Partial: used != llm.Usage{}}
	}
	return *c
}

// reckon tells the guards what the next request may use at each target. The prompt is
// measured once for each.
func (c *call) reckon(req *llm.Request) {
	need := &endpoint.Need{Tokens: endpoint.Wanted(req)}
	c.tries.Need = func(int) *endpoint.Need { return need }
	if c.purse.account == nil {
		return
	}
	c.measured = map[int]account.Estimate{}
	c.tries.Need = func(target int) *endpoint.Need {
		e := c.strict(target, req)
		if c.cfg.Reserve == ReserveExpected {
			e = c.client.ratios[target].Expected(e)
		}
		all, some := e.Amount(), e.Least(int64(cmp.Or(c.cfg.MinOutputTokens, DefaultMinOutputTokens)))
		return &endpoint.Need{Tokens: need.Tokens, Want: &all, Least: &some}
	}
}

// strict returns the most that a request can use at a target.
func (c *call) strict(target int, req *llm.Request) account.Estimate {
	if e, ok := c.measured[target]; ok {
		return e
	}
	e := account.Estimate{
		Input: account.MostInput(req, c.client.models[target].Name()), Output: cmp.Or(int64(req.MaxTokens), DefaultOutputTokens),
	}
	if p := c.client.prices[target]; p != nil {
		e.Price = dearest{*p}
	}
	c.measured[target] = e
	return e
}

// afford lowers the token limit of a request to what the account has lent for it.
func (c *call) afford(req *llm.Request) {
	c.lowered = false
	if c.guard == nil {
		return
	}
	e := c.strict(c.target, req)
	if c.cfg.Reserve != ReserveExpected {
		output, lower := e.Affords(c.guard.Lent())
		req.MaxTokens, c.lowered = int(output), lower
		return
	}
	// What is expected was lent, which is less than the most; only what is left in the
	// account bounds the answer.
	want := c.tries.Need(c.target).Want
	if lent := c.guard.Lent(); lent.Tokens < want.Tokens || lent.Nanos < want.Nanos {
		output, _ := e.Affords(lent)
		req.MaxTokens, c.lowered = int(max(output, int64(cmp.Or(c.cfg.MinOutputTokens, DefaultMinOutputTokens)))), true
	}
}

// used returns the report of an answer, with its cost, which is added to that of the
// attempt; nil if there is no answer.
func (c *call) used(answer *llm.Response) *endpoint.Report {
	report := endpoint.Used(answer)
	if report == nil {
		return nil
	}
	r := c.current()
	if p := c.client.prices[c.target]; p != nil {
		report.Used.Nanos = p.Cost(answer.Usage, r.Start)
		r.Cost.Nanos += report.Used.Nanos
	} else if report.Used.Tokens > 0 {
		r.Cost.Partial = true
	}
	if c.purse.account != nil && c.cfg.Reserve == ReserveExpected {
		if e, ok := c.measured[c.target]; ok {
			c.client.ratios[c.target].Learn(e, answer.Usage)
		}
	}
	return report
}

// unanswered returns the report of a request that was ended by us before its answer: the
// provider may bill all of it.
func (c *call) unanswered(kind failure.Kind) *endpoint.Report {
	switch kind {
	case failure.Cancelled, failure.AttemptTimeout, failure.DeadlineExceeded:
		if c.guard != nil && c.lost == nil {
			return &endpoint.Report{Used: c.guard.Lent()}
		}
	}
	return c.lost
}
