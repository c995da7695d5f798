package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet"
	"llmcall/internal/nearest"
	"llmcall/internal/yamlfile"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// storeTimeout is how long the store may take for what the command asks.
const storeTimeout = 3 * time.Second

// fleetStore is what the command needs of a fleet.
type fleetStore interface {
	Circuits(context.Context) ([]fleet.Circuit, error)
	Force(ctx context.Context, id string, to breaker.State, why string) (changed bool, err error)
	Reset(ctx context.Context, id string) (changed bool, err error)
	Close() error
}

// circuitsFlags are the flags of llmcall circuits.
type circuitsFlags struct {
	config, fleet, why string
	watch, json        bool

	open func(llmcall.Fleet) (f fleetStore, address string, err error)
}

// circuitActions are what can be done to a circuit.
var circuitActions = []struct{ name, about string }{
	{"force-open", "refuse all calls, in all processes, until it is reset"},
	{"force-closed", "let all calls pass and count nothing, until it is reset"},
	{"reset", "close it, and end what was forced"},
}

// newCircuits returns the command with a function that opens a fleet.
func newCircuits(open func(llmcall.Fleet) (f fleetStore, address string, err error)) *cobra.Command {
	f := circuitsFlags{open: open}
	cmd := &cobra.Command{
		Use:   "circuits [flags] [force-open KEY | force-closed KEY | reset KEY]",
		Short: "Show, force and reset the circuits that processes share",
		Long: `Show the circuits that the processes of a fleet share: those with the line fleet: in
their configuration. KEY is the first column, as much of it as tells circuits apart,
or the model's name if one circuit has it.

  force-open    refuse all calls, in all processes, until it is reset
  force-closed  let all calls pass and count nothing, until it is reset
  reset         close it, and end what was forced

FAILURES are those that count and how many open the circuit; REPORTERS the processes
that had them, and how many must have, so that one broken machine does not stop the
others; PROBES those under way, and how many may be; PROCESSES those that share it.

Exit codes:
  0    it is done
  1    the result could not be written
  2    wrong usage, or a KEY that no circuit has
  6    the store of the fleet does not answer, or refuses
  130  interrupted`,
		Example: `  llmcall circuits --config gateway.yaml
  llmcall circuits --fleet redis://127.0.0.1:6379/0 --watch
  llmcall circuits --fleet env:REDIS_URL force-open openai/gpt-6-luna --why "until noon"
  llmcall circuits --config gateway.yaml reset 3f9ac2`,
		Args:              func(_ *cobra.Command, args []string) error { return f.arguments(args) },
		ValidArgsFunction: f.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.config, "config", "", "the configuration `FILE`, of calls or of a gateway, whose fleet it is")
	flags.StringVar(&f.fleet, "fleet", "", "the store's address, a `URL` like redis://HOST:6379/0, or env:NAME or file:PATH, where it is")
	flags.BoolVar(&f.watch, "watch", false, "show them as they change, until Ctrl-C")
	flags.StringVar(&f.why, "why", "", "the `REASON` of force-open, which refused callers are told (default who has forced it)")
	flags.BoolVar(&f.json, "json", false, "write JSON; with --watch a line for each circuit that changes")
	return cmd
}

func circuitsCommand() *cobra.Command { return newCircuits(openCircuits) }

// openCircuits opens a fleet to look at it. Keys are not hashed, so that no secret is needed.
func openCircuits(cfg llmcall.Fleet) (f fleetStore, address string, err error) {
	cfg.Secret, cfg.Only, cfg.MinReporters = "", nil, 0
	url, _, err := cfg.Resolve()
	if err != nil {
		return nil, "", err
	}
	opened, err := fleet.Open(url, fleet.Options{Secret: "not used", Log: slog.New(slog.DiscardHandler), Endpoints: endpoint.Config{}})
	if e, ok := errors.AsType[*fleet.ConfigError](err); ok {
		return nil, "", inFleetWords(e)
	}
	return opened, llmcall.Fleet{Address: url}.String(), err
}

