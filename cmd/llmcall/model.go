package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmcall"
	"llmcall/chaos"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/provider"
	"llmcall/provider/openai"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

// errNoModel says how to name a model, which need not be by a flag.
var errNoModel = errors.New("no model: set the key of a provider, such as OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY (llmcall providers lists them), or --model, or LLMCALL_MODEL; or try --practice, which calls no provider")

// open opens the models that the program names. A client, if given, sends their requests,
// and no key is needed.
func (p *program) open(cmd *cobra.Command, cfg *llmcall.RetryConfig, client *http.Client) ([]llm.Model, func(), error) {
	nothing := func() {}
	names := cfg.AllModels()
	if p.tape.replays() && client == nil {
		models, err := p.tape.models(names, cfg)
		return models, nothing, err
	}
	if p.Practice != nil {
		models, end, err := p.openPractice(cmd.Context(), names, cfg, client)
		if err == nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "llmcall: the practice model answers, and its answers are INVENTED")
			makeFree(cfg, models)
		}
		return p.tape.onto(models), end, err
	}
	if len(names) == 0 { // not the practice model: a job that lost its environment would go on with invented answers
		return nil, nil, errNoModel
	}
	var all []llm.Model
	options := provider.Options{BaseURL: p.BaseURL, HTTPClient: client}
	for _, name := range names {
		models, err := provider.OpenAll([]string{name}, ownProviders(cfg), options)
		if err != nil {
			err = inFlagWords(err)
			keyed, e := openWithoutKey(name, cfg, options)
			switch {
			case e != nil: // more is missing than the key
			case client != nil:
				models, err = keyed, nil
			default:
				err = fmt.Errorf("%w; or try --practice instead of a model, which calls no provider", err)
			}
		}
		if err != nil {
			return nil, nil, err
		}
		all = append(all, models...)
	}
	p.names.know(all)
	p.fleet.doubt()
	return p.tape.onto(all), nothing, nil
}

// makeFree gives the models that answer for practice a price, so that a ceiling of money can be
// tried: nothing, unless the configuration has another.
func makeFree(cfg *llmcall.RetryConfig, models []llm.Model) {
	prices := maps.Clone(cfg.Prices)
	if prices == nil {
		prices = price.Table{}
	}
	for _, m := range models {
		if _, ok := prices.Find(m.Name()); !ok {
			prices[m.Name()] = price.Price{}
		}
	}
	cfg.Prices = prices
}

// newClient is [llmcall.New] with errors for somebody who imports nothing.
func newClient(models []llm.Model, checks []validate.Strategy, cfg llmcall.RetryConfig) (*llmcall.Client, error) {
	cfg.Fleet = llmcall.Fleet{} // it was joined, or there is nothing to share: see join
	client, err := llmcall.New(models, checks, cfg)
	if e, ok := errors.AsType[*llmcall.ConfigError](err); ok && e.Field == "prices" && e.Err != nil {
		e.Err = errors.New(strings.Replace(e.Err.Error(), " (or import llmcall/price/known)", "", 1))
	}
	return client, err
}

// openWithoutKey opens the models of a name, for looking at them alone: as many as with
// their keys, which may be missing.
func openWithoutKey(name string, cfg *llmcall.RetryConfig, options provider.Options) ([]llm.Model, error) {
	own := ownProviders(cfg)
	prefix, _, _ := strings.Cut(name, "/")
	o := own[prefix]
	keys := max(1, len(o.Keys))
	if len(o.Keys) > 0 {
		o.Keys = nil
		own[prefix] = o
	}
	options.APIKey = "not-sent"
	models, err := provider.OpenAll([]string{name}, own, options)
	if err != nil {
		return nil, inFlagWords(err)
	}
	return slices.Repeat(models, keys), nil
}

// flagWords replaces the fields of provider.Options in an error by what the
// command has.
var flagWords = strings.NewReplacer(
	"APIKey or the environment variable", "the environment variable",
	"BaseURL or the environment variable", "--base-url or the environment variable",
	"BaseURL must", "--base-url must", " unless AllowPlainHTTP is set", "",
)

// inFlagWords returns an error of provider.Open as the command says it.
func inFlagWords(err error) error { return errors.New(flagWords.Replace(err.Error())) }

// defaultModel returns the full name of the model if neither a flag nor the
// configuration names one, or "".
func defaultModel(address string) string {
	if name := strings.TrimSpace(os.Getenv("LLMCALL_MODEL")); name != "" {
		return name
	}
	name, known := provider.Default(os.Getenv)
	if known {
		return name
	}
	if address != "" {
		return "openai/" + openai.DefaultModel
	}
	for _, p := range provider.All() { // a local server needs no key
		if p.Default != "" && p.BaseURLVariable != "" && strings.TrimSpace(os.Getenv(p.BaseURLVariable)) != "" {
			return p.Default
		}
	}
	return ""
}

