package simulate

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"llmcall/chaos"
	"llmcall/internal/nearest"
	"llmcall/internal/yamlfile"
)

// ScenarioError is the error of an impossible scenario.
type ScenarioError struct {
	File   string // the file's name; "" if the scenario does not come from a file
	Line   int    // in the file; 0: none
	Field  string // "phases[0].to"; "": Reason names it
	Reason string // what it must be and what it is, or what else is wrong
}

// Error names the file and the line, if any, and the field.
func (e *ScenarioError) Error() string {
	at := "simulate"
	if e.File != "" {
		if at = e.File; e.Line > 0 {
			at = fmt.Sprintf("%s:%d", e.File, e.Line)
		}
	}
	if e.Field == "" {
		return at + ": " + e.Reason
	}
	return at + ": " + e.Field + " " + e.Reason
}

// must returns the error of a field that must be something else.
func must(field, takes string, got any) error {
	return &ScenarioError{Field: field, Reason: fmt.Sprintf("must be %s, got %v", takes, got)}
}

// Validate returns a [*ScenarioError] for an impossible scenario, or nil. [Do] calls it.
func (s *Scenario) Validate() error {
	if s.Duration <= 0 || s.Duration > maxDuration {
		return must("duration", "a time above 0 and at most 24h", s.Duration)
	}
	if len(s.Clients) == 0 {
		return must("clients", "a list with at least one group of clients", "none")
	}
	processes, names := 0, map[string]bool{}
	for i, c := range s.filled().Clients {
		path := fmt.Sprintf("clients[%d]", i)
		if err := c.validate(path, s.Duration); err != nil {
			return err
		}
		if names[c.Name] {
			return must(path+".name", "a name that no other group has", fmt.Sprintf("%q", c.Name))
		}
		names[c.Name] = true
		if processes += c.Processes; processes > maxProcesses {
			return must(path+".processes", fmt.Sprintf("at most %d in all groups together", maxProcesses), processes)
		}
	}
	if err := s.Provider.validate("provider"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Models)) {
		if err := s.Models[name].validate("models." + name); err != nil {
			return err
		}
	}
	for i, p := range s.Phases {
		if err := p.validate(fmt.Sprintf("phases[%d]", i), s.Duration); err != nil {
			return err
		}
	}
	return nil
}

const takesTime = "a time of at least 0"

func (c *Clients) validate(path string, whole time.Duration) error {
	for _, n := range []struct {
		field       string
		value, most int
	}{{"processes", c.Processes, maxProcesses}, {"workers", c.Workers, maxProcesses}, {"calls", c.Calls, maxCalls}, {"prompt_tokens", c.PromptTokens, maxTokens}} {
		if n.value < 0 || n.value > n.most {
			return must(path+"."+n.field, fmt.Sprintf("a whole number from 1 to %d", n.most), n.value)
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"pause", c.Pause}, {"start", c.Start}, {"deadline", c.Deadline}} {
		if d.value < 0 {
			return must(path+"."+d.field, takesTime, d.value)
		}
	}
	rate := c.CallsPerSecond
	switch {
	case rate < 0 || math.IsNaN(rate) || rate > 1e6:
		return must(path+".calls_per_second", "a number above 0 and at most 1000000", rate)
	case rate > 0 && c.Workers > 0:
		return must(path+".workers", "unset if calls_per_second is set", c.Workers)
	case rate == 0 && c.Workers == 0 && c.Calls == 0:
		return must(path, "a group with calls_per_second, workers or calls", "none of them")
	case c.Pause > 0 && c.Workers == 0:
		return must(path+".pause", "unset unless workers is set", c.Pause)
	case c.Stop <= c.Start || c.Stop > whole:
		return must(path+".stop", fmt.Sprintf("a time after start (%v) and at most duration (%v)", c.Start, whole), c.Stop)
	}
	return nil
}

func (p Provider) validate(path string) error {
	if p.AnswerTokens < 0 || p.AnswerTokens > maxTokens {
		return must(path+".answer_tokens", fmt.Sprintf("a whole number from 1 to %d", maxTokens), p.AnswerTokens)
	}
	if err := p.Network.validate(path + ".network"); err != nil {
		return err
	}
	return behaves(path, p.Latency, p.PerRequest, p.Limits, p.Faults)
}