// arguments checks what is to be done.
func (f *circuitsFlags) arguments(args []string) error {
	names := make([]string, len(circuitActions))
	for i, a := range circuitActions {
		names[i] = a.name
	}
	switch {
	case (f.config == "") == (f.fleet == ""):
		return fmt.Errorf("expected either --config FILE or --fleet URL, got %s", map[bool]string{true: "neither", false: "both"}[f.fleet == ""])
	case len(args) > 0 && !slices.Contains(names, args[0]):
		return unknown("action", fmt.Sprintf("%q", args[0]), args[0], names, "the actions are "+strings.Join(names, ", "))
	case len(args) == 1:
		return fmt.Errorf("%s needs the KEY of a circuit: the first column of llmcall circuits", args[0])
	case len(args) > 1 && args[1] == "": // a variable of the shell that is not set
		return fmt.Errorf("%s needs the KEY of a circuit, got an empty one", args[0])
	case len(args) > 2:
		return fmt.Errorf("%s takes one KEY, got %d; quote a name that has spaces", args[0], len(args)-1)
	case len(args) > 0 && f.watch:
		return fmt.Errorf("--watch shows circuits, and can't be combined with %s", args[0])
	case f.why != "" && (len(args) == 0 || args[0] != "force-open"):
		return errors.New("--why is the reason of force-open, and has no effect without it")
	}
	return nil
}

// settings returns the fleet that the flags name, and with --config the user's own names for
// providers.
func (f *circuitsFlags) settings() (llmcall.RetryConfig, error) {
	if f.config == "" {
		var cfg llmcall.RetryConfig
		err := cfg.Set("fleet", f.fleet)
		if err == nil {
			err = cfg.Validate()
		}
		if e, ok := errors.AsType[*llmcall.ConfigError](err); ok {
			e.Field = "--fleet"
		}
		return cfg, err
	}
	text, err := readFile(f.config, maxServeConfig)
	if err != nil {
		return llmcall.RetryConfig{}, fmt.Errorf("--config: %w", err)
	}
	cfg, err := fleetOf(f.config, text)
	if err != nil {
		err = fmt.Errorf("--config: %w", err)
	}
	return cfg, err
}

// fleetFields are the fields of a fleet in a configuration.
var fleetFields = []string{"fleet", "fleet_only", "fleet_secret", "fleet_min_reporters"}

// fleetOf returns the fleet of a configuration of calls or of a gateway, and its providers.
// What else is in the file is not looked at: it may be broken when somebody must act.
func fleetOf(name string, text []byte) (llmcall.RetryConfig, error) {
	root, err := yamlfile.Parse(text)
	if e, ok := errors.AsType[*yamlfile.Error](err); ok {
		return llmcall.RetryConfig{}, &llmcall.ConfigError{File: name, Line: e.Line, Err: e}
	}
	cfg, err := partOf(name, root, func(field string) bool {
		_, near := nearest.Name(field, fleetFields)
		return near
	})
	if err == nil && cfg.Fleet.Address == "" {
		err = &llmcall.ConfigError{File: name, Field: "fleet", Got: "nothing", Takes: "set, to where processes share their circuits: redis://127.0.0.1:6379/0"}
	}
	if others, e := partOf(name, root, func(field string) bool { return field == "providers" }); e == nil {
		cfg.Providers = others.Providers
	}
	return cfg, err
}

// partOf reads some fields of a file.
func partOf(name string, root *yaml.Node, wanted func(field string) bool) (llmcall.RetryConfig, error) {
	part := &yaml.Node{Kind: yaml.MappingNode}
	if root != nil {
		root = yamlfile.Resolved(root)
		for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
			if wanted(root.Content[i].Value) {
				part.Content = append(part.Content, root.Content[i], root.Content[i+1])
			}
		}
	}
	cfg, _, err := llmcall.ParseConfigNode(name, part, noJudges)
	return cfg, err
}

// storeError is the error of a store that does not answer.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

// circuitsRun is one run of the command.
type circuitsRun struct {
	*circuitsFlags
	fleet   fleetStore
	address string
	own     map[string]llmcall.OwnProvider
	out     io.Writer
	errs    io.Writer
}