// serverAddress checks a --base-url, and completes one of this machine that has no
// scheme. It does not show an address that may contain a password.
func serverAddress(given string) (string, error) {
	address := strings.TrimSpace(given)
	if address == "" {
		return "", nil
	}
	const must = "--base-url must be an http or https address such as https://example.com/v1, without user, query and fragment, got "
	if !strings.Contains(address, "://") && !strings.Contains(address, "@") {
		host, _, _ := strings.Cut(address, "/")
		if !isLoopback(host) {
			return "", fmt.Errorf(must+"%q without http:// or https://", address)
		}
		address = "http://" + address
	}
	base, err := url.Parse(address)
	switch {
	case strings.Contains(address, "@"):
		return "", errors.New(must + "one with a user")
	case err != nil:
		return "", errors.New(must + "one that can't be parsed")
	case base.RawQuery != "" || base.ForceQuery:
		return "", errors.New(must + "one with a query")
	case base.Fragment != "":
		return "", errors.New(must + "one with a fragment")
	case base.Hostname() == "" || base.Scheme != "http" && base.Scheme != "https":
		return "", fmt.Errorf(must+"%q", given)
	}
	return address, nil
}

// isLoopback reports whether host or host:port is this machine.
func isLoopback(host string) bool {
	name, err := url.Parse("http://" + host)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(name.Hostname())
	return strings.EqualFold(name.Hostname(), "localhost") || err == nil && ip.IsLoopback()
}

// practiceFlag is --practice, which may have a plan.
type practiceFlag struct {
	given bool
	plan  string // a file; "" for none
}

// Set reads a plan, or true or false.
func (p *practiceFlag) Set(value string) error {
	switch value {
	case "", "true":
		*p = practiceFlag{given: true}
	case "false":
		*p = practiceFlag{}
	default:
		*p = practiceFlag{true, value}
	}
	return nil
}

func (p *practiceFlag) String() string { return p.plan }

// Type is that of a flag that may be without a value.
func (p *practiceFlag) Type() string { return "bool" }

// plansOf joins --practice and a plan that follows it: a flag whose value may be
// left out takes it after "=" alone, and both forms are typed. What follows is a
// plan if it ends like one, or is a file; otherwise it is the prompt, or the rows.
func plansOf(args []string) []string {
	joined := slices.Clone(args)
	for i := 0; i+1 < len(joined) && joined[i] != "--"; i++ {
		if next := joined[i+1]; joined[i] == "--practice" && isPlan(next) {
			joined[i] += "=" + next
			joined = slices.Delete(joined, i+1, i+2)
		}
	}
	return joined
}

func isPlan(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(name, "-")
	case ".jsonl", ".ndjson", ".csv": // what a batch asks
		return false
	}
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

// practiceKey is what the practice model gets as a key. No text of its answers and failures
// has it, as a recording would leave it out there.
const practiceKey = "needs-no-key"

// openPractice serves the practice model on loopback and opens it like any other model, so
// that a call goes the whole way: under each of the names, or under one of its own.
func (p *program) openPractice(ctx context.Context, names []string, cfg *llmcall.RetryConfig, client *http.Client) ([]llm.Model, func(), error) {
	var config chaos.Config
	var err error
	if p.Practice.Name != "" {
		if config.Plan, err = chaos.ParsePlan(p.Practice.Name, []byte(p.Practice.Text)); err != nil {
			return nil, nil, fmt.Errorf("--practice: %w", err)
		}
	}
	server, err := chaos.New(config)
	if err != nil {
		return nil, nil, fmt.Errorf("--practice: %w", err)
	}
	listener, err := chaos.Listen(chaos.DefaultAddress)
	if err != nil {
		return nil, nil, fmt.Errorf("the practice model: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ctx, listener) // if it fails, so does the call
	}()
	if len(names) == 0 {
		names = []string{"openai/practice"}
	}
	var models []llm.Model
	for _, name := range names {
		prefix, _, _ := strings.Cut(name, "/")
		own := map[string]provider.Own{prefix: {Protocol: "openai", BaseURL: "http://" + listener.Addr().String() + "/v1"}}
		opened, e := provider.OpenAll([]string{name}, own, provider.Options{HTTPClient: client, APIKey: practiceKey})
		models, err = append(models, slices.Repeat(opened, max(1, len(cfg.Providers[prefix].Keys)))...), errors.Join(err, e)
	}
	closeServer := func() {
		cancel()
		<-ended
	}
	if err != nil {
		closeServer()
		return nil, nil, err
	}
	return models, closeServer, nil
}
