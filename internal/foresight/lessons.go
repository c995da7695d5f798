package main

import "llmcall/simulate"

const introduction = `
# What a policy does

Thirteen bad days of a provider, and what four policies make of each. All of it is simulated: the engine that makes real calls runs in virtual time,
with a fleet of clients, against a model of a provider (package ` + "`simulate`" + `). ` + "`make foresight`" + ` writes this page; your own configuration does the same with

` + "```sh\nllmcall simulate --scenario outage --compare examples/policies/at-once.yaml\n```" + `

**defaults** is a configuration without a line: three attempts, waits of 1 and 2 s with jitter, a budget of retries, and a pacer. It has no circuit
breaker and no time limit of an attempt, since what is right for them depends on who calls. The other three are what people write by hand:
`

const middle = `
## All days

The share of the calls that are answered, and the requests for each answer:

OVERVIEW
More attempts with longer waits answer more calls where a failure passes; what they cost is seen in the waits, and on the days on which all clients do
the same. The picture of a day has a column for each policy. Where the orange line (requests sent) is far above the grey one (calls), a policy
makes the provider's day worse. The shaded time is that in which the provider is not well. "recovers" is how long after it calls were as before.

## With the circuit breaker

The same days with the defaults and ` + "`enable_circuit_breaker: true`" + `, and two ways to set it:

BREAKER
A breaker answers no call. It saves requests where nothing works (outage, quota, restart), and its calls fail at once, so that a second model can answer
them. Without one, that costs answers, and most where part of the requests work: in brownout and flapping it refuses calls that would have been answered.
A process here makes a call every two seconds, and where half of the requests fail, five failures in six requests are soon a matter of chance
(` + "`failure_threshold`" + ` is 5, ` + "`failure_rate`" + ` 0.8). With 20 it stays closed in brownout, and opens later in an outage. ` + "`wait_for_circuit`" + ` lets calls wait for the
circuit until their deadline, and with it more of them are answered in an outage than without a breaker. Where the provider only limits the rate, answers
slowly or wrongly, or does not answer and no ` + "`attempt_timeout`" + ` says that this is a failure, no circuit opens.
`

// breakerHolds says whether the figures of the days are as the text about the breaker says.
func breakerHolds(days map[string]reports) bool {
	const waits, twenty = "breaker, wait_for_circuit", "breaker, failure_threshold: 20"
	for _, day := range []string{"outage", "quota", "restart"} {
		if r := days[day]; requests(r, "breaker") > 1.05 || requests(r, "breaker") > requests(r, "defaults")-0.05 || answered(r, "breaker") > answered(r, "defaults") || answered(r, waits) < answered(r, "defaults") {
			return false
		}
	}
	for _, day := range []string{"brownout", "flapping"} {
		if r := days[day]; answered(r, "breaker") > answered(r, "defaults")-0.25 {
			return false
		}
	}
	for _, day := range []string{"bad_answers", "collapse", "hang", "herd", "rate_limit", "rate_limit_no_hint", "slow", "two_tenants"} {
		if opened(days[day], "breaker") {
			return false
		}
	}
	outage := days["outage"]
	return !opened(days["brownout"], twenty) && requests(outage, twenty) > requests(outage, "breaker")
}

// reports are the reports of a scenario by the names of the policies.
type reports map[string]*simulate.Report

// lesson is what a scenario teaches.
type lesson struct {
	says string
	// holds says whether the figures are as the text says. A page is not written with
	// one that does not.
	holds func(reports) bool
}

func answered(r reports, policy string) float64 { return r[policy].AnsweredShare() }
func requests(r reports, policy string) float64 { return r[policy].RequestsPerAnswer() }
func opened(r reports, policy string) bool {
	for _, p := range r[policy].Series {
		if p.Open > 0 {
			return true
		}
	}
	return false
}

// peak is the most requests that were sent in a bucket, as a multiple of the calls offered in
// all buckets on average.
func peak(r reports, policy string) float64 {
	most, calls := 0, 0
	for _, p := range r[policy].Series {
		most, calls = max(most, p.Sent), calls+p.Offered
	}
	return float64(most*len(r[policy].Series)) / float64(calls)
}