func (f *circuitsFlags) run(cmd *cobra.Command, args []string) error {
	cfg, err := f.settings()
	if err != nil {
		return err
	}
	c := &circuitsRun{circuitsFlags: f, own: cfg.Providers, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr()}
	if c.fleet, c.address, err = f.open(cfg.Fleet); err != nil {
		if e, ok := errors.AsType[*llmcall.ConfigError](err); ok && f.config == "" {
			e.Field = "--fleet"
		} else if ok {
			e.File = f.config
		}
		return err
	}
	defer c.fleet.Close()
	switch ctx := cmd.Context(); {
	case len(args) > 0:
		return c.act(ctx, args[0], args[1])
	case f.watch:
		return c.follow(ctx)
	default:
		return c.show(ctx)
	}
}

// ask returns the circuits, those in trouble first.
func (c *circuitsRun) ask(ctx context.Context) ([]fleet.Circuit, error) {
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	all, err := c.fleet.Circuits(limited)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	for i := range all {
		all[i].Name = ownName(all[i].Name, c.own)
	}
	slices.SortStableFunc(all, func(a, b fleet.Circuit) int { return cmp.Compare(calm(a), calm(b)) })
	return all, nil
}

// ownName returns the name of an endpoint with the user's own name for its provider; as it is
// if several providers have its address, with other keys.
func ownName(name string, own map[string]llmcall.OwnProvider) string {
	model, rest, _ := strings.Cut(name, " ")
	address, _, _ := strings.Cut(strings.TrimPrefix(rest, "at "), " ")
	var found []string
	for prefix, o := range own {
		after, ok := strings.CutPrefix(model, cmp.Or(o.Protocol, prefix)+"/")
		if ok && o.BaseURL != "" && strings.TrimRight(o.BaseURL, "/") == strings.TrimRight(address, "/") {
			found = append(found, prefix+"/"+after+" "+rest)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return name
}

// lost is the error of an exchange with the store.
func (c *circuitsRun) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", storeTimeout)
	}
	for _, r := range refusals {
		if strings.Contains(err.Error(), r.says) {
			return storeError{fmt.Errorf("the store %s can't be used: %s: %w", c.address, r.means, err)}
		}
	}
	return storeError{fmt.Errorf("the store %s does not answer: %w", c.address, err)}
}

// refusals are what servers say that do answer, and what it means to whoever wrote the address.
var refusals = []struct{ says, means string }{
	{"NOAUTH", "it wants a password, redis://USER:PASSWORD@HOST:PORT"},
	{"WRONGPASS", "the user or the password is wrong"},
	{"NOPERM", "its user may not do that"},
	{"DB index is out of range", "it has no database of that number"},
	{"cluster support disabled", "addr= is for the servers of a Cluster, and it is none"},
	{"unknown message type", "what answers there is not a Redis server"},
}

// calm orders circuits by how little they need to be looked at.
func calm(c fleet.Circuit) int {
	switch {
	case c.Forced:
		return 0
	case c.State == breaker.Open:
		return 1
	case c.State == breaker.HalfOpen:
		return 2
	case c.Failures > 0:
		return 3
	}
	return 4
}

func (c *circuitsRun) show(ctx context.Context) error {
	all, err := c.ask(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintf(c.errs, "llmcall: %s\n", c.none())
	}
	if c.json {
		return printJSON(c.out, circuitsDocument{c.address, documentsOf(all)})
	}
	if len(all) == 0 {
		return nil
	}
	_, err = io.WriteString(coloured(c.out), circuitTable(all, widthOf(c.out)))
	return err
}

func (c *circuitsRun) none() string { return fmt.Sprintf("%s has no circuit: %s", c.address, whyNone) }

// whyNone is what an operator should look at whose store has no circuit.
const whyNone = "no process that uses this address and database number has made a call yet, or fleet_only or enable_circuit_breaker leaves its circuits out"

