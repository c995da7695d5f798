package page

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/internal/say"
)

// The pace at which the fleet is looked at, and how long a look may take.
const (
	perLook  = time.Second
	lookTime = 100 * time.Millisecond
)

// maxElsewhere bounds the circuits that are listed without an endpoint.
const maxElsewhere = 20

// look asks for the fleet, if what is known is no longer fresh. The caller holds the lock of
// the frames.
func (f *frames) look(h *handler) {
	if h.Fleet == nil || time.Since(f.looked) < perLook {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	fleet := h.Fleet(ctx)
	f.fleet, f.looked = &fleet, time.Now()
}

// circuitsOf returns the fleet's circuits of an endpoint.
func circuitsOf(f *endpoint.FleetSnapshot, name string) (all []endpoint.SharedCircuit) {
	if f == nil {
		return nil
	}
	for _, c := range f.Circuits {
		if c.Name == name {
			all = append(all, c)
		}
	}
	return all
}

// fleetView is the row of the fleet itself.
type fleetView struct {
	Tone, State, Address, Err string
	Since                     time.Time
	Processes                 int
}

func newFleetView(f *endpoint.FleetSnapshot) fleetView {
	v := fleetView{Tone: "closed", State: "connected", Address: f.Address, Since: f.Since, Processes: f.Processes}
	if !f.Connected {
		v.Tone, v.State = "open", "alone"
	}
	if f.Err != nil {
		v.Err = say.Line(f.Err.Error(), 200)
	}
	return v
}

// fleetCircuitView is a circuit of the fleet, beside that of the endpoint or in a row of its
// own.
type fleetCircuitView struct {
	ID, Name, Tone, State, Cause string
	Notes                        []string
	Until                        time.Time
}

// newFleetCircuitView is the view of a circuit as it was when the fleet was looked at.
func newFleetCircuitView(c endpoint.SharedCircuit, looked time.Time) fleetCircuitView {
	v := fleetCircuitView{Name: c.Name, Tone: toneOfState(c.State), State: stateName(c.State)}
	if c.State == breaker.Open && !c.Forced && c.RetryIn > 0 {
		v.Until = looked.Add(c.RetryIn).Round(time.Second) // else each look would change the row
	}
	if c.State != breaker.Closed && c.Cause != (breaker.Cause{}) {
		v.Cause = c.Cause.String()
	}
	if c.State != breaker.Closed && c.By != "" || c.Forced {
		v.Notes = append(v.Notes, "by "+cmp.Or(c.By, "somebody"))
	}
	switch {
	case c.Forced:
		v.Tone, v.State = "forced", "forced "+v.State
	case c.State != breaker.Closed:
		if c.Probes > 0 {
			v.Notes = append(v.Notes, fmt.Sprintf("%d of %s under way", c.Probes, say.Count(c.MaxProbes, "probe", "probes")))
		}
	case c.Failures > 0:
		v.Notes = append(v.Notes, fmt.Sprintf("%d of %d failures", c.Failures, c.Threshold))
		if c.Reporters < c.MinReporters {
			v.Notes = append(v.Notes, fmt.Sprintf("seen by %s, %d needed", say.Count(c.Reporters, "process", "processes"), c.MinReporters))
		}
	}
	return v
}

// elsewhere returns the fleet's circuits that are not closed, or not well, of endpoints that
// are not shown: this process has not used them.
func (h *handler) elsewhere(f *endpoint.FleetSnapshot, shown []endpointView) (views []fleetCircuitView) {
	here := map[string]bool{}
	for _, e := range shown {
		here[e.key] = true
	}
	times := map[string]int{}
	all := slices.Clone(f.Circuits)
	slices.SortStableFunc(all, func(a, b endpoint.SharedCircuit) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range all {
		if here[c.Name] || c.State == breaker.Closed && !c.Forced && c.Failures == 0 || len(views) == maxElsewhere {
			continue
		}
		v := newFleetCircuitView(c, h.frames.looked)
		times[c.Name]++
		v.ID = "f" + h.digest("fleet", fmt.Sprint(c.Name, times[c.Name]))
		if v.Cause != "" {
			v.Notes = slices.Insert(v.Notes, 0, v.Cause)
		}
		v.Cause, v.Notes = strings.Join(v.Notes, ", "), nil
		views = append(views, v)
	}
	return views
}
