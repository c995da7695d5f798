package llmcall

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/validate"
)

// QualityMemory passes over a model for a while if one check has found fault with most of
// its last answers: it is asked after the other models of its stage, and a stage of which
// all models are passed over is left out if a later one has a better model. It is not
// called unavailable: it is asked where no other can serve. After the while it is tried
// again, and one more answer that does not pass lets it be passed over again.
//
// The memory belongs to the [endpoint.Endpoint], for each set of checks, told apart by their
// names; clients share it. Answers that were cut off do not count. The comment after a field
// is its name in a configuration file: quality_memory: {for: 10m}.
type QualityMemory struct {
	// Answers is the number of last answers that count; there is no decision before there
	// are as many. From 1 to 1,000. Default 20.
	Answers int // answers
	// Share is the share of them that the same check must have found fault with. From 0.1
	// to 1. Default 0.8.
	Share float64 // share
	// For is how long the model is passed over. Default 5 min.
	For time.Duration // for
}

// The defaults of the fields of [QualityMemory].
const (
	DefaultQualityAnswers = 20
	DefaultQualityShare   = 0.8
	DefaultQualityFor     = 5 * time.Minute
)

const maxQualityAnswers = 1000

// validate returns an error for an impossible setting.
func (q *QualityMemory) validate() error {
	switch {
	case q.Answers < 0 || q.Answers > maxQualityAnswers:
		return &ConfigError{Field: "quality_memory.answers", Got: q.Answers, Takes: takesAnswers}
	case q.Share != 0 && !(q.Share >= 0.1 && q.Share <= 1):
		return &ConfigError{Field: "quality_memory.share", Got: q.Share, Takes: takesShare}
	case q.For < 0:
		return &ConfigError{Field: "quality_memory.for", Got: q.For, Takes: takesPositive}
	}
	return nil
}

// judged adds a judged answer to the memory of its model.
func (c *call) judged(err error) {
	q := c.cfg.QualityMemory
	wrong, isWrong := errors.AsType[*InvalidAnswerError](err)
	if q == nil || len(c.checks) == 0 || err != nil && (!isWrong || wrong.kind != failure.InvalidAnswer) {
		return
	}
	var faults []string
	if isWrong {
		for _, k := range wrong.Complaints {
			faults = append(faults, k.Check)
		}
	}
	c.client.targets[c.target].Endpoint.Judged(setOf(c.checks), faults, endpoint.Quality{
		Answers: cmp.Or(q.Answers, DefaultQualityAnswers), Share: cmp.Or(q.Share, DefaultQualityShare), For: cmp.Or(q.For, DefaultQualityFor),
	})
}

// setOf names a set of checks.
func setOf(checks []validate.Strategy) string {
	var names []string
	for _, k := range checks {
		names = append(names, k.Name())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// poor returns why a model is passed over; "" if it is not.
func (c *call) poor(target int) string {
	if c.cfg.QualityMemory == nil || len(c.checks) == 0 {
		return ""
	}
	over, ok := c.client.targets[target].Endpoint.PassedOver(setOf(c.checks))
	if !ok {
		return ""
	}
	return c.client.models[target].Name() + ": passed over, its answers did not pass the check " + over.Check
}

// preferred returns the order in which the models of a stage are asked, those last that are
// passed over; why says so, and all is true if none is left.
func (c *call) preferred(s *stage) (order []int, why string, all bool) {
	var poor []int
	for _, target := range s.order {
		if w := c.poor(target); w != "" {
			poor, why = append(poor, target), cmp.Or(why, w)
		} else {
			order = append(order, target)
		}
	}
	return append(order, poor...), why, len(order) == 0
}

// better reports whether a stage after another one has a model that is not passed over.
func (c *call) better(at int) bool {
	for i := range c.client.stages[at+1:] {
		s := &c.client.stages[at+1+i]
		if _, _, all := c.preferred(s); !s.Human && !all {
			return true
		}
	}
	return false
}

// among enters a stage. A stage of poor models is put off if a later one has better models.
func (c *call) among(at int, why string) bool {
	s := &c.client.stages[at]
	order, poor, all := c.preferred(s)
	if all && c.better(at) && !slices.Contains(c.putOff, at) {
		c.putOff, c.skipped = append(c.putOff, at), poor
		return false
	}
	if !c.tries.Among(order, c.allowed(at)) {
		return false
	}
	if order[0] == s.order[0] {
		poor = "" // its first model is asked as ever
	}
	texts := slices.DeleteFunc([]string{why, c.skipped, poor}, func(t string) bool { return t == "" })
	c.came, c.skipped = strings.Join(texts, "; "), ""
	c.enter(at)
	return true
}
