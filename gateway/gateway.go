package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/gateway/internal/clients"
	"llmcall/gateway/internal/page"
	"llmcall/llm"
	"llmcall/provider"
)

// Options are what a [Gateway] gets from its program, beside its configuration. The zero
// value works.
type Options struct {
	// Open opens models by their full names; see [provider.OpenAll]. Default: that
	// function, which knows the adapters that the program imports.
	Open func(names []string, own map[string]provider.Own) ([]llm.Model, error)
	// Endpoints is the registry of what calls share, whose configuration should have
	// [Gateway.CircuitChanged]. Default: one of the gateway's own.
	Endpoints *endpoint.Registry
	// Observer is told of all calls, such as those of packages metrics and otel. Default
	// nil.
	Observer llmcall.Observer
	// OnRequest is called at the end of each request for an answer. Default nil.
	OnRequest func(Served)
	// Begin is called at the beginning of each request, and may return a context for it and
	// the identifier of its trace, which clients see. end is called at its end. Default: an
	// identifier is made.
	Begin func(r *http.Request) (ctx context.Context, traceID string, end func(status int))
	// Metrics serves /metrics. Default nil: there is none.
	Metrics http.Handler
	// Limits has the limits of clients of a minute and of a day: a *fleet.Fleet of package
	// [llmcall/fleet], so that all gateways of the fleet have them together. Config.StateDir
	// is not used then. Default nil: they are those of this gateway.
	Limits Limits
	// Fleet returns what is known of the fleet that Endpoints are shared with, for /ui: at
	// most once a second, while somebody looks, and within its context. Default nil: there
	// is none.
	Fleet func(context.Context) endpoint.FleetSnapshot
	// FleetCircuits forces and resets the circuits of that fleet, for /ui: a *fleet.Fleet of
	// package [llmcall/fleet]. The buttons have the same protection as those of the gateway's
	// own circuits. Default nil: there are none for the fleet.
	FleetCircuits FleetCircuits
	// Log is for what an operator must know. Default: [slog.Default].
	Log *slog.Logger
	// Version is shown on /ui. Default "".
	Version string
	// Practice says that Open opens models whose answers are invented. A header of each
	// answer says so. Default false.
	Practice bool
}

// Limits shares what clients may use with other processes. A *fleet.Fleet of package
// [llmcall/fleet] does.
type Limits interface {
	// Account returns an account of a day whose limit all processes have together that made
	// one of the same name.
	Account(name string, limit endpoint.Amount, day *time.Location, above ...*account.Account) *account.Account
	// Meter returns a limit of a minute that all processes have together that made one of
	// the same name. perMinute is more than 0.
	Meter(name string, perMinute float64) account.Meter
}

// FleetCircuits forces and resets circuits of a fleet, by [endpoint.SharedCircuit.ID]. A
// *fleet.Fleet of package [llmcall/fleet] does.
type FleetCircuits interface {
	// Force keeps a circuit OPEN or CLOSED in all processes until Reset. why is shown to those
	// whose calls are refused. did is false if it was so already.
	Force(ctx context.Context, id string, to breaker.State, why string) (did bool, err error)
	// Reset closes a circuit in all processes, and ends Force. did is false if it was
	// closed already.
	Reset(ctx context.Context, id string) (did bool, err error)
}

// Served is a request for an answer that has ended.
type Served struct {
	Route     string        // "" for a name that no route has
	Client    string        // "" where none are configured
	Protocol  string        // "openai", "openai-responses", "anthropic" or "gemini"
	Stream    bool          // the client has asked for a stream
	Status    int           // of HTTP; 499 if the client left before there was one
	Code      string        // of the error; "" for an answer
	Limit     string        // which limit of the client has refused it; "": none
	Duration  time.Duration // of the whole request
	FirstByte time.Duration // until the first byte of an answer; 0 if there was none
}

