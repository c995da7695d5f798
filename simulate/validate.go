package simulate

import (
	"fmt"
	"strings"

	"llmcall/internal/nearest"
)

// ScenarioError is the error of an impossible scenario.
type ScenarioError struct {
	File   string // the file's name; "": the scenario is none of a file
	Line   int    // in the file; 0: none
	Field  string // "phases[0].to"
	Reason string // what it must be and what it is, or what else is wrong
}

// Error names the file and line, if any, and the field.
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

// Validate returns a [*ScenarioError] for an impossible scenario, or nil.
func (s *Scenario) Validate() error {
	if s.Duration <= 0 || s.Duration > maxDuration {
		return &ScenarioError{Field: "duration", Reason: fmt.Sprintf("must be a time above 0 and at most 24h, got %v", s.Duration)}
	}
	if len(s.Clients) == 0 {
		return &ScenarioError{Field: "clients", Reason: "must be a list with at least one group of clients, got none"}
	}
	return nil
}

// unknownModel is the error of a model that the configuration does not have.
func unknownModel(field, name string, known []string) error {
	return &ScenarioError{Field: field, Reason: "must be models of the configuration (" + strings.Join(known, ", ") + "), got " + nearest.Shown(name, known)}
}
