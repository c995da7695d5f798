// Package bench sets llmcall beside the libraries that do the same work, and
// beside the least that the machine can do for it, in one run.
//
// Every benchmark is a row of the table in docs/benchmarks.md, and every
// sub-benchmark a way to do the row's work: ours=…, peer=…, or floor=… for the
// least of it. The program in report runs them and writes the page; the one in
// plots draws how the cost of a call grows with the work.
//
// The functions that are called are the same for all, none of them can be
// inlined, and all are reached through a variable. Each context is one that can
// be cancelled, as the context of a real call can.
package bench