// Gateway serves calls over HTTP. It is safe for concurrent use.
type Gateway struct {
	options Options
	calls   *page.Ring
	ui      http.Handler
	started time.Time

	reload sync.Mutex
	state  atomic.Pointer[state]

	mu       sync.Mutex
	draining bool
	active   map[uint64]*active
	number   uint64
	idle     chan struct{} // closed when nothing is in flight after the drain began
	done     chan struct{} // closed when the streams of /ui are to end
	ended    sync.Once
}

// Asking says on whose behalf a call is made.
type Asking struct {
	Route   string // the name of the model that the client has asked for
	Client  string // the name of the client; "" if none are configured
	TraceID string // as the client is told
}

// AskingOf returns on whose behalf the call is made that a context belongs to, such as that
// of an observer's event or of a log's line. ok is false for any other context.
func AskingOf(ctx context.Context) (who Asking, ok bool) {
	a, ok := ctx.Value(activeKey{}).(*active)
	if ok {
		who = a.who
	}
	return who, ok
}

// active is a request in flight.
type active struct {
	who     Asking
	cancel  context.CancelCauseFunc
	waiting bool
}

// state is a configuration as it is served.
type state struct {
	cfg    *Config
	book   *clients.Book // nil if no clients are configured
	admin  string        // the hash of the operator's key
	routes map[string]*served

	mu   sync.Mutex
	open map[string]*served // of names that clients made up, by AnyModel
}

// rows is the number of calls that /ui shows.
const rows = 200

