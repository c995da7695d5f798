package main

import (
	"fmt"
	"strings"
)

// row is a row of the table: which benchmark it is, which way of ours and which
// floor stand in it, and what ours must reach.
type row struct {
	name    string
	title   string
	ours    string
	floor   string
	unit    string
	targets []target
}

// target is what a row must reach: got must not be above limit. ok is false
// where the machine or the run has nothing to compare with.
type target struct {
	text  string
	check func(run *run, r *result) (got, limit float64, ok bool)
}

var rows = []row{
	{
		"OneDelay", "one jittered delay", "Exponential.Delay", "random number", seconds,
		[]target{noSlower, timesFloor(1.35), noAllocation},
	},
	{
		"TenThousandDelays", "10,000 delays, numbered 0 to 9,999", "Exponential.Delay", "random numbers", seconds,
		[]target{noSlower, timesFloor(1.35), noAllocation},
	},
	{
		"Closed", "CLOSED, success", "Run", "load and call", seconds,
		[]target{noSlower, noAllocation},
	},
	{
		"ClosedAllCores", "CLOSED, success, all cores", "Run", "load and call", seconds,
		[]target{noSlower, scales, noAllocation},
	},
	{
		"Window", "CLOSED, success, window and rate", "Run", "add and call", seconds,
		[]target{atMost(8), noSlower, noAllocation},
	},
	{
		"WindowAllCores", "CLOSED, success, window and rate, all cores", "Run", "load and call", seconds,
		[]target{noSlower, scales, noAllocation},
	},
	{
		"TenPercentFailures", "the same, 10 % failures", "Run", "add and call, clock at a failure", seconds,
		[]target{atMost(18), noSlower, noAllocation},
	},
	{
		"Open", "OPEN, rejected", "Run", "load and clock", seconds,
		[]target{{"at most 1.15 × floor (26 ns where the clock takes 22.7)", timesFloor(1.15).check}, noAllocation},
	},
	{
		"Permit", "permit, success in a second step", "Acquire, Success", "two loads", seconds,
		[]target{noSlower, noAllocation},
	},
	{
		"RetryFirstTry", "retry, first try succeeds", "Do", "call", seconds,
		[]target{noSlower, noAllocation},
	},
	{
		"RetryTwoFailures", "retry, two failures, no wait", "Do", "three calls", seconds,
		[]target{atMost(60), noSlower, noAllocation},
	},
	{
		"RetryWithBreaker", "retry with breaker, success", "Do", "load and call", seconds,
		[]target{noSlower, noAllocation},
	},
	{
		"Lookup", "lookup among 10,000 keys", "Registry.Get", "map read", seconds,
		[]target{timesFloor(1.3), noSlower, noAllocation},
	},
	{
		"LookupAllCores", "lookup among 10,000 keys, all cores", "Registry.Get", "map read", seconds,
		[]target{timesFloor(1.3), scales, noAllocation},
	},
	{
		"Memory", "bytes a breaker, of 100,000", "of a Registry", "a state, a count and a time", "bytes/breaker",
		[]target{
			{"at most 128 bytes", holds("bytes/breaker", 128)},
			{"one object", holds("objects/breaker", 1)},
			{"no goroutine", holds("goroutines/breaker", 0)},
		},
	},
	{
		"Validation", "RetryWithValidation, JSON Schema of ten fields", "RetryWithValidation", "decode and validate", seconds,
		nil,
	},
	{
		"Transport", "a request over loopback HTTP, first try succeeds", "Transport", "plain client", seconds,
		[]target{{"within 5 % of the plain client", timesFloor(1.05).check}},
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

// noSlower takes times within 1 % for equal: a run can't tell them apart.
var noSlower = target{"no slower than the best", func(_ *run, r *result) (float64, float64, bool) {
	if r.figures.peer == nil {
		return 0, 0, false
	}
	return r.value(r.figures.ours), 1.01 * r.value(r.figures.peer), true
}}

var noAllocation = target{"no allocation", holds(allocs, 0)}

// scales: on two cores a call takes at most 0.55 of its time on one. Where even
// the floor takes more, other work had the cores, and nothing can be said.
var scales = target{"two cores at most 0.55 × one", func(run *run, r *result) (float64, float64, bool) {
	ours, floor := run.find(r.name, "ours", r.ours, 1), run.find(r.name, "floor", r.floor, 1)
	limit := 1.1 / float64(run.cores)
	if ours == nil || floor == nil || run.cores == 1 || r.value(r.figures.floor) > limit*r.value(floor) {
		return 0, 0, false
	}
	return r.value(r.figures.ours) / r.value(ours), limit, true
}}

func timesFloor(n float64) target {
	return target{fmt.Sprintf("at most %g × floor", n), func(_ *run, r *result) (float64, float64, bool) {
		return r.value(r.figures.ours), n * r.value(r.figures.floor), true
	}}
}

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