// act forces or resets a circuit.
func (c *circuitsRun) act(ctx context.Context, action, key string) error {
	all, err := c.ask(ctx)
	if err != nil {
		return err
	}
	circuit, err := circuitOf(key, all)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var changed bool
	switch action {
	case "force-open":
		why := c.why
		if why == "" && !(circuit.Forced && circuit.State == breaker.Open) { // which has a reason
			why = "forced open by " + whoAmI()
		}
		changed, err = c.fleet.Force(limited, circuit.ID, breaker.Open, why)
	case "force-closed":
		changed, err = c.fleet.Force(limited, circuit.ID, breaker.Closed, "")
	default:
		changed, err = c.fleet.Reset(limited, circuit.ID)
	}
	if err != nil {
		return c.lost(ctx, err)
	}
	if c.json {
		return printJSON(c.out, struct {
			ID      string `json:"id"`
			Name    string `json:"name"`
			Done    string `json:"done"`
			Changed bool   `json:"changed"`
		}{circuit.ID, circuit.Name, action, changed})
	}
	_, err = fmt.Fprintf(c.out, "%s  %s was %s, for all processes of %s\n", circuit.ID, printable(circuit.Name), doneWords(action, changed), c.address)
	return err
}

// doneWords says what an action has done.
func doneWords(action string, changed bool) string {
	done := map[string]string{"force-open": "forced open", "force-closed": "forced closed", "reset": "reset"}[action]
	switch {
	case changed:
		return done
	case action == "reset":
		return "closed already, without failures to forget"
	}
	return done + " already"
}

