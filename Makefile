# The tasks of a developer. `make` lists them.

ROUNDS ?= 10
BENCHTIME ?= 50ms
FUZZTIME ?= 20s
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

test: ## run all tests; needs no C compiler, key, network or accelerator
	go test ./...

race: ## run all tests with the race detector, which needs a C compiler
	go test -race ./...

lint: ## gofmt, go vet and staticcheck, also of the benchmarks' module
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...
	go run $(STATICCHECK) ./...
	cd bench && go vet ./... && go run $(STATICCHECK) ./...

fuzz: ## run every fuzz target for FUZZTIME (20s)
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "== $$pkg $$target" && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

cover: ## write cover.html: which lines the tests reach
	go test -short -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -html=cover.out -o cover.html

build: ## build the command into bin/, stripped
	go build -trimpath -ldflags="-s -w" -o bin/llmcall ./cmd/llmcall

bench: ## run the benchmarks beside the peers, and write docs/benchmarks.md
	cd bench && go run ./report -rounds $(ROUNDS) -benchtime $(BENCHTIME)

bench-gateway: ## measure llmcall serve beside ReverseProxy, nginx and Portkey; needs npm and nginx
	cd bench && go run ./gateway

bench-fleet: ## measure a shared circuit beside gobreaker's distributed one; needs redis-server
	cd bench && go run ./fleet

plots: ## draw how the cost of a call grows with the work: docs/*.svg
	cd bench && go run ./plots

mutation: ## put one-line faults into the engine, and list those that no test finds (an hour)
	cd bench && go run ./mutation

conformance: ## write docs/conformance.md: what happens when a provider fails
	go test ./conformance -run TestThePageIsWhatHappens -update

failover: ## write docs/failover.md: what a gateway's client sees when a provider fails; needs npm, nginx and HAProxy
	go run ./internal/failover

fleet: ## measure processes of a fleet over real Redis servers, which fail; needs redis-server, redis-sentinel and haproxy
	cd conformance/fleet && LLMCALL_MODEL=full go test -count 1 -timeout 30m -v .

foresight: ## write docs/foresight.md: what policies do in each scenario
	go run ./internal/foresight

module: ## give the module another path: make module MODULE=example.org/you/llmcall
	@test -n "$(MODULE)" || { echo "usage: make module MODULE=example.org/you/llmcall" >&2; exit 2; }
	go run ./internal/rename $(MODULE)

.PHONY: help test race lint fuzz cover build bench bench-gateway bench-fleet plots mutation conformance failover fleet foresight module
