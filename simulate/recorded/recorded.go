package recorded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"llmcall/chaos"
	"llmcall/failure"
	"llmcall/internal/plainfile"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/record"
	"llmcall/simulate"
)

// request is a request to a model that was made, and what came of it.
type request struct {
	at     time.Time // when it was made
	took   time.Duration
	first  bool           // of its call
	wrong  bool           // it was answered, and the answer did not pass its checks
	failed *failure.Error // nil: it was answered
	model  string
	prompt int // tokens; 0: not known
	answer int
}

// heard reports whether the provider, or the network, did something to the request: its
// caller has not left, and no guard of this process has refused it.
func (r *request) heard() bool {
	if r.failed == nil {
		return true
	}
	switch r.failed.Kind {
	case failure.Cancelled, failure.CircuitOpen, failure.RetryBudgetSpent, failure.AccountSpent:
		return false
	}
	return true
}

// maxTrace is the most bytes of a trace that are read.
const maxTrace = 512 << 20

// Open returns the scenario of what was recorded at a path: a directory of package record,
// one file of it, or a trace in JSON Lines. The error names the file, and the line where it is
// known.
func Open(path string) (*simulate.Scenario, error) {
	requests, err := read(path)
	if err != nil {
		return nil, err
	}
	return scenario(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), requests)
}

func read(path string) ([]request, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return fromRecordings(path, record.All(path))
	case filepath.Ext(path) == ".yaml":
		return fromRecordings(path, func(yield func(*record.Recording, error) bool) { yield(record.Read(path)) })
	}
	data, err := plainfile.Read(path, maxTrace)
	if err != nil {
		if _, refused := errors.AsType[*plainfile.Refusal](err); refused {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		return nil, err
	}
	return readTrace(path, data)
}

// fromRecordings reads the requests of recordings. A request that is equal to one that has
// failed before is another attempt at its call, and every other one is a call of its own.
func fromRecordings(path string, all iter.Seq2[*record.Recording, error]) ([]request, error) {
	var requests []request
	again := map[string]int{} // how many requests have failed, and were not made again
	for r, err := range all {
		if err != nil {
			return nil, err
		}
		id, err := identity(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Path, err)
		}
		found := request{at: r.At, took: r.Took, first: again[id] == 0, failed: r.Failure()}
		if !found.first {
			again[id]--
		}
		if found.failed != nil && found.heard() {
			again[id]++
		}
		if r.Call != nil {
			found.model = r.Call.Model
			if answer := r.Call.Response; answer != nil {
				found.prompt, found.answer = int(answer.Usage.InputTokens), int(answer.Usage.OutputTokens)
				found.wrong = answer.Finish == llm.FinishLength || answer.Finish == llm.FinishFiltered
			}
		}
		requests = append(requests, found)
	}
	if len(requests) == 0 {
		return nil, fmt.Errorf("%s holds no recordings", path)
	}
	return requests, nil
}

// identity is what a request has in common with another attempt at the same call. The model is
// not part of it, since an alternative may be asked.
func identity(r *record.Recording) (string, error) {
	if r.HTTP != nil {
		return r.HTTP.Method + " " + r.HTTP.URL + "\n" + string(r.HTTP.RequestBody), nil
	}
	text, err := json.Marshal(r.Call.Request.Messages)
	return string(text), err
}

// How what was recorded is divided: the rate of calls into at most so many parts, and what
// the provider did into parts with at least so many requests.
const (
	rateParts    = 200
	leastRequest = 20
)

// scenario makes the scenario.
func scenario(name string, requests []request) (*simulate.Scenario, error) {
	slices.SortStableFunc(requests, func(a, b request) int { return a.at.Compare(b.at) })
	begin := requests[0].at
	end := begin
	calls, refused := 0, 0
	var prompts, answers []int
	for _, r := range requests {
		if r.first {
			calls++
		}
		if r.failed != nil && (r.failed.Kind == failure.RateLimited || r.failed.Kind == failure.Overloaded) {
			refused++
		}
		if r.at.After(end) {
			end = r.at
		}
		if r.prompt > 0 {
			prompts = append(prompts, r.prompt)
		}
		if r.answer > 0 {
			answers = append(answers, r.answer)
		}
	}
	if calls == 0 {
		return nil, errors.New("it has no first attempt of a call, only later ones: it does not say when calls arrive")
	}
	// The last call is followed by as long as calls are apart on average.
	length := end.Sub(begin)
	length += max(time.Second, length/time.Duration(calls))
	length = length.Round(time.Millisecond)
	s := &simulate.Scenario{
		Name: name, Duration: length,
		About: fmt.Sprintf("What was recorded from %s: %s, %s.", begin.UTC().Format("2006-01-02 15:04:05 UTC"), say.Count(calls, "call", "calls"), say.Count(len(requests), "request", "requests")),
		Clients: []simulate.Clients{{
			Name: "recorded", Processes: 1, CallsPerSecond: float64(calls) / length.Seconds(), PromptTokens: median(prompts),
		}},
		Provider: simulate.Provider{AnswerTokens: median(answers)},
	}
	if begin.Year() == 1 { // the requests say no time
		s.About = fmt.Sprintf("What was recorded, without its times, one call after the other: %s, %s.", say.Count(calls, "call", "calls"), say.Count(len(requests), "request", "requests"))
	}
	if refused > 0 {
		s.About += fmt.Sprintf(" %s refused for a rate limit or an overload: here that is a share of the requests, and slower clients are refused as often.",
			say.Count(refused, "was", "were"))
	}
	did, err := behaviour(requests, begin, length)
	if err != nil {
		return nil, err
	}
	s.Phases = append(rates(requests, begin, length, calls), did...)
	return s, nil
}

