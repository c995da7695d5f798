package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// row is a row of the table: which benchmark it is, which way of ours and which
// floor are in it, which peers do the same work, and what ours must reach.
type row struct {
	name    string
	title   string
	ours    string
	floor   string
	unit    string
	same    []string // peers that do the same work: look at the context, are safe against panics, have a window
	targets []target
}

// target is what a row must reach: got must not be above limit. ok is false
// where the machine or the run has nothing to compare with.
type target struct {
	text  string
	check func(run *run, r *result) (got, limit float64, ok bool)
}

// windows are the breakers that are safe against panics and have a window.
var windows = []string{"gobreaker", "failsafe-go", "failsafe-go, a window"}

// looking are the retries that look at the context before they call.
var looking = []string{"avast", "sethvargo", "failsafe-go", "hashicorp", "aws"}

var rows = []row{
	{
		"OneDelay", "one jittered delay", "Exponential.Delay", "random number", seconds, nil,
		[]target{nearTheBest, noAllocation},
	},
	{
		"TenThousandDelays", "10,000 delays, numbered 0 to 9,999", "Exponential.Delay", "random numbers", seconds, nil,
		[]target{noAllocation},
	},
	{
		"Closed", "CLOSED, success", "Do", "load and call", seconds, []string{"none has a window here"},
		[]target{noAllocation},
	},
	{
		"ClosedAllCores", "CLOSED, success, all cores", "Do", "load and call", seconds, []string{"none has a window here"},
		[]target{noAllocation},
	},
	{
		"Window", "CLOSED, success, window and rate", "Do", "add and call", seconds, windows,
		[]target{nearTheBest, noAllocation},
	},
	{
		"WindowAllCores", "CLOSED, success, window and rate, all cores", "Do", "load and call", seconds, windows,
		[]target{nearTheBest, noAllocation},
	},
	{
		"TenPercentFailures", "the same, 10 % failures", "Do", "add and call, clock at a failure", seconds, windows,
		[]target{nearTheBest, noAllocation},
	},
	{
		"Open", "OPEN, rejected", "Do", "load and clock", seconds, windows,
		[]target{nearTheBest, noAllocation},
	},
	{
		"Permit", "permit, success in a second step", "Enter, Leave", "two loads", seconds, windows,
		[]target{nearTheBest, noAllocation},
	},
	{
		"Pacer", "the pacer, nobody refused", "Try, Accepted, Done", "load", seconds, nil,
		[]target{atMost(30), noAllocation},
	},
	{
		"RetryFirstTry", "retry, first try succeeds", "Do", "call", seconds, looking,
		[]target{nearTheBest, noAllocation},
	},
	{
		"RetryTwoFailures", "retry, two failures, no wait", "Do", "three calls", seconds, looking,
		[]target{nearTheBest},
	},
	{
		"RetryWithBreaker", "retry with breaker, success", "Do", "load and call", seconds,
		[]string{"cenkalti and gobreaker", "avast and gobreaker", "failsafe-go"},
		[]target{nearTheBest, noAllocation},
	},
	{
		"RetryPaced", "retry with pacer and circuit, success", "Do, pacer and circuit", "load and call", seconds, nil,
		[]target{atMost(50), noAllocation},
	},
	{
		"Attempt", "what an attempt costs in all: retry, budget, pacer, circuit", "Do, budget, pacer and circuit", "load and call", seconds, nil,
		[]target{nearTheBest, noAllocation},
	},
	{
		"AttemptAllCores", "the same, all cores", "Do, budget, pacer and circuit", "load and call", seconds, nil,
		[]target{noAllocation},
	},
	{
		"Lookup", "lookup among 10,000 keys", "Registry.Get", "map read", seconds, nil,
		[]target{nearTheBest, noAllocation},
	},
	{
		"LookupAllCores", "lookup among 10,000 keys, all cores", "Registry.Get", "map read", seconds, nil,
		[]target{noAllocation},
	},
	{
		"Memory", "bytes a breaker, of 100,000", "of New", "a state, a count and a time", "bytes/breaker", nil,
		[]target{{"no goroutine", holds("goroutines/breaker", 0)}},
	},
	{
		"Validation", "RetryWithValidation, JSON Schema of ten fields", "RetryWithValidation", "decode and validate", seconds, nil,
		nil,
	},
	{
		"Transport", "a request over loopback HTTP, first try succeeds", "Transport", "plain client", seconds, nil,
		[]target{nearTheBest},
	},
}

// result is a row with its figures, and which targets it reached.
type result struct {
	row
	figures struct{ ours, peer, floor *figure } // peer is the best; nil where none does this
	met     []string
	missed  []string
	open    []string // could not be judged on this machine
}

func (r *result) value(f *figure) float64 { return f.values[r.unit] }

// judge returns the rows that were run.
func judge(run *run) []*result {
	var results []*result
	for _, row := range rows {
		r := &result{row: row}
		f := &r.figures
		f.ours, f.floor = run.find(row.name, "ours", row.ours, run.cores), run.find(row.name, "floor", row.floor, run.cores)
		if f.ours == nil || f.floor == nil {
			continue
		}
		for _, p := range run.only(row.name, "peer", run.cores) {
			if f.peer == nil || r.value(p) < r.value(f.peer) {
				f.peer = p
			}
		}
		for _, t := range row.targets {
			got, limit, ok := t.check(run, r)
			switch {
			case !ok:
				r.open = append(r.open, t.text)
			case got <= limit:
				r.met = append(r.met, t.text)
			case limit == 0:
				r.missed = append(r.missed, fmt.Sprintf("%s, by %.3g", t.text, got))
			default:
				r.missed = append(r.missed, fmt.Sprintf("%s, by %s %%", t.text, digits(100*(got/limit-1))))
			}
		}
		results = append(results, r)
	}
	return results
}

// verdict says in short whether the targets were reached.
func (r *result) verdict() string {
	var said []string
	if len(r.missed) > 0 {
		said = append(said, "missed: "+strings.Join(r.missed, "; "))
	} else if len(r.met) > 0 {
		said = append(said, "met")
	}
	if len(r.open) > 0 {
		said = append(said, "not judged here: "+strings.Join(r.open, "; "))
	}
	return strings.Join(said, "; ")
}

// nearTheBest is about the peers that do the same work; where a row names none,
// all of its peers do.
var nearTheBest = target{"at most 1.25 × the fastest that does the same work", func(run *run, r *result) (float64, float64, bool) {
	best := math.Inf(1)
	for _, p := range run.only(r.name, "peer", run.cores) {
		if r.same == nil || slices.Contains(r.same, p.name) {
			best = min(best, r.value(p))
		}
	}
	return r.value(r.figures.ours), 1.25 * best, !math.IsInf(best, 1)
}}

var noAllocation = target{"no allocation", holds(allocs, 0)}

func atMost(ns float64) target {
	return target{fmt.Sprintf("at most %g ns", ns), func(_ *run, r *result) (float64, float64, bool) {
		return r.value(r.figures.ours), ns * 1e-9, true
	}}
}

func holds(unit string, limit float64) func(*run, *result) (float64, float64, bool) {
	return func(_ *run, r *result) (float64, float64, bool) {
		got, known := r.figures.ours.values[unit]
		return got, limit, known
	}
}