// whoAmI names the user.
func whoAmI() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return filepath.Base(strings.ReplaceAll(u.Username, `\`, "/")) // without a domain of Windows
	}
	return "an operator"
}

// circuitOf returns the circuit that a key names: its ID or the beginning of it, or its name
// if no other circuit has it.
func circuitOf(key string, all []fleet.Circuit) (fleet.Circuit, error) {
	for _, fits := range []func(fleet.Circuit) bool{
		func(c fleet.Circuit) bool { return c.ID == key },
		func(c fleet.Circuit) bool { return c.Name == key },
		func(c fleet.Circuit) bool { return strings.HasPrefix(c.ID, key) },
		func(c fleet.Circuit) bool { return modelOf(c.Name) == key },
	} {
		var found []fleet.Circuit
		for _, c := range all {
			if fits(c) {
				found = append(found, c)
			}
		}
		if len(found) > 1 {
			var ids []string
			for _, c := range found {
				ids = append(ids, fmt.Sprintf("%s (%s)", c.ID, c.Name))
			}
			return fleet.Circuit{}, fmt.Errorf("KEY %q is that of %d circuits: %s", key, len(found), strings.Join(ids, ", "))
		}
		if len(found) == 1 {
			return found[0], nil
		}
	}
	var known []string
	for _, c := range all {
		known = append(known, c.ID, c.Name, modelOf(c.Name))
	}
	if len(known) == 0 {
		return fleet.Circuit{}, fmt.Errorf("KEY must be that of a circuit, got %q, and there is none: %s", key, whyNone)
	}
	return fleet.Circuit{}, fmt.Errorf("KEY must be that of a circuit (llmcall circuits lists them), got %s", nearest.Shown(key, known))
}

// modelOf returns the model's name in that of an endpoint, which may have its address and
// what tells its credential apart.
func modelOf(name string) string {
	model, _, _ := strings.Cut(name, " ")
	return model
}

// complete completes an action, and the key of a circuit that the store has.
func (f *circuitsFlags) complete(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	switch len(args) {
	case 0:
		for _, a := range circuitActions {
			found = append(found, cobra.CompletionWithDesc(a.name, a.about))
		}
	case 1:
		cfg, err := f.settings()
		if err != nil {
			break
		}
		opened, _, err := f.open(cfg.Fleet)
		if err != nil {
			break
		}
		defer opened.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		all, _ := opened.Circuits(ctx) // of a store that does not answer there are none
		for _, c := range all {
			if strings.HasPrefix(c.ID, typed) {
				found = append(found, cobra.CompletionWithDesc(c.ID, printable(c.Name)+", "+stateOf(c)))
			}
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// circuitsDocument is what --json prints.
type circuitsDocument struct {
	Store    string            `json:"store"`
	Circuits []circuitDocument `json:"circuits"`
}

type circuitDocument struct {
	Time         *time.Time `json:"time,omitempty"` // of --watch
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	State        string     `json:"state"` // closed, open or half_open
	Forced       bool       `json:"forced"`
	ForSeconds   float64    `json:"for_seconds"`
	Failures     int        `json:"failures"`
	Threshold    int        `json:"failure_threshold"`
	Reporters    int        `json:"reporters"`
	MinReporters int        `json:"min_reporters"`
	Probes       int        `json:"probes"`
	MaxProbes    int        `json:"half_open_probes"`
	Processes    int        `json:"processes"`
	Generation   uint64     `json:"generation"`
	RetryIn      float64    `json:"retry_in_seconds,omitempty"`
	Why          string     `json:"why,omitempty"`
	By           string     `json:"by,omitempty"`
}

func documentsOf(all []fleet.Circuit) []circuitDocument {
	documents := make([]circuitDocument, len(all))
	for i, c := range all {
		documents[i] = circuitDocument{
			ID: c.ID, Name: c.Name, State: strings.ToLower(c.State.String()), Forced: c.Forced, ForSeconds: c.For.Seconds(),
			Failures: c.Failures, Threshold: c.Threshold, Reporters: c.Reporters, MinReporters: c.MinReporters,
			Probes: c.Probes, MaxProbes: c.MaxProbes, Processes: c.Processes, Generation: c.Generation,
			RetryIn: c.RetryIn.Seconds(), Why: whyOf(c), By: c.By,
		}
	}
	return documents
}

// whyOf says why a circuit is not closed.
func whyOf(c fleet.Circuit) string {
	if c.State == breaker.Closed || c.Cause == (breaker.Cause{}) {
		return ""
	}
	return c.Cause.String()
}

// stateOf returns the state of a circuit in words.
func stateOf(c fleet.Circuit) string {
	state := strings.ReplaceAll(strings.ToLower(c.State.String()), "_", "-")
	if c.Forced {
		return "forced " + state
	}
	return state
}

// follow shows the circuits as they change, until ctx ends.
func (c *circuitsRun) follow(ctx context.Context) error {
	var draw func([]fleet.Circuit, error) error
	switch {
	case !c.json && isTerminal(c.out):
		draw = (&screenOfCircuits{circuitsRun: c}).draw
	default:
		draw = (&changesOfCircuits{circuitsRun: c, last: map[string]fleet.Circuit{}}).draw
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		all, err := c.ask(ctx)
		if errors.Is(err, errInterrupted) {
			return nil // that is how it ends
		}
		if err := draw(all, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// changesOfCircuits writes a line for each circuit whose state has changed.
type changesOfCircuits struct {
	*circuitsRun
	last map[string]fleet.Circuit
	lost bool
}

func (w *changesOfCircuits) draw(all []fleet.Circuit, err error) error {
	if lost := err != nil; lost != w.lost {
		w.lost = lost
		if lost {
			fmt.Fprintf(w.errs, "llmcall: %v\n", err)
		} else {
			fmt.Fprintf(w.errs, "llmcall: the store %s answers again\n", w.address)
		}
	}
	if err != nil {
		return nil
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	var text bytes.Buffer
	for i, d := range documentsOf(all) {
		before, known := w.last[d.ID]
		w.last[d.ID] = all[i]
		if known && before.State == all[i].State && before.Forced == all[i].Forced && before.Generation == all[i].Generation {
			continue
		}
		if w.json {
			d.Time = &now
			if err := jsonLine(&text, d); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(&text, "%s  %s  %s  %s", now.Format(time.RFC3339), d.ID, printable(d.Name), stateOf(all[i]))
		if why := whyAndWho(all[i]); why != "" {
			fmt.Fprintf(&text, ": %s", printable(why))
		}
		text.WriteByte('\n')
	}
	_, err = w.out.Write(text.Bytes())
	return err
}