// median of some numbers; 0 if there is none.
func median(all []int) int {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// rates are phases with the rate at which calls arrived.
func rates(requests []request, begin time.Time, length time.Duration, calls int) []simulate.Phase {
	parts := min(rateParts, max(1, calls/4))
	counts := make([]int, parts)
	for _, r := range requests {
		if r.first {
			counts[min(parts-1, int(int64(r.at.Sub(begin))/max(1, int64(length)/int64(parts))))]++
		}
	}
	// Next to nothing: a load of 0 would mean no change.
	const none = 1e-6
	var phases []simulate.Phase
	for i, n := range counts {
		load := max(none, float64(n)*float64(parts)/float64(calls))
		to := length / time.Duration(parts) * time.Duration(i+1)
		if i == parts-1 {
			to = length
		}
		if last := len(phases) - 1; last >= 0 && phases[last].Load == load {
			phases[last].To = to
			continue
		}
		phases = append(phases, simulate.Phase{From: length / time.Duration(parts) * time.Duration(i), To: to, Load: load})
	}
	return phases
}

// behaviour are phases with what the provider did to the requests of that time.
func behaviour(requests []request, begin time.Time, length time.Duration) ([]simulate.Phase, error) {
	var phases []simulate.Phase
	var part []request
	from, shortest := time.Duration(0), length/rateParts
	end := func(to time.Duration) error {
		all, err := faults(part)
		phases = append(phases, simulate.Phase{From: from, To: to, Faults: all})
		from, part = to, nil
		return err
	}
	for i := range requests {
		r := &requests[i]
		// The rest is long enough for a part of its own.
		if at := r.at.Sub(begin); len(part) >= leastRequest && len(requests)-i >= leastRequest && at-from >= shortest {
			if err := end(at); err != nil {
				return nil, err
			}
		}
		if r.heard() {
			part = append(part, *r)
		}
	}
	if len(part) == 0 {
		return phases, nil
	}
	err := end(0)
	return phases, err
}

// faults has a fault for each thing that was done to requests, right answers too, with its
// share and how long it took.
func faults(part []request) ([]simulate.Fault, error) {
	var all []simulate.Fault
	at := map[string]int{}
	for i := range part {
		f, err := faultOf(&part[i])
		if err != nil {
			return nil, err
		}
		id := fmt.Sprint(f.Kind, f.Error, f.Status, f.RetryAfter, f.Headers, f.Delay)
		n, known := at[id]
		if !known {
			n = len(all)
			at[id] = n
			all = append(all, simulate.Fault{Fault: f})
		}
		all[n].Share++
	}
	left := 1.0
	for i := range all { // rounding must not make them more than 1
		all[i].Share = min(left, all[i].Share/float64(len(part)))
		left -= all[i].Share
	}
	return all, nil
}

// faultOf returns what was done to a request, in the words of package chaos.
func faultOf(r *request) (chaos.Fault, error) {
	failed := r.failed
	switch {
	case r.wrong:
		failed = &failure.Error{Kind: failure.InvalidAnswer}
	case failed == nil:
		return chaos.Fault{Kind: chaos.Right, Delay: coarse(r.took)}, nil
	case failed.Kind == failure.CutOff:
		return chaos.Fault{Kind: chaos.Length, Delay: coarse(r.took)}, nil
	}
	text, err := record.Plan([]*record.Recording{{Call: &record.Call{Model: r.model, Request: llm.Prompt("")}, Err: failed, Took: coarse(r.took)}})
	if err != nil {
		return chaos.Fault{}, err
	}
	plan, err := chaos.ParsePlan("recorded", text)
	if err != nil {
		return chaos.Fault{}, err
	}
	return plan.Steps[0], nil
}

// coarse rounds to two digits, so that times that are about equal are one fault.
func coarse(d time.Duration) time.Duration {
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 100*unit {
			return d.Round(unit)
		}
	}
}
