package page

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// actTime is how long the store may take for what the form asks.
const actTime = 3 * time.Second

// ofFleet does what the form asks for to the fleet's circuits of an endpoint, of which there are
// several if its callers have several settings, and says what it was.
func (h *handler) ofFleet(ctx context.Context, name, do, why string) (done string, err error) {
	ctx, cancel := context.WithTimeout(ctx, actTime)
	defer cancel()
	defer h.frames.lookAgain()
	var act func(c endpoint.SharedCircuit) (bool, error)
	already := ""
	switch do {
	case "open":
		done, already = "forced open", "forced open already"
		act = func(c endpoint.SharedCircuit) (bool, error) {
			reason := why
			if why == "" && !(c.Forced && c.State == breaker.Open) { // which has a reason
				reason = byDefault
			}
			return h.FleetCircuits.Force(ctx, c.ID, breaker.Open, reason)
		}
	case "closed":
		done, already = "forced closed", "forced closed already"
		act = func(c endpoint.SharedCircuit) (bool, error) {
			return h.FleetCircuits.Force(ctx, c.ID, breaker.Closed, "")
		}
	case "reset":
		done, already = "reset", "closed already"
		act = func(c endpoint.SharedCircuit) (bool, error) { return h.FleetCircuits.Reset(ctx, c.ID) }
	default:
		return "", &wrongForm{"fleet-", do}
	}
	now := h.Fleet(ctx)
	circuits := circuitsOf(&now, name)
	switch {
	case !now.Connected || now.Err != nil:
		return "", fmt.Errorf("the fleet's store does not answer, so that nothing was changed: %s", storeSays(now.Err))
	case len(circuits) == 0:
		return "", fmt.Errorf("the fleet has no circuit of %s: fleet_only leaves it out, or nobody has used it for long", name)
	}
	changed := false
	for _, c := range circuits {
		one, err := act(c)
		if err != nil {
			return "", fmt.Errorf("the fleet's circuit was not changed: %s", storeSays(err))
		}
		changed = changed || one
	}
	if !changed {
		done = already
	}
	return done + " in the whole fleet", nil
}

// storeSays returns the words of a store's error.
func storeSays(err error) string {
	switch {
	case err == nil:
		return "it has not answered yet"
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	}
	return say.Line(err.Error(), 200)
}

// lookAgain makes the next frame show what has become of the fleet.
func (f *frames) lookAgain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked, f.until = time.Time{}, [2]time.Time{}
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
	Control                      *controlView // of a row of its own; nil: none
}

// controlView is the form by which an operator acts on an endpoint.
type controlView struct {
	Token, Endpoint, Label string
	Here                   bool // this gateway has used it
	Fleet                  bool // the fleet shares it, as far as is known
	Apart                  bool // there is a fleet, and it does not share it
	Processes              int  // of the fleet
}

// control returns the form for an endpoint, with the circuits of the fleet that it has.
func (h *handler) control(id, label string, here bool, circuits int) *controlView {
	c := &controlView{Token: h.token, Endpoint: id, Label: label, Here: here}
	if f := h.frames.fleet; f != nil && h.FleetCircuits != nil {
		known := f.Connected && f.Err == nil
		c.Fleet, c.Apart, c.Processes = circuits > 0 || !known, circuits == 0 && known, f.Processes
	}
	return c
}

// elsewhereID identifies an endpoint that this gateway has not used.
func (h *handler) elsewhereID(name string) string { return "f" + h.digest("fleet", name) }

// elsewhere returns the name of an endpoint that the fleet has used, as far as is known; "" if
// it has none of that id.
func (f *frames) elsewhere(h *handler, id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fleet != nil {
		for _, c := range f.fleet.Circuits {
			if h.elsewhereID(c.Name) == id {
				return c.Name
			}
		}
	}
	return ""
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
func (h *handler) elsewhere(f *endpoint.FleetSnapshot, shown []endpointView, writable bool) (views []fleetCircuitView) {
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
		id := h.elsewhereID(c.Name)
		v.ID = id + "-" + strconv.Itoa(times[c.Name])
		if writable && h.FleetCircuits != nil && times[c.Name] == 1 {
			v.Control = h.control(id, c.Name, false, 1)
		}
		if v.Cause != "" {
			v.Notes = slices.Insert(v.Notes, 0, v.Cause)
		}
		v.Cause, v.Notes = strings.Join(v.Notes, ", "), nil
		views = append(views, v)
	}
	return views
}