// New makes a gateway. It opens the models, and makes no request. The error says what is
// impossible, or which key is missing.
func New(cfg *Config, o Options) (*Gateway, error) {
	if o.Open == nil {
		o.Open = func(names []string, own map[string]provider.Own) ([]llm.Model, error) {
			return provider.OpenAll(names, own, provider.Options{})
		}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	g := &Gateway{started: time.Now(), active: map[uint64]*active{}, done: make(chan struct{}), calls: page.NewRing(rows, cfg.ShowContents)}
	switch joined := cfg.Fleet.Address != ""; {
	case joined && o.Endpoints == nil:
		return nil, &llmcall.ConfigError{Field: "fleet", Err: errors.New("has no effect unless Options.Endpoints is set: to those of the fleet, as package llmcall/fleet opens it")}
	case joined && o.Limits == nil && len(cfg.Clients) > 0:
		return nil, &llmcall.ConfigError{Field: "fleet", Err: errors.New("has no effect on clients unless Options.Limits is set: to the fleet, as package llmcall/fleet opens it")}
	}
	if o.Endpoints == nil {
		var err error
		if o.Endpoints, err = endpoint.NewRegistry(endpoint.Config{OnStateChange: g.CircuitChanged}); err != nil {
			return nil, err
		}
	}
	g.options = o
	g.options.Observer = llmcall.Observers(g.calls.Observer(), o.Observer)
	g.ui = page.Handler(page.Options{
		Registry: o.Endpoints, Calls: g.calls, Clients: g.rows, Names: g.names, Writable: g.writes, Contents: cfg.ShowContents,
		Fleet: o.Fleet, FleetCircuits: o.FleetCircuits, Version: o.Version, Started: g.started, Done: g.done, Log: o.Log,
	})
	s, err := g.compile(cfg)
	if err != nil {
		return nil, err
	}
	if len(cfg.Clients) > 0 {
		if s.book, err = g.openBook(cfg); err != nil {
			return nil, err
		}
	}
	g.state.Store(s)
	return g, nil
}

// openBook opens the book of a configuration's clients.
func (g *Gateway) openBook(cfg *Config) (*clients.Book, error) {
	return clients.Open(cfg.StateDir, cfg.book(), clients.Options{Log: g.options.Log, Shared: g.options.Limits})
}

// CircuitChanged shows on /ui that a circuit has changed its state. It is for
// [endpoint.Config.OnStateChange].
func (g *Gateway) CircuitChanged(e *endpoint.Endpoint, t breaker.Transition) { g.calls.Changed(e, t) }

// Accounts returns the accounts of the clients that have a limit of money, by their names:
// what was spent by this gateway, and with Options.Limits by others.
func (g *Gateway) Accounts() []account.Snapshot {
	s := g.state.Load()
	if s == nil || s.book == nil {
		return nil
	}
	var all []account.Snapshot
	for _, c := range s.book.All() {
		if c.MaxCostPerDay > 0 {
			all = append(all, account.Snapshot{
				Name: c.Name, Limit: endpoint.Amount{Nanos: int64(c.MaxCostPerDay * account.Dollar)},
				Spent: endpoint.Amount{Nanos: c.Spent}, Others: endpoint.Amount{Nanos: c.Others}, Reserved: endpoint.Amount{Nanos: c.Reserved},
			})
		}
	}
	return all
}

// compile opens a configuration's models.
func (g *Gateway) compile(cfg *Config) (*state, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &state{cfg: cfg, admin: cfg.Admin.SHA256, routes: map[string]*served{}, open: map[string]*served{}}
	for _, name := range slices.Sorted(maps.Keys(cfg.Routes)) {
		r := cfg.Routes[name]
		if name == AnyModel {
			continue
		}
		compiled, err := g.newRoute(cfg, name, r, r.AllModels())
		if err != nil {
			return nil, fmt.Errorf("routes.%s: %w", name, err)
		}
		s.routes[name] = compiled
		for i, k := range cfg.Clients {
			if k.MaxCostPerDay == 0 || len(k.Routes) > 0 && !slices.Contains(k.Routes, name) && !slices.Contains(k.Routes, AnyModel) {
				continue
			}
			if err := compiled.priced(g); err != nil {
				return nil, fmt.Errorf("routes.%s, for clients[%d].max_cost_per_day: %w", name, i, err)
			}
		}
	}
	return s, nil
}

func (g *Gateway) open(names []string, own map[string]llmcall.OwnProvider) ([]llm.Model, error) {
	theirs := map[string]provider.Own{}
	for name, p := range own {
		theirs[name] = provider.Own(p)
	}
	return g.options.Open(names, theirs)
}

// Reload serves another configuration from now on. If it is impossible, the error says why,
// and the old one is kept. Requests in flight end as they began. Circuits, pacers, the
// accounts of clients and what /ui shows go on. The addresses, StateDir and ShowContents are
// those that the gateway began with; another StateDir or Fleet is refused.
func (g *Gateway) Reload(cfg *Config) error {
	g.reload.Lock()
	defer g.reload.Unlock()
	g.mu.Lock()
	ended := g.draining
	g.mu.Unlock()
	if ended {
		return errDraining // a book of clients that it opened would never be closed
	}
	old := g.state.Load()
	if cfg.StateDir != old.cfg.StateDir {
		return &llmcall.ConfigError{Field: "state_dir", Got: cmp.Or(cfg.StateDir, "nothing"), Takes: fmt.Sprintf("%q until the gateway is started again", old.cfg.StateDir)}
	}
	if err := sameFleet(cfg.Fleet, old.cfg.Fleet); err != nil {
		return err
	}
	// What may be shown without a key depends on where the gateway listens.
	here := *cfg
	here.Listen, here.Admin.Listen = old.cfg.Listen, old.cfg.Admin.Listen
	cfg = &here
	s, err := g.compile(cfg)
	if err != nil {
		return err
	}
	switch {
	case len(cfg.Clients) == 0 && old.book != nil:
		return &llmcall.ConfigError{Field: "clients", Got: "none", Takes: "at least one client until the gateway is started again: else everybody could ask"}
	case old.book != nil:
		if err := old.book.Reload(cfg.book()); err != nil {
			return err
		}
		s.book = old.book
	case len(cfg.Clients) > 0:
		if s.book, err = g.openBook(cfg); err != nil {
			return err
		}
	}
	g.state.Store(s)
	return nil
}

// sameFleet returns an error if a fleet is not the one that the gateway began with: its
// endpoints have what they share with others from it.
func sameFleet(now, began llmcall.Fleet) error {
	for _, f := range []struct {
		field      string
		same       bool
		now, began string
	}{
		{"fleet", now.Address == began.Address, now.String(), began.String()},
		{"fleet_only", slices.Equal(now.Only, began.Only), strings.Join(now.Only, ", "), strings.Join(began.Only, ", ")},
		{"fleet_secret", now.Secret == began.Secret, now.Secret, began.Secret},
		{"fleet_min_reporters", now.MinReporters == began.MinReporters, whole(now.MinReporters), whole(began.MinReporters)},
	} {
		if f.same {
			continue
		}
		if f.now == f.began { // what is not shown is another
			f.now += " with another password or other options"
		}
		return &llmcall.ConfigError{Field: f.field, Got: cmp.Or(f.now, "nothing"), Takes: cmp.Or(f.began, "nothing") + " until the gateway is started again"}
	}
	return nil
}

// whole writes a number that is set.
func whole(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// hearing is how long requests that were cancelled at the end may take to end.
const hearing = 2 * time.Second

var errDraining = errors.New("the gateway is shutting down")

// Shutdown ends the gateway: new requests, and those that wait for a turn, get status 503,
// and those that a model answers may finish until ctx ends. Then they are cancelled. It
// returns ctx's error if some were.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	if g.idle == nil {
		g.idle = make(chan struct{})
		if len(g.active) == 0 {
			close(g.idle)
		}
	}
	g.draining = true
	for _, a := range g.active {
		if a.waiting {
			a.cancel(errDraining)
		}
	}
	idle := g.idle
	g.mu.Unlock()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = ctx.Err()
		g.mu.Lock()
		for _, a := range g.active {
			a.cancel(errDraining)
		}
		g.mu.Unlock()
		select {
		case <-idle:
		case <-time.After(hearing): // a model that does not hear, or a client that does not read
		}
	}
	g.ended.Do(func() { close(g.done) })
	g.reload.Lock()
	defer g.reload.Unlock()
	if s := g.state.Load(); s.book != nil {
		err = errors.Join(err, s.book.Close())
	}
	return err
}

