ROUNDS ?= 10
BENCHTIME ?= 50ms

# The benchmarks, side by side with the peers: a table, and docs/benchmarks.md.
bench:
	cd bench && go run ./report -rounds $(ROUNDS) -benchtime $(BENCHTIME)

# How the cost of a call grows with the work: docs/*.svg.
plots:
	cd bench && go run ./plots

# What happens when a provider fails: docs/conformance.md.
conformance:
	go test ./conformance -run TestThePageIsWhatHappens -update

.PHONY: bench plots conformance
