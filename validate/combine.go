package validate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"llmcall/internal/phrase"
	"llmcall/validate/internal/schemawords"
)

// All makes one check of several, which passes when all of them pass. Its
// complaints are theirs, with their names. Where some complain and others could
// not be made, it complains; where none complains and one could not be made, it
// could not be made. Its costly checks (see Costly) are made last, and only if
// no other complained or could not be made.
//
// The checks of a combination are made one after the other, and share the time
// that Run gives it.
func All(checks ...Strategy) (Strategy, error) {
	if err := members("all", checks); err != nil {
		return nil, err
	}
	return allCheck{checks}, nil
}

// Any makes one check of several, which passes when one of them passes. The
// first that passes is the last that is made. If none does, it complains once,
// and tells the model the ways to fix the answer as alternatives; if one of
// them could not be made, and might have passed, it could not be made.
func Any(checks ...Strategy) (Strategy, error) {
	if err := members("any", checks); err != nil {
		return nil, err
	}
	return anyOf{checks}, nil
}

// Not makes a check that passes when the given one complains. It complains of
// problem and suggests suggestion. Both may be "": of Contains, Regex, OneOf and
// JSON it can tell them, of any other check it says its name. It could not be made where the given one could not.
func Not(check Strategy, problem, suggestion string) (Strategy, error) {
	if check == nil {
		return nil, &ParamError{Check: "not", Param: "check", Problem: "is missing", Takes: "a check"}
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

// opposed is what a check has that can say what is wrong with an answer that
// passes it, for Not.
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
	const takes = "one check or more"
	if len(checks) == 0 {
		return &ParamError{Check: name, Param: "checks", Problem: "is empty", Takes: takes}
	}
	for i, c := range checks {
		if c == nil {
			return &ParamError{Check: name, Param: fmt.Sprintf("checks[%d]", i), Problem: "is nil", Takes: takes}
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

// Costly makes a combination costly that has a costly check.
func (c allCheck) Costly() bool { return slices.ContainsFunc(c.checks, isCostly) }

// and joins two failures in one line.
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
	advice := Human // asking again is of use if it is for one of them
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
			v.Usage, v.Skipped = used.Usage, nil // what a branch skipped is of no interest once another passes
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

// Costly makes a combination costly that has a costly check.
func (c anyOf) Costly() bool { return slices.ContainsFunc(c.checks, isCostly) }

// alternative tells the complaints of one branch in a phrase, and how to fix
// them in another.
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

// Costly makes the check costly where the given one is.
func (c not) Costly() bool { return isCostly(c.check) }
