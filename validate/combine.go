package validate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"llmcall/internal/phrase"
	"llmcall/validate/internal/schemawords"
)

// All returns a check, named "all", that passes if all of the given checks pass. Its
// complaints are theirs, with their names. If none complains and one fails, it fails.
// Its [Costly] checks run last, and only if no other complained or failed.
//
// The checks of a combination run one after the other, and share the timeout of
// [Run].
//
// The error is a *[ParamError]: there is no check, or one is nil.
func All(checks ...Strategy) (Strategy, error) {
	if err := members("all", checks); err != nil {
		return nil, err
	}
	return allCheck{checks}, nil
}

// Any returns a check, named "any", that passes if one of the given checks passes.
// It runs them in order and stops at the first that passes. If none does, it makes
// one complaint, which lists the ways to fix the answer as alternatives; but if one
// of them failed, and might have passed, it fails too.
//
// The error is a *[ParamError]: there is no check, or one is nil.
func Any(checks ...Strategy) (Strategy, error) {
	if err := members("any", checks); err != nil {
		return nil, err
	}
	return anyOf{checks}, nil
}

// Not returns a check, named "not", that passes if the given check complains. Its
// complaint is problem and suggestion. Default "": for [Contains], [Regex], [OneOf]
// and [JSON] a text that fits; for any other check the problem names the check. It
// fails if the given check fails.
//
// The error is a *[ParamError]: the check is nil.
func Not(check Strategy, problem, suggestion string) (Strategy, error) {
	if check == nil {
		return nil, &ParamError{Check: "not", Param: "check", Got: "nil", Takes: "a check"}
	}
	if problem == "" && suggestion == "" {
		if c, ok := check.(opposed); ok {
			problem, suggestion = c.opposite()
		}
	}
	if problem == "" {
		problem = fmt.Sprintf("the answer passes the check %q, which it must not", nameOf(check))
	}
	return not{check, Complaint{Problem: problem, Suggestion: suggestion}}, nil
}

// opposed is implemented by checks that can describe what is wrong with an answer
// that passes them, for [Not].
type opposed interface {
	opposite() (problem, suggestion string)
}

func (c containing) opposite() (problem, suggestion string) {
	texts := make([]string, len(c.wanted))
	for i, w := range c.wanted {
		texts[i] = w.text
	}
	if len(texts) == 1 {
		return "the text " + schemawords.List(texts) + " is there, and must not be", phrase.Exclude.Of(schemawords.List(texts))
	}
	return "the texts " + schemawords.List(texts) + " are all there, which must not be", phrase.ExcludeOne.Of(schemawords.List(texts))
}

func (c regex) opposite() (problem, suggestion string) {
	pattern := c.pattern.String()
	return "something in the answer matches the regular expression " + phrase.Pattern(pattern) + ", which must not be",
		phrase.Mismatch.Of(pattern)
}

func (c oneOf) opposite() (problem, suggestion string) {
	return "the answer is one of " + schemawords.List(c.values) + ", and must not be", phrase.AnythingBut.Of(schemawords.List(c.values))
}

func (jsonCheck) opposite() (problem, suggestion string) {
	return "the answer is JSON, which it must not be", phrase.NoJSON.Of()
}

func members(name string, checks []Strategy) error {
	if len(checks) == 0 {
		return &ParamError{Check: name, Param: "checks", Got: "an empty list", Takes: "at least one check"}
	}
	for i, c := range checks {
		if c == nil {
			return &ParamError{Check: name, Param: fmt.Sprintf("checks[%d]", i), Got: "nil", Takes: "a check"}
		}
	}
	return nil
}

type allCheck struct{ checks []Strategy }

func (c allCheck) Name() string  { return "all" }
func (c allCheck) repairs() bool { return anyRepairs(c.checks) }

