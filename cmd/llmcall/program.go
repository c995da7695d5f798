package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/provider"
	"llmcall/validate"
)

// program is what a call is made of besides its conversation. A review file keeps it, so
// that another process can go on with the call. It has no API key: the flags take none, and
// a configuration says only where one is.
type program struct {
	Model    string            `json:"model,omitempty"`    // of --model, or the default; "" if the configuration names it
	BaseURL  string            `json:"base_url,omitempty"` // of --base-url
	Config   *textFile         `json:"config,omitempty"`   // of --config
	Settings map[string]string `json:"settings,omitempty"` // of the flags in settingFlags, by their names
	Checks   []string          `json:"checks,omitempty"`   // of --check
	Schema   json.RawMessage   `json:"schema,omitempty"`   // of --schema, in one document
	Judge    string            `json:"judge,omitempty"`    // of $LLMCALL_JUDGE
	Practice *textFile         `json:"practice,omitempty"` // of --practice; an empty one has no plan
	Human    bool              `json:"human,omitempty"`    // --human is given

	named string // the model that the rows of a batch name, if nothing else does
	tape  *tape  // not of the call that a person looks at, but of this process

	fleet    *ownFleet          // nil without one
	names    *modelNames        // of the models that were opened
	registry *endpoint.Registry // nil until endpoints are asked for
}

// textFile is the content of a file.
type textFile struct {
	Name string `json:"name,omitempty"`
	Text string `json:"text,omitempty"`
}

// kept returns the program as a review file keeps it. A configuration whose MCP servers are
// given what may be a key, or whose fleet has a password, is not copied there: the file has
// its name.
func (p *program) kept() *program {
	if p.Config == nil || p.Config.Text == "" {
		return p
	}
	cfg, _, err := llmcall.ParseConfigWith(p.Config.Name, []byte(p.Config.Text), noJudges)
	if err == nil && !strings.Contains(cfg.Fleet.Address, "@") && !slices.ContainsFunc(slices.Collect(maps.Values(cfg.MCPServers)), mayHaveKey) {
		return p
	}
	kept := *p
	kept.Config = &textFile{Name: p.Config.Name}
	if path, err := filepath.Abs(p.Config.Name); err == nil {
		kept.Config.Name = path
	}
	return &kept
}

// mayHaveKey reports whether a server is given a text that may be a key itself, and not
// the name of a variable.
func mayHaveKey(s llmcall.MCPServer) bool {
	for _, texts := range []map[string]string{s.Headers, s.Env} {
		for _, text := range texts {
			if !strings.Contains(text, "${") {
				return true
			}
		}
	}
	return strings.ContainsAny(s.URL, "?@") && !strings.Contains(s.URL, "${")
}

// read returns the settings and the checks: those of the schema, the configuration and the
// flags. If it is not judged, the checks are not for running, and no key of a judge is
// needed. A call without a model gets that of the environment, if there is one.
func (p *program) read(judged bool) (cfg llmcall.RetryConfig, checks []validate.Strategy, err error) {
	if p.Config != nil && p.Config.Text == "" { // see kept
		text, err := readFile(p.Config.Name, maxConfig)
		if err != nil {
			return cfg, nil, fmt.Errorf("the configuration of the call: %w", err)
		}
		p.Config.Text = string(text)
	}
	builder := noJudges
	if judged {
		builder = p.builder()
	}
	if len(p.Schema) > 0 {
		check, err := validate.JSONSchema(p.Schema)
		if err != nil {
			return cfg, nil, fmt.Errorf("--schema: %w", err)
		}
		checks = append(checks, check)
	}
	if p.Config != nil {
		var configured []validate.Strategy
		if cfg, configured, err = llmcall.ParseConfigWith(p.Config.Name, []byte(p.Config.Text), builder); err != nil {
			return cfg, nil, fmt.Errorf("--config: %w", orPlan(err))
		}
		checks = append(checks, configured...)
	}
	for _, s := range settingFlags {
		value, given := p.Settings[s.flag]
		if !given {
			continue
		}
		if err := cfg.Set(s.field, value); err != nil {
			if e, ok := errors.AsType[*llmcall.ConfigError](err); ok {
				e.Field = "--" + s.flag
			}
			return cfg, nil, err
		}
	}
	if p.Model == "" && p.Practice == nil && !p.tape.replays() && len(cfg.AllModels()) == 0 {
		p.Model = cmp.Or(p.named, defaultModel(p.BaseURL))
	}
	if p.Model != "" {
		cfg.Models = []string{p.Model}
	}
	flagged, err := parseChecks(p.Checks, builder)
	if err != nil {
		return cfg, nil, err
	}
	if checks = append(checks, flagged...); len(checks) == 0 {
		checks = []validate.Strategy{validate.NotEmpty()}
	}
	if p.Human {
		toPerson(&cfg)
	}
	cfg.Endpoints = p.endpoints()
	return cfg, checks, cfg.Validate()
}