func group(r reports, policy string, i int) *simulate.Totals { return &r[policy].Groups[i].Totals }

var lessons = map[string]lesson{
	"bad_answers": {`
Wrong answers cost what right ones do: about a fifth of the money here is for nothing, with every policy. No circuit opens, and none should: the provider
does its work. What helps is more attempts (six instead of three), a better prompt, or a stage with a larger model. Waits do not matter, since a wrong
answer is asked again at once.`,
		func(r reports) bool {
			for _, name := range []string{"defaults", "at-once", "exponential", "count-5"} {
				if wasted := float64(r[name].Wasted) / float64(r[name].Cost); wasted < 0.15 || wasted > 0.25 || opened(r, name) {
					return false
				}
			}
			return answered(r, "exponential") > answered(r, "defaults") && answered(r, "at-once") > answered(r, "defaults")
		}},
	"brownout": {`
Half of the requests fail, so that half work, and retries are what is right. A breaker that only counts failures shuts out the half that works, as
count-5 does; so does one that asks for a rate, if it looks at few requests ([with the circuit breaker](#with-the-circuit-breaker)). Six attempts answer nearly all, if they wait; six at once send
several times the load to a server that is short of breath, and answer no more calls than three attempts with waits.`,
		func(r reports) bool {
			return answered(r, "count-5") < 0.8 && opened(r, "count-5") && answered(r, "exponential") > 0.99 && answered(r, "at-once") < answered(r, "defaults")+0.02 && peak(r, "at-once") > 2.5
		}},
	"collapse": {`
Five seconds of twice the load, and the policy with a timeout of 3 s and tries at once never comes back: each call is sent six times, the server works
on requests that nobody waits for any longer, and no answer comes within 3 s. The load that keeps it down is its own. This is a metastable failure (N.
Bronson et al., HotOS 2021), and nothing but less load ends it. A budget of retries does that by itself; a longer timeout does not begin it.`,
		func(r reports) bool {
			return r["at-once"].Collapsed && answered(r, "at-once") < 0.5 && answered(r, "defaults") > 0.99 && answered(r, "exponential") > 0.99 && answered(r, "count-5") > 0.99
		}},
	"flapping": {`
The provider fails for 10 s of every 30. Waits that add up to more than 10 s bridge each gap; six tries within milliseconds bridge nothing. The breaker
of count-5 is the worst: it is open for a minute after each failure of ten seconds, so that it refuses calls while the provider works. If failures are
short, let it be open for less than they are apart (` + "`recovery_timeout`" + `).`,
		func(r reports) bool {
			return answered(r, "exponential") > 0.99 && answered(r, "count-5") < answered(r, "at-once") && answered(r, "at-once") < answered(r, "defaults")
		}},
	"hang": {`
Nothing says that this is an outage. Without a time limit of an attempt each call waits until its deadline, and has no second try. A limit makes another
attempt possible: half a minute is right for answers of a few seconds. One of 3 s also cuts off answers that would have come, and with tries at
once it sends twice the requests. Set ` + "`attempt_timeout`" + ` to a third of the deadline; the defaults have none, because nobody can know how long your answers are.`,
		func(r reports) bool {
			return answered(r, "exponential") > answered(r, "at-once") && answered(r, "at-once") > answered(r, "defaults") && r["defaults"].Failed["out_of_time"] > 0 && requests(r, "at-once") > 1.7
		}},
	"herd": {`
300 jobs start in the same second, and meet a provider that is down. With six tries at once all of them have failed before the second is over. Waits
without jitter bring all of them back in the same moment, wave after wave, to a server that has room for a few. The defaults spread them, hold them to
what is accepted, and answer more of their calls with fewer requests. The circuits of count-5 are open for a minute each, and no call of the jobs is answered.`,
		func(r reports) bool {
			jobs := func(policy string) float64 { return group(r, policy, 1).AnsweredShare() }
			return jobs("defaults") > jobs("exponential") && jobs("at-once") < 0.05 && jobs("count-5") < 0.05 && requests(r, "defaults") < requests(r, "exponential")
		}},
	"outage": {`
A minute without an answer. Only waiting answers these calls, not asking: six tries at once send several times the usual load, for as many answers as three
attempts give. The waits of exponential add up to half a minute, and so it answers half of them. With the breaker there is next to no load, and calls
fail at once, which is right if somebody else can answer. If nobody can, let calls wait for the circuit (` + "`wait_for_circuit`" + `) instead of failing.`,
		func(r reports) bool {
			return peak(r, "at-once") > 4 && answered(r, "exponential") > answered(r, "defaults") && requests(r, "count-5") < 1.1 && requests(r, "count-5") < requests(r, "defaults")
		}},
	"quota": {`
No retry helps against an empty account, and none is made: whatever the number of attempts, a call that fails has made one request. (An SDK that retries
each 429 makes all of them, since most providers refuse with that status.) What helps is a second model at another provider: see
[escalation.md](escalation.md).`,
		func(r reports) bool {
			for _, name := range []string{"defaults", "exponential"} {
				if r[name].Requests > r[name].Calls+r[name].Calls/50 {
					return false
				}
			}
			return answered(r, "exponential")-answered(r, "defaults") < 0.01
		}},
	"rate_limit": {`
More calls than the limit for a minute, and the provider says when to come back. Everybody is answered in the end, since told waits use up no attempt.
But without a pacer each waiting call asks for itself, and most are refused again: some ten requests for each answer, and some providers count refused
requests, too. With it one call after the other goes at the rate that the limit has, and it takes no longer.`,
		func(r reports) bool {
			return answered(r, "defaults") > 0.99 && answered(r, "exponential") > 0.99 && requests(r, "defaults") < 1.2 && requests(r, "exponential") > 5 && requests(r, "at-once") > 5
		}},
	"rate_limit_no_hint": {`
The same without a hint when to come back. Now each refusal uses up an attempt of those who have no pacer, and they fail: not for want of capacity, but
because they asked when it was somebody else's turn. The pacer finds the rate by what is accepted, and all are answered. It takes a while until
the last of those who waited have had their turn.`,
		func(r reports) bool {
			return answered(r, "defaults") > 0.99 && answered(r, "at-once") < 0.95 && answered(r, "exponential") < 0.97 && answered(r, "count-5") < 0.95 && requests(r, "defaults") < 1.2
		}},
	"restart": {`
What the server worked on is lost, connections are reset for 15 s, and answers are slow after that. Waits that reach beyond 15 s answer everything. The
timeout of 3 s is shorter than the slow answers: it throws away what has been paid for, and asks again. The breaker of count-5 stays open for a minute
after an outage of a quarter of that.`,
		func(r reports) bool {
			return answered(r, "exponential") > 0.99 && r["at-once"].Wasted > r["exponential"].Wasted && answered(r, "count-5") < 0.9 && r["at-once"].Cost > r["exponential"].Cost
		}},
	"slow": {`
Answers take ten times as long, and nothing fails by itself. Whoever waits gets them all. The timeout of 3 s turns a slow day into an outage: most of
the money goes into answers that nobody waits for, since the provider bills them all the same, and each is asked for again. A time limit must
be longer than a slow answer, not longer than a usual one.`,
		func(r reports) bool {
			return answered(r, "defaults") > 0.99 && answered(r, "at-once") < 0.9 && 2*r["at-once"].Wasted > r["at-once"].Cost && float64(r["at-once"].Cost) > 2*float64(r["defaults"].Cost)
		}},
	"two_tenants": {`
A tenant starts a batch of a hundred workers at a provider that both use. The other one, which has a key of its own, hardly notices. The batch itself is
what differs: all of its calls are answered, with one request each if it has a pacer and almost four if it has not, and with it the slowest do not take
several times as long, since nobody is passed over again and again.`,
		func(r reports) bool {
			quiet, batch := group(r, "defaults", 0), group(r, "defaults", 1)
			return quiet.AnsweredShare() > 0.99 && requests(r, "defaults") < 1.2 && requests(r, "exponential") > 3 && group(r, "exponential", 1).P99 > 3*batch.P99
		}},
}
