package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/fleet"
	"llmcall/internal/nearest"

	"github.com/spf13/cobra"
)

// ownFleet is the fleet that this process has joined.
type ownFleet struct {
	*fleet.Fleet
	address string // without its password
	only    []string
	log     *slog.Logger
	names   *modelNames
}

// joinFleet opens the fleet of a configuration. It must be done before a model is opened:
// its secret is that with which keys are hashed. names are those that fleet_only is held against.
func joinFleet(cfg llmcall.Fleet, endpoints endpoint.Config, names *modelNames, log *slog.Logger) (*ownFleet, error) {
	address, secret, err := cfg.Resolve()
	if err != nil {
		return nil, err
	}
	j := &ownFleet{address: llmcall.Fleet{Address: address}.String(), only: cfg.Only, log: log, names: names}
	j.Fleet, err = fleet.Open(address, fleet.Options{
		Secret: secret, Only: cfg.Only, Names: names.of, MinReporters: cfg.MinReporters, Log: log, Endpoints: endpoints,
	})
	if e, ok := errors.AsType[*fleet.ConfigError](err); ok {
		return nil, inFleetWords(e)
	}
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return j, nil
}

// doubt warns of each pattern of fleet_only that fits none of the models that were opened, judges
// included: what it should share is not shared, and calls would not show it.
func (j *ownFleet) doubt() {
	if j == nil {
		return
	}
	for _, warning := range unfit(j.only, j.names.all()) {
		j.log.Warn(warning)
	}
}

// unfit returns a warning of each pattern of fleet_only that fits no model. Without models it is
// not known.
func unfit(only, models []string) (found []string) {
	if len(models) == 0 {
		return nil
	}
	for i, pattern := range only {
		fits := func(name string) bool { ok, _ := path.Match(pattern, name); return ok }
		if !slices.ContainsFunc(models, fits) {
			found = append(found, fmt.Sprintf("fleet_only[%d]: no model is %q%s: nothing is shared by it", i, pattern, nearest.Question(pattern, models)))
		}
	}
	return found
}

// inFleetWords returns an error of package fleet with the field as a configuration has it.
func inFleetWords(e *fleet.ConfigError) error {
	name, index, _ := strings.Cut(e.Field, "[")
	field := map[string]string{"address": "fleet", "Only": "fleet_only", "MinReporters": "fleet_min_reporters"}[name]
	if index != "" {
		field += "[" + index
	}
	c := &llmcall.ConfigError{Field: cmp.Or(field, e.Field), Got: e.Got, Takes: e.Takes}
	if cause, ok := e.Got.(error); ok { // what is wrong with an address
		c.Err, c.Takes = cause, ""
	}
	return c
}

// join opens the fleet that the configuration of calls names; nil if it names none. With the
// practice model and with a replay there is nothing to share. What the fleet has to say is
// said by say.
func (p *program) join(say func(string)) (*ownFleet, error) {
	if p.Practice != nil || p.tape.replays() {
		return nil, nil
	}
	early := *p // without the effects of reading
	cfg, _, err := early.read(false)
	if err != nil || cfg.Fleet.Address == "" {
		return nil, err
	}
	f, err := joinFleet(cfg.Fleet, endpoint.Config{Name: early.names.shown}, early.names, slog.New(sayingHandler{say}))
	if err != nil {
		return nil, fmt.Errorf("--config: %w", p.ofFile(err))
	}
	p.fleet, p.names, p.registry = f, early.names, f.Endpoints()
	return f, nil
}

// ofFile returns an error of a setting with the name of the file.
func (p *program) ofFile(err error) error {
	if e, ok := errors.AsType[*llmcall.ConfigError](err); ok && p.Config != nil {
		e.File = p.Config.Name
	}
	return err
}

// leave closes a fleet, if there is one.
func (j *ownFleet) leave() {
	if j != nil {
		_ = j.Close() // it has no error
	}
}

// state is what /ui shows of the fleet.
func (j *ownFleet) state(ctx context.Context) endpoint.FleetSnapshot {
	s := j.Status()
	now := endpoint.FleetSnapshot{Address: j.address, Connected: s.Connected, Since: s.Since, Err: s.Err, Processes: max(1, s.Processes)}
	if !now.Connected {
		return now
	}
	circuits, err := j.Circuits(ctx)
	now.Circuits, now.Err = circuits, cmp.Or(err, s.Err)
	return now
}

// size is what metrics show of the fleet.
func (j *ownFleet) size() (connectedToStore bool, processes int) {
	s := j.Status()
	return s.Connected, max(1, s.Processes)
}

// sayingHandler is a log of lines for somebody at a terminal.
type sayingHandler struct{ say func(string) }

// Enabled takes what an operator must know.
func (h sayingHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle says the message with its attributes.
func (h sayingHandler) Handle(_ context.Context, r slog.Record) error {
	text := strings.TrimPrefix(r.Message, "llmcall: ")
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			text += ": " + a.Value.String()
		} else {
			text += fmt.Sprintf(" (%s %s)", strings.ReplaceAll(a.Key, "_", " "), a.Value)
		}
		return true
	})
	h.say(text)
	return nil
}

// WithAttrs is not needed for lines.
func (h sayingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup is not needed for lines.
func (h sayingHandler) WithGroup(string) slog.Handler { return h }

// onStandardError says lines on standard error.
func onStandardError(cmd *cobra.Command) func(string) {
	return func(text string) { fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: %s\n", printable(text)) }
}

// beside says lines beside what is drawn, once something is.
type beside struct {
	before func(string)
	drawn  atomic.Pointer[func(string)]
}

func (b *beside) say(text string) {
	if say := b.drawn.Load(); say != nil {
		(*say)(text)
		return
	}
	b.before(text)
}

// draws says lines by another function from now on; nil is the one before.
func (b *beside) draws(say func(string)) {
	if say == nil {
		b.drawn.Store(nil)
		return
	}
	b.drawn.Store(&say)
}