// behaves checks what both a provider and a phase have.
func behaves(path string, latency Latency, perRequest time.Duration, l *chaos.Limits, faults []Fault) error {
	if err := latency.validate(path + ".latency"); err != nil {
		return err
	}
	if perRequest < 0 {
		return must(path+".per_request", takesTime, perRequest)
	}
	if l != nil {
		if err := l.Validate(); err != nil {
			return foreign(path+".limits", err)
		}
	}
	sum := 0.0
	for i, f := range faults {
		if err := f.validate(fmt.Sprintf("%s.faults[%d]", path, i)); err != nil {
			return err
		}
		if f.Share == 0 {
			sum++
		}
		if sum += f.Share; sum > 1+1e-9 {
			return must(fmt.Sprintf("%s.faults[%d].share", path, i), "such that all shares are at most 1 together (the default of each is 1)", fmt.Sprintf("%g together", sum))
		}
	}
	return nil
}

func (f *Fault) validate(path string) error {
	if err := f.Fault.Validate(); err != nil {
		return foreign(path, err)
	}
	if !slices.Contains(faultKinds, f.Kind) && f.Kind != "" {
		return must(path+".kind", takesKind(f.Kind), nearest.Shown(f.Kind, faultKinds))
	}
	if f.Weight != 0 {
		return must(path+".weight", "unset: a scenario has share, from 0 to 1, instead", f.Weight)
	}
	if !(f.Share >= 0 && f.Share <= 1) {
		return must(path+".share", "a number above 0 and at most 1", f.Share)
	}
	return nil
}

// takesKind says which kinds there are, that which is nearest to the given one first.
func takesKind(given chaos.Kind) string {
	return "one of " + nearest.List(given, faultKinds) + " in a simulation"
}

func (l Latency) validate(path string) error {
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"constant", l.Constant}, {"mean", l.Mean}, {"median", l.Median}, {"p99", l.P99}} {
		if d.value < 0 || d.value > maxDuration {
			return must(path+"."+d.field, "a time from 0 to 24h", d.value)
		}
	}
	set := 0
	for _, d := range []time.Duration{l.Constant, l.Mean, l.Median} {
		if d > 0 {
			set++
		}
	}
	switch {
	case set > 1:
		return must(path, "one of a constant, a mean, and a median with a p99", "more than one")
	case l.P99 > 0 && l.P99 < l.Median:
		return must(path+".p99", fmt.Sprintf("a time of at least the median (%v)", l.Median), l.P99)
	case l.P99 > 0 && l.Median == 0:
		return must(path+".p99", "unset unless median is set", l.P99)
	}
	return nil
}

func (p *Phase) validate(path string, whole time.Duration) error {
	if p.From < 0 || p.From >= whole {
		return must(path+".from", fmt.Sprintf("a time from 0 to before the end (%v)", whole), p.From)
	}
	if p.To != 0 && (p.To <= p.From || p.To > whole) {
		return must(path+".to", fmt.Sprintf("a time after from (%v) and at most duration (%v)", p.From, whole), p.To)
	}
	if p.Load < 0 || math.IsNaN(p.Load) || p.Load > 1e6 {
		return must(path+".load", "a number above 0 and at most 1000000", p.Load)
	}
	if p.Load == 0 && !p.Restart && p.Latency == (Latency{}) && p.PerRequest == 0 && p.Limits == nil && p.Faults == nil {
		return must(path, "a phase in which something is different", "nothing that is")
	}
	return behaves(path, p.Latency, p.PerRequest, p.Limits, p.Faults)
}

// foreign returns an error of package chaos as that of a field at a path.
func foreign(path string, err error) error {
	if e, ok := errors.AsType[*yamlfile.FieldError](err); ok {
		return &ScenarioError{Reason: e.Within(path).Error()}
	}
	return &ScenarioError{Field: path, Reason: err.Error()}
}

// unknownModel is the error of a model that the configuration does not have.
func unknownModel(field, name string, known []string) error {
	return must(field, "models of the configuration ("+strings.Join(known, ", ")+")", nearest.Shown(name, known))
}
