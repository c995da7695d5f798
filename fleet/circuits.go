package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/internal/nearest"
)

// Circuit is a circuit of the fleet, as the store has it.
type Circuit = endpoint.SharedCircuit

// UnknownCircuitError is the error of [Fleet.Force] and [Fleet.Reset] for an ID that no
// circuit has.
type UnknownCircuitError struct {
	ID      string
	Nearest string // the ID that was probably meant; "": none
}

// Error names the ID, and the nearest one.
func (e *UnknownCircuitError) Error() string {
	text := fmt.Sprintf("fleet: there is no circuit %q", e.ID)
	if e.Nearest != "" {
		text += fmt.Sprintf("; did you mean %q?", e.Nearest)
	}
	return text
}

// look is what the script says of a circuit.
type look struct {
	State     string `json:"state"`
	Name      string `json:"name"`
	Settings  string `json:"c"`
	Living    int    `json:"living"`
	Failures  int    `json:"failures"`
	Leases    int    `json:"leases"`
	Reporters int    `json:"reporters"`
	Least     int    `json:"least"`
}

const circuitPart = ":circuit:"

// Circuits returns the circuits that the store has, by their names: of those that this process
// shares, as [endpoint.Key.String] has them here. The error is the store's, or ctx's.
func (f *Fleet) Circuits(ctx context.Context) ([]Circuit, error) {
	places, err := f.places(ctx)
	if err != nil || len(places) == 0 {
		return nil, err
	}
	calls := make([]store.Call, len(places))
	for i, place := range places {
		calls[i] = lookAt(place)
	}
	var all []Circuit
	here := f.namesHere()
	for i, r := range f.store.Run(ctx, calls) {
		if r.Err != nil {
			return nil, r.Err
		}
		c, err := circuitOf(idOf(places[i]), r.Text)
		if err != nil {
			return nil, err
		}
		if name := here[places[i]]; name != "" {
			c.Name = name
		}
		if c.Generation > 0 { // it has not expired meanwhile
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Circuit) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

// namesHere returns the names that this process has for its endpoints, by the places of their
// circuits. The store has another if their keys were hashed with another secret than the fleet's.
func (f *Fleet) namesHere() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := map[string]string{}
	for s := range f.parts {
		if c, ok := s.part.(*circuit); ok {
			c.mu.Lock()
			names[c.place] = c.of.String()
			c.mu.Unlock()
		}
	}
	return names
}

// lookAt returns the call that looks at a circuit, and changes nothing.
func lookAt(place string) store.Call {
	return callOf(circuitScript, place, question{Op: "look", Failures: []failed{}, Held: []holding{}})
}

// readLook reads what the script says of the circuit with an ID.
func readLook(id, text string) (l look, st state, set settings, err error) {
	if err := errors.Join(json.Unmarshal([]byte(text), &l), json.Unmarshal([]byte(l.State), &st), json.Unmarshal([]byte(l.Settings), &set)); err != nil {
		return l, st, set, fmt.Errorf("fleet: the circuit %s can't be read: %w", id, err)
	}
	return l, st, set, nil
}

func circuitOf(id, text string) (Circuit, error) {
	l, st, set, err := readLook(id, text)
	if err != nil {
		return Circuit{}, err
	}
	st.at = time.Now()
	b := st.shared()
	c := Circuit{
		ID: id, Name: l.Name, State: b.State, Forced: b.Forced, Cause: b.Cause, By: st.By, Failures: l.Failures, Threshold: set.Threshold,
		Reporters: l.Reporters, MinReporters: l.Least, Probes: l.Leases, MaxProbes: set.Probes, Processes: l.Living,
		Generation: st.Generation, For: time.Duration(st.Age) * time.Millisecond,
	}
	switch {
	case b.Forced || b.State != breaker.Open:
	case b.RetryIn > 0:
		c.RetryIn = b.RetryIn
	default:
		c.State = breaker.HalfOpen
	}
	return c, nil
}

// places returns the keys of all circuits.
func (f *Fleet) places(ctx context.Context) ([]string, error) {
	keys, err := f.store.Keys(ctx, f.options.Namespace+":{")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.Contains(key, "}"+circuitPart) }), nil
}

// idOf returns the ID of a circuit at a place: what is in its braces, and what tells its
// settings apart.
func idOf(place string) string {
	_, rest, _ := strings.Cut(place, "{")
	tag, rest, _ := strings.Cut(rest, "}"+circuitPart)
	return tag + "-" + rest
}

// Force keeps a circuit OPEN or CLOSED in all processes until [Fleet.Reset]. why is shown to
// those whose calls are refused; "" keeps the reason of one that is forced OPEN already. changed
// is false if all that was so: then nobody hears of it. The error is an *[UnknownCircuitError],
// or the store's.
func (f *Fleet) Force(ctx context.Context, id string, to breaker.State, why string) (changed bool, err error) {
	switch to {
	case breaker.Open:
		return f.change(ctx, id, "open", why)
	case breaker.Closed:
		return f.change(ctx, id, "closed", "")
	}
	return false, &ConfigError{"to", to, "OPEN or CLOSED"}
}

// Reset closes a circuit in all processes, ends [Fleet.Force], and forgets the failures that
// were counted. changed is false if it was CLOSED without any. The error is like that of Force.
func (f *Fleet) Reset(ctx context.Context, id string) (changed bool, err error) {
	return f.change(ctx, id, "reset", "")
}

func (f *Fleet) change(ctx context.Context, id, op, why string) (changed bool, err error) {
	places, err := f.places(ctx)
	if err != nil {
		return false, err
	}
	known := make([]string, len(places))
	for i, place := range places {
		known[i] = idOf(place)
	}
	i := slices.Index(known, id)
	if i < 0 {
		e := &UnknownCircuitError{ID: id}
		if at, near := nearest.Name(id, known); near {
			e.Nearest = known[at]
		}
		return false, e
	}
	r := f.store.Run(ctx, []store.Call{lookAt(places[i])})[0]
	if r.Err != nil {
		return false, r.Err
	}
	l, st, set, err := readLook(id, r.Text)
	if err != nil {
		return false, err
	}
	q := question{Op: op, Name: f.name, Why: why, Settings: set, Failures: []failed{}, Held: []holding{}}
	// Each change of a state begins a generation, of which all processes tell their operators.
	switch {
	case op == "open" && st.State == stateForcedOpen && (why == "" || why == st.Kind),
		op == "closed" && st.State == stateForcedClosed,
		op == "reset" && st.State == stateClosed && l.Failures == 0:
		return false, nil
	}
	err = f.store.Run(ctx, []store.Call{callOf(circuitScript, places[i], q)})[0].Err
	return err == nil, err
}
