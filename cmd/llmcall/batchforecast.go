package main

import (
	"fmt"
	"net/http"
	"time"

	"llmcall"
	"llmcall/internal/results"
	"llmcall/llm"
)

// batchForecast adds up what rows may take.
type batchForecast struct {
	rows          int
	input, output int64 // tokens
	first, all    llmcall.Cost
	attempts      int
	unlimited     bool // answers have no limit of tokens
}

// forecast says what a run would be, prints the first request, and sends nothing.
func (b *batch) forecast() error {
	kept := &capture{}
	models, closeModels, err := b.program.open(b.cmd, &b.cfg, &http.Client{Transport: kept})
	if err != nil {
		return err
	}
	defer closeModels()
	if b.of, err = b.ofTheAnswer(b.program, models, b.form.text); err != nil {
		return err
	}
	b.out = &results.File{}
	if b.batchFlags.out != "" {
		if b.out, err = results.Look(b.batchFlags.out); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	if err := b.compare(); err != nil {
		return err
	}
	client, err := kept.client(models, b.checks, b.cfg)
	if err != nil {
		return err
	}
	var sum batchForecast
	var begins *llm.Request
	var of *askedRow
	var broken error
	for row := range b.pending(&broken) {
		req, err := b.form.request(row.Row)
		if err != nil {
			continue // see opening
		}
		f, err := client.Forecast(req)
		if err != nil {
			continue
		}
		sum.add(f)
		if begins == nil {
			begins, of = req, row
		}
	}
	if broken != nil {
		return b.inputError(broken)
	}
	b.tell("dry run, nothing is sent")
	for _, line := range b.opening() {
		b.tell(line)
	}
	if begins == nil {
		b.tell("there is nothing to ask")
		return nil
	}
	b.tell(sum.tokens())
	b.tell(sum.money(b.maxCost))
	b.tell(sum.time(&b.cfg, b.concurrency))
	if err := kept.ask(b.cmd, client, begins, false); err != nil {
		return err
	}
	b.tell(fmt.Sprintf("the first request, of row %d: %s%s", of.Number, kept.target, kept.whose(&b.cfg)))
	return kept.print(b.cmd)
}

func (s *batchForecast) add(f llmcall.Forecast) {
	s.rows++
	s.input, s.output = s.input+f.Input, s.output+f.Output
	s.first, s.all = s.first.Add(f.First), s.all.Add(f.All)
	s.attempts, s.unlimited = f.Attempts, s.unlimited || f.Unlimited
}

// tokens says how many tokens the rows may take.
func (s *batchForecast) tokens() string {
	text := fmt.Sprintf("tokens: at most %s in prompts and %s in answers", grouped(int(s.input)), grouped(int(s.output)))
	if s.unlimited {
		text += fmt.Sprintf("; the answers have no limit (--max-tokens), and are taken to have %s each", grouped(llmcall.DefaultOutputTokens))
	}
	return text
}

// money says what they may cost.
func (s *batchForecast) money(limit string) string {
	if !s.first.Known() {
		return "money: not known; `prices` in a configuration says what a model costs"
	}
	text := fmt.Sprintf("money: at most %s with one attempt for each row", aboutDollars(s.first))
	if s.attempts > 1 && s.all.Known() {
		text += fmt.Sprintf(", %s with %d, and what complaints, tools and judges add", aboutDollars(s.all), s.attempts)
	}
	if limit != "" {
		return text + fmt.Sprintf("; the run ends before it costs more than $%s (--max-cost)", limit)
	}
	return text + "; --max-cost limits it"
}

// time says how long they take at the limits that are known before a provider is asked.
func (s *batchForecast) time(cfg *llmcall.RetryConfig, concurrency int) string {
	at := min(concurrency, s.rows)
	if cfg.MaxConcurrent > 0 {
		at = min(at, cfg.MaxConcurrent)
	}
	each := aboutTime(time.Duration(float64(s.rows) / float64(at) * float64(time.Second)))
	text := fmt.Sprintf("time: with %d at a time, %s for each second that an answer takes", at, each)
	if cfg.RequestsPerMinute > 0 {
		text += fmt.Sprintf("; at least %s by requests_per_minute: %v", minutes(float64(s.rows)/cfg.RequestsPerMinute), cfg.RequestsPerMinute)
	}
	if cfg.TokensPerMinute > 0 {
		text += fmt.Sprintf("; at most %s by tokens_per_minute: %v", minutes(float64(s.input+s.output)/cfg.TokensPerMinute), cfg.TokensPerMinute)
	}
	if cfg.RequestsPerMinute == 0 && cfg.TokensPerMinute == 0 {
		text += "; what the provider's limits add is known when it says so"
	}
	return text
}

func minutes(n float64) string { return aboutTime(time.Duration(n * float64(time.Minute))) }
