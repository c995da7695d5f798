#!/bin/sh
# Checks the design model of the circuit breaker: what must hold, and that the
# check finds faults that are put into the model on purpose. Needs spin and a C
# compiler. Exits with 1 if anything is not as it must be.
set -eu
model=$(cd "$(dirname "$0")" && pwd)/breaker.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
wrong=0

# build [DEFINE...]
build() {
	defines=$*
	spin -a "$@" "$model" >spin.out 2>&1 || { cat spin.out; exit 1; }
	cc -O1 -w -DNFAIR=4 -o pan pan.c
}

# expect PROPERTY holds|fails. The property "asserts" is that no assertion
# fails; the others are the model's LTL formulas, under weak fairness.
expect() {
	if [ "$1" = asserts ]; then
		./pan -noclaim -E -m1000000 >pan.out 2>&1 || true
	else
		./pan -a -f -m1000000 -N "$1" >pan.out 2>&1 || true
	fi
	got=unfinished
	if grep -q 'errors: [1-9]' pan.out; then
		got=fails
	elif grep -q 'errors: 0$' pan.out && ! grep -q 'max search depth too small' pan.out; then
		got=holds
	fi
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.out)
	verdict=ok
	if [ "$got" != "$2" ]; then
		verdict=WRONG
		wrong=1
		cat pan.out
	fi
	printf '%-5s %-9s %-5s %6s states  %s\n' "$verdict" "$1" "$got" "$states" "$defines"
}

for places in 1 2 3; do
	build -DPLACES=$places
	for property in asserts probed notWedged recovers served; do
		expect $property holds
	done
done

# Without leases a lost probe wedges the breaker.
build -DNO_LEASE
expect notWedged fails
expect recovers fails
# Without generations a late report counts.
build -DNO_GENERATIONS
expect asserts fails
# A lost probe that reports must not give its place back a second time.
build -DPLACE_TWICE
expect asserts fails
# Without its timer an open circuit stays open.
build -DNO_TIMER
expect probed fails
# A service whose answers are all left by their readers is never found well.
build -DNO_ACCEPT
expect recovers fails
# One probe that is accepted and then succeeds is one success.
build -DACCEPTED_TWICE
expect asserts fails
# Those who wait sleep until they are called: by the timer, by who leaves the
# queue before them, and by who gives a place back.
build -DNO_TIMER_OF_WAITERS
expect probed fails
build -DNO_CALL_ON_LEAVING
expect served fails
build -DNO_CALL_ON_FREEING
expect asserts fails

exit $wrong