// endpoints returns those of the program's models and judges: the fleet's, if there is one.
func (p *program) endpoints() *endpoint.Registry {
	if p.names == nil {
		p.names = &modelNames{}
	}
	if p.registry == nil {
		p.registry, _ = endpoint.NewRegistry(endpoint.Config{Name: p.names.shown}) // which is a possible one
	}
	return p.registry
}

// toPerson adds a person as the last stage, unless there is one.
func toPerson(cfg *llmcall.RetryConfig) {
	n := len(cfg.Stages)
	switch {
	case cfg.MaxAttemptsBeforeHuman > 0 || n > 0 && cfg.Stages[n-1].Human:
		return
	case n > 0:
		cfg.Stages = append(cfg.Stages, llmcall.Stage{Human: true})
	default:
		cfg.MaxAttemptsBeforeHuman = max(cfg.MaxAttempts, 0)
		if cfg.MaxAttempts == 0 {
			cfg.MaxAttemptsBeforeHuman = llmcall.DefaultMaxAttempts
		}
	}
	cfg.StopOnNoProgress = false // such a call goes to the person
}

// builder returns a builder of checks whose judge is the call's model, unless they name one.
// What is wrong with the configuration is said when the checks are made.
func (p *program) builder() validate.Builder {
	var cfg llmcall.RetryConfig
	if p.Config != nil {
		cfg, _, _ = llmcall.ParseConfigWith(p.Config.Name, []byte(p.Config.Text), noJudges)
	}
	j := judges{judge: p.Judge, own: ownProviders(&cfg), tape: p.tape, endpoints: p.endpoints(), names: p.names}
	if p.Practice != nil { // what is invented judges nothing
		return j.builder()
	}
	j.address, j.model = p.BaseURL, p.Model
	if j.model == "" && len(cfg.Models) > 0 {
		j.model = cfg.Models[0]
	}
	if j.model == "" {
		j.model = cmp.Or(p.named, defaultModel(p.BaseURL))
	}
	return j.builder()
}

// judges are the models that checks ask.
type judges struct {
	judge          string // of $LLMCALL_JUDGE: who is asked by a check that names nobody
	model, address string // who is asked if there is no such judge
	own            map[string]provider.Own
	tape           *tape
	endpoints      *endpoint.Registry // nil: the default
	names          *modelNames        // nil: nobody asks
}

// builder returns a builder of checks whose judges are opened like any other model. This
// makes no request, but a missing key of a judge is an error.
func (j judges) builder() validate.Builder {
	return validate.Builder{OpenModel: j.open, Endpoints: j.endpoints}
}

// ownProviders returns the user's own names for providers.
func ownProviders(cfg *llmcall.RetryConfig) map[string]provider.Own {
	own := map[string]provider.Own{}
	for name, p := range cfg.Providers {
		own[name] = provider.Own(p)
	}
	return own
}