// writes reports whether a request may force and reset circuits: on an address of the
// operator's own, with the key.
func (g *Gateway) writes(r *http.Request) bool {
	return g.state.Load().cfg.Admin.Listen != "" && g.operates(r)
}

type activeKey struct{}

// enter counts a request in flight. ok is false if the gateway is shutting down.
func (g *Gateway) enter(ctx context.Context, who Asking) (_ context.Context, leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return ctx, nil, false
	}
	g.number++
	number, a := g.number, &active{who: who}
	ctx, a.cancel = context.WithCancelCause(ctx)
	g.active[number] = a
	return context.WithValue(ctx, activeKey{}, a), func() {
		a.cancel(nil)
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.active, number)
		if g.draining && len(g.active) == 0 {
			close(g.idle)
		}
	}, true
}

// watchWaits is the observer that knows which calls wait for a turn.
func (g *Gateway) watchWaits(ctx context.Context, e llmcall.Event) context.Context {
	if e.Type != llmcall.EventWaiting && e.Type != llmcall.EventAttemptStarted {
		return nil
	}
	a, ok := ctx.Value(activeKey{}).(*active)
	if !ok {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.waiting = e.Type == llmcall.EventWaiting; a.waiting && g.draining {
		a.cancel(errDraining)
	}
	return nil
}

// names returns the names that the configuration has for an endpoint's model.
func (g *Gateway) names(key endpoint.Key) []string {
	s := g.state.Load()
	var names []string
	add := func(r *served) {
		for _, m := range r.seats {
			if m.EndpointKey() == key && !slices.Contains(names, m.Name()) {
				names = append(names, m.Name())
			}
		}
	}
	for _, r := range s.routes {
		add(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.open {
		add(r)
	}
	slices.Sort(names)
	return names
}

// rows are the clients for /ui.
func (g *Gateway) rows() []page.ClientRow {
	s := g.state.Load()
	if s == nil || s.book == nil {
		return nil
	}
	return clientRows(s.book.All())
}
