package page

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall"
)

// callView is a row of the calls.
type callView struct {
	ID           string
	Number       uint64
	At           time.Time // when it ended, or when it started if it has not
	Start        time.Time
	Running      bool
	Tone         string // "valid", "human", "failed", "running"
	Outcome      string
	Client       string
	Route        string
	RequestID    string
	Model        string
	Models       string // those that were asked, if there is more than one
	Waiting      string
	Until        time.Time
	Took         string
	Tokens, Cost string
	Count        string // of the attempts
	Attempts     []attemptView
	Dropped      int
	Gantt        []ganttView
	Error        string
	Prompt       string
	Answer       string
	Contents     bool
}

type attemptView struct {
	Number, Model, Stage, Why string
	Tone, Outcome, Kind       string
	Waited, WaitedFor         string
	Took                      string
	Error                     string
	Checks                    string
	Complaints                []string
	Answer                    string
	Notes                     []string
	Tools                     string
	Circuit                   string
	Tokens, Cost              string
	Gantt                     []ganttView // in the time of the whole call
}

// ganttView is a part of a call's time line.
type ganttView struct {
	Tone string
	X, W string
}

// ganttWidth is the width of a call's time line, in its own units.
const ganttWidth = 200

func (h *handler) newCallView(c *callRow) callView {
	v := callView{
		ID: "call" + strconv.FormatUint(c.number, 10), Number: c.number, At: c.start, Start: c.start, Running: !c.ended, Outcome: c.outcome,
		Client: c.caller.Client, Route: c.caller.Route, RequestID: c.caller.ID, Model: c.model, Waiting: c.waiting, Until: c.until,
		Cost: cost(c.cost), Dropped: c.dropped, Error: c.errText, Contents: h.Contents,
	}
	if h.Contents {
		v.Prompt, v.Answer = h.hide.Text(c.prompt), h.hide.Text(c.answer)
	}
	if c.tokens > 0 {
		v.Tokens = thousands(c.tokens)
	}
	switch {
	case !c.ended:
		v.Tone, v.Outcome = "running", "running"
	case !c.failed:
		v.Tone = "valid"
	case c.outcome == string(llmcall.ReasonHumanReview):
		v.Tone = "human"
	case c.outcome == string(llmcall.ReasonCancelled):
		v.Tone = "left"
	default:
		v.Tone = "failed"
	}
	v.Outcome = strings.ReplaceAll(v.Outcome, "_", " ")
	if c.ended {
		v.Took, v.At = took(c.duration), c.start.Add(c.duration)
	} else {
		v.Cost = ""
	}
	var models []string
	attempts := c.dropped
	for i := range c.attempts {
		a := &c.attempts[i]
		if !slices.Contains(models, a.model) {
			models = append(models, a.model)
		}
		if !a.hedge {
			attempts++
		}
		parts := c.gantt(a)
		v.Gantt = append(v.Gantt, parts...)
		v.Attempts = append(v.Attempts, h.newAttemptView(a, parts))
	}
	if len(models) > 0 {
		v.Models = strings.Join(models, " → ")
	}
	v.Count = strconv.Itoa(attempts)
	return v
}

// gantt returns the parts of an attempt in the time of the call: its wait and itself. A
// call under way has none, since they would be others at each moment.
func (c *callRow) gantt(a *attemptRow) (parts []ganttView) {
	if !c.ended || c.duration <= 0 {
		return nil
	}
	part := func(tone string, from, length time.Duration) {
		x := min(max(0, float64(from)/float64(c.duration)*ganttWidth), ganttWidth-1.5)
		w := min(max(1.5, float64(length)/float64(c.duration)*ganttWidth), ganttWidth-x)
		parts = append(parts, ganttView{tone, strconv.FormatFloat(x, 'f', 1, 64), strconv.FormatFloat(w, 'f', 1, 64)})
	}
	from := a.start.Sub(c.start)
	if a.delay > 0 {
		part("wait", from-a.delay, a.delay)
	}
	part(toneOfAttempt(a), from, a.duration)
	return parts
}

func toneOfAttempt(a *attemptRow) string {
	switch {
	case a.open:
		return "running"
	case a.outcome == llmcall.OutcomeValid:
		return "answered"
	case a.outcome == llmcall.OutcomeInvalid, a.outcome == llmcall.OutcomeCutOff, a.outcome == llmcall.OutcomeChecks:
		return "wrong"
	case a.outcome == llmcall.OutcomeLost:
		return "other"
	case a.kind == "rate_limited":
		return "limited"
	}
	return "failed"
}

func (h *handler) newAttemptView(a *attemptRow, parts []ganttView) attemptView {
	v := attemptView{
		Number: strconv.Itoa(a.number), Model: a.model, Stage: a.stage, Why: a.why, Tone: toneOfAttempt(a), Kind: strings.ReplaceAll(a.kind, "_", " "),
		Outcome: strings.ReplaceAll(string(a.outcome), "_", " "), Error: a.errText, Notes: a.notes, Tools: strings.Join(a.tools, ", "), Cost: cost(a.cost), Gantt: parts,
	}
	if a.hedge {
		v.Number += " hedge"
	}
	if a.open {
		v.Outcome = "running"
	} else {
		v.Took = took(a.duration)
	}
	if a.delay > 0 {
		v.Waited, v.WaitedFor = took(a.delay), strings.ReplaceAll(a.delayWhy, "_", " ")
	}
	if a.circuit != "" && a.circuit != "CLOSED" {
		v.Circuit = strings.ReplaceAll(strings.ToLower(a.circuit), "_", "-")
	}
	if a.tokens > 0 {
		v.Tokens = thousands(a.tokens)
	}
	switch {
	case h.Contents:
		v.Answer = h.hide.Text(a.answer)
		for _, complaint := range a.complaints {
			v.Complaints = append(v.Complaints, h.hide.Text(complaint))
		}
	case len(a.checks) > 0:
		v.Checks = strings.Join(a.checks, ", ")
	}
	if v.Kind == v.Outcome || v.Outcome == "invalid" || v.Outcome == "cut off" {
		v.Kind = ""
	}
	return v
}