func (c allCheck) Check(ctx context.Context, a *Answer) (Verdict, error) {
	var report Report
	var failed error
	do := func(check Strategy) {
		v, err := guard(ctx, check, a)
		report.Usage = report.Usage.Add(v.Usage)
		report.Skipped = append(report.Skipped, v.Skipped...)
		if err != nil {
			failed = and(failed, err)
			return
		}
		report.add(nameOf(check), v)
	}
	var last []Strategy
	for _, check := range c.checks {
		if isCostly(check) {
			last = append(last, check)
			continue
		}
		do(check)
	}
	skip := len(report.Complaints) > 0 || failed != nil
	for _, check := range last {
		if skip {
			report.Skipped = append(report.Skipped, nameOf(check))
			continue
		}
		do(check)
	}
	v := Verdict{Usage: report.Usage, Skipped: report.Skipped}
	if len(report.Complaints) == 0 && failed != nil {
		return v, failed
	}
	v.Complaints, v.Advice = report.Complaints, report.Advice
	v.Decoded, v.Value, v.Text, v.Repaired = report.Decoded, report.Value, report.Text, report.Repaired
	return v, nil
}

// Costly reports whether one of the checks is costly.
func (c allCheck) Costly() bool { return slices.ContainsFunc(c.checks, isCostly) }

// Models returns the models that the checks ask; see [Costly].
func (c allCheck) Models() []string { return modelsOf(c.checks...) }

// and joins two failures on one line.
func and(before error, next *CheckError) error {
	if before == nil {
		return next
	}
	return fmt.Errorf("%w; %w", before, next)
}

type anyOf struct{ checks []Strategy }

func (c anyOf) Name() string { return "any" }

func (c anyOf) Check(ctx context.Context, a *Answer) (Verdict, error) {
	var failed error
	var problems, suggestions []string
	var used Verdict
	advice := Human // asking again helps if it helps one of them
	for _, check := range c.checks {
		v, err := guard(ctx, check, a)
		used.Usage = used.Usage.Add(v.Usage)
		used.Skipped = append(used.Skipped, v.Skipped...)
		if err != nil {
			failed = and(failed, err)
			continue
		}
		var branch Report
		branch.add(nameOf(check), v)
		if len(branch.Complaints) == 0 {
			v.Usage, v.Skipped = used.Usage, nil // what a branch skipped does not matter once another passes
			return v, nil
		}
		p, s := branch.alternative()
		problems = append(problems, p)
		if s != "" {
			suggestions = append(suggestions, s)
		}
		advice = min(advice, branch.Advice)
	}
	if failed != nil {
		return used, failed
	}
	complaint := Complaint{Problem: "none of the alternatives passed: " + strings.Join(problems, "; or ")}
	if len(suggestions) > 0 {
		complaint.Suggestion = phrase.Choice(suggestions)
	}
	used.Complaints, used.Advice = []Complaint{complaint}, advice
	return used, nil
}

// Costly reports whether one of the checks is costly.
func (c anyOf) Costly() bool { return slices.ContainsFunc(c.checks, isCostly) }

// Models returns the models that the checks ask; see [Costly].
func (c anyOf) Models() []string { return modelsOf(c.checks...) }

// alternative returns the complaints of one branch as one phrase, and how to fix
// them as another.
func (r *Report) alternative() (problem, suggestion string) {
	const shown = 5
	var problems, suggestions []string
	for _, c := range r.Complaints[:min(shown, len(r.Complaints))] {
		p := c.Problem
		if c.Pointer != "" {
			p = "at " + c.Pointer + ": " + p
		}
		problems = append(problems, p)
		if s := c.Suggestion; s != "" {
			if c.Pointer != "" {
				s = phrase.At(c.Pointer, s)
			}
			suggestions = append(suggestions, s)
		}
	}
	if n := len(r.Complaints) - shown; n > 0 {
		problems = append(problems, fmt.Sprintf("%d more", n))
	}
	return strings.Join(problems, ", and "), phrase.Together(suggestions)
}

type not struct {
	check     Strategy
	complaint Complaint
}

func (c not) Name() string { return "not" }

func (c not) Check(ctx context.Context, a *Answer) (Verdict, error) {
	v, err := guard(ctx, c.check, a)
	said := Verdict{Usage: v.Usage, Skipped: v.Skipped}
	if err != nil {
		return said, err
	}
	if len(v.Complaints) == 0 && v.Advice == Again {
		said.Complaints = []Complaint{c.complaint}
	}
	return said, nil
}

// Costly reports whether the given check is costly.
func (c not) Costly() bool { return isCostly(c.check) }

// Models returns the models that the given check asks; see [Costly].
func (c not) Models() []string { return modelsOf(c.check) }
