package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/redis"
)

// DefaultNamespace is the default of [Options.Namespace].
const DefaultNamespace = "llmcall"

// secretWait is how long [Open] waits for the secret of the fleet, and secretPause how long
// until it asks again a store that has not answered: both may have been started together.
const (
	secretWait  = 2 * time.Second
	secretPause = 100 * time.Millisecond
)

// Options are what [Open] takes besides the address of the store. The zero value of each
// field means its default.
type Options struct {
	// Namespace is what the keys in the store begin with, so that several fleets can
	// use one. Default [DefaultNamespace].
	Namespace string
	// Secret makes the keys of endpoints in the store, from which no credential can be
	// derived; all processes of the fleet need the same. Default "": one that the first
	// process puts into the store, where the others find it.
	Secret string
	// Only are the endpoints that are shared, by their names or their models, as patterns
	// of [path.Match]: "acme/*". Default: all.
	Only []string
	// Names returns further names of an endpoint for Only: those under which the program
	// has opened its models, where a configuration has names of its own for providers.
	// Default nil: none.
	Names func(endpoint.Key) []string
	// MinReporters is the number of processes whose failures open a circuit of the fleet,
	// or all that were seen if they are fewer. Default 0: two, or a tenth of those that
	// were seen in the failure window if that is more; one if it is alone.
	MinReporters int
	// Log is told when the store is lost, when it is back, and when its secret was found late.
	// Default [slog.Default].
	Log *slog.Logger
	// Endpoints is the configuration of [Fleet.Endpoints]. Its Fleet is not used.
	Endpoints endpoint.Config
}

// ConfigError is the error of [Open] for an option, or an address, that is impossible.
type ConfigError struct {
	Field string // "MinReporters"
	Got   any    // its value; of an address, without the password
	Takes string // what it must be
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("fleet: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

// Fleet shares circuits, rates and accounts with the other processes that have opened the
// same store. It is safe for concurrent use. [Open] makes one.
type Fleet struct {
	options   Options
	store     store.Store
	id        string // of this process in the store
	name      string // of this process, for people
	endpoints *endpoint.Registry
	doubt     atomic.Bool  // the store may have lost everything
	waiting   atomic.Int32 // calls that wait for the store
	slow      atomic.Bool  // the store's last answer came later than a call may wait
	// numbers are those of what is told. Circuits of one endpoint have them in common: it
	// may be collected and made again.
	numbers atomic.Uint64
	many    atomic.Int64 // parts
	clock   clock        // the store's

	// The worker's, once it runs:
	secret  string
	sure    bool  // secret is that of the fleet; otherwise it is if the store has none
	failing error // of something that the store was asked last

	ctx     context.Context // ends when the fleet is closed
	cancel  func()
	woken   chan struct{}
	closing chan struct{}
	close   func()
	ended   chan struct{}

	mu     sync.Mutex
	parts  map[*shared]struct{}
	closed bool
	status Status
}

var _ endpoint.Fleet = (*Fleet)(nil)

// Status says whether the store of a fleet answers.
type Status struct {
	// Connected says that the store has answered the last time it was asked: first by [Open],
	// or with [Options.Secret] at once after it; then each second by a process that shares a
	// circuit.
	Connected bool
	Since     time.Time // when that began
	// Err is why it does not answer; if Connected, why a part of what it is asked fails, as
	// when a Cluster has lost a node, or its user may not run a command. That part goes on
	// alone. nil, and not Connected: it was not asked yet.
	Err       error
	Processes int // that share a circuit with this one, itself included
}

// Open begins to share endpoints through a Redis server: redis://[USER:PASSWORD@]HOST:PORT[/DB],
// rediss:// with TLS; for a Sentinel with ?master_set=NAME and &addr=HOST:PORT for each
// further one; for a Cluster with one of its servers, and &addr=HOST:PORT for further ones.
//
// The error is a *[ConfigError] for an impossible address or option. A store that can't be
// reached is not an error: the process works alone until it can. Without a [Options.Secret], Open
// waits two seconds for the store, which has that of the fleet. Open must be called before the first
// model is made.
func Open(url string, o Options) (*Fleet, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s, err := redis.Open(url, cmp.Or(o.Log, slog.Default()))
	if err != nil {
		return nil, &ConfigError{Field: "address", Got: err, Takes: "that of a Redis server, such as redis://127.0.0.1:6379/0"}
	}
	return open(s, o)
}

func (o *Options) check() error {
	if o.MinReporters < 0 {
		return &ConfigError{"MinReporters", o.MinReporters, "a whole number of at least 1 (0 is the default)"}
	}
	if strings.ContainsAny(o.Namespace, "{}") {
		return &ConfigError{"Namespace", fmt.Sprintf("%q", o.Namespace), "a text without braces, which tell a Cluster where a key belongs"}
	}
	for i, pattern := range o.Only {
		if _, err := path.Match(pattern, ""); err != nil {
			return &ConfigError{fmt.Sprintf("Only[%d]", i), fmt.Sprintf("%q", pattern), `a pattern such as "acme/*"`}
		}
	}
	return nil
}

// open is Open with a store that was made.
func open(s store.Store, o Options) (*Fleet, error) {
	o.Namespace, o.Log = cmp.Or(o.Namespace, DefaultNamespace), cmp.Or(o.Log, slog.Default())
	f := &Fleet{
		options: o, store: s, id: rand.Text()[:6], name: processName(), parts: map[*shared]struct{}{},
		woken: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	f.status = Status{Since: time.Now()}
	f.close = sync.OnceFunc(func() { close(f.closing) })
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.secret, f.sure = o.Secret, o.Secret != ""
	if !f.sure {
		f.awaitSecret()
	}
	if !endpoint.Seed(f.secret) {
		o.Log.Warn("llmcall: keys were hashed before the fleet was opened; endpoints with a key are not shared")
	}
	o.Endpoints.Fleet = f
	var err error
	if f.endpoints, err = endpoint.NewRegistry(o.Endpoints); err != nil {
		f.cancel()
		s.Close()
		return nil, err
	}
	go f.run()
	return f, nil
}

// processName names this process for people: the host's name and the number of the process.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

// awaitSecret waits for the secret of the fleet. A process that does not get it in time begins with
// one of its own, and asks again as soon as the store answers.
func (f *Fleet) awaitSecret() {
	var first [32]byte
	_, _ = rand.Read(first[:]) // never fails
	f.secret = hex.EncodeToString(first[:])
	ctx, cancel := context.WithTimeout(f.ctx, secretWait)
	defer cancel()
	var why error // of the last attempt that was not cut short
	for {
		secret, err := f.store.Secret(ctx, f.options.Namespace+":secret", f.secret)
		if err == nil {
			f.heard(true, nil)
			f.secret, f.sure = secret, true
			return
		}
		if why == nil || ctx.Err() == nil {
			why = err
		}
		select {
		case <-time.After(secretPause):
		case <-ctx.Done():
			f.heard(false, why)
			f.options.Log.Warn("llmcall: the fleet's secret can't be read: this process shares no endpoints until it can", "error", why)
			return
		}
	}
}

// askSecret asks the store for the secret of the fleet, and puts its own there if there is none: so
// a store that has lost everything gets it back. If it has another one than this process, that is
// the secret from now on, as of a process that began while the store could not be reached, or of
// all but the one that came first to a store that was emptied.
func (f *Fleet) askSecret() error {
	if f.options.Secret != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(f.ctx, runTimeout)
	defer cancel()
	secret, err := f.store.Secret(ctx, f.options.Namespace+":secret", f.secret)
	if err != nil {
		return err
	}
	switch {
	case !f.sure:
		f.options.Log.Info("llmcall: the fleet's secret was read: this process shares its endpoints from now on")
	case secret != f.secret:
		f.options.Log.Warn("llmcall: the fleet's store has another secret than this process: its endpoints are shared by that one from now on")
		f.wake()
	default:
		return nil
	}
	f.secret, f.sure = secret, true
	return nil
}

// Endpoints returns the registry of the endpoints that are shared. Calls that are to share
// theirs are made with it: it is the Endpoints of a call's configuration, of a transport, a
// judge and a gateway.
func (f *Fleet) Endpoints() *endpoint.Registry { return f.endpoints }

// Close ends the sharing, and the connections. Circuits and rates stay as they are, and are
// those of this process from then on. Accounts give back what they have not used, and lend
// nothing any more. Close may be called again, also at the same time: it returns when that is
// done.
func (f *Fleet) Close() error {
	f.close()
	<-f.ended
	f.cancel()
	f.store.Close()
	return nil
}

// end leaves all parts to themselves.
func (f *Fleet) end() {
	f.mu.Lock()
	f.closed = true
	parts := f.parts
	f.parts = map[*shared]struct{}{}
	f.mu.Unlock()
	f.leave(parts)
	for s := range parts {
		s.part.alone(true)
		s.stop()
	}
}

// Status reports whether the store answers.
func (f *Fleet) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// met records how many processes share a circuit with this one.
func (f *Fleet) met(processes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Processes = max(1, processes)
}

// heard records whether the store has answered, and what failed, and tells the operator of a
// change.
func (f *Fleet) heard(answered bool, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v: %w", runTimeout, err)
	}
	f.mu.Lock()
	was := f.status
	first := was.Err == nil && !was.Connected
	f.status.Connected, f.status.Err = answered, err
	if was.Connected != answered {
		f.status.Since = time.Now()
	}
	since := was.Since
	f.mu.Unlock()
	switch {
	case !answered && first:
		f.options.Log.Warn("llmcall: the fleet's store does not answer, this process goes on alone until it does", "error", err)
	case !answered && was.Connected:
		f.options.Log.Warn("llmcall: the fleet's store is lost, this process goes on alone until it is back", "error", err)
	case answered && err != nil && (!was.Connected || was.Err == nil):
		f.options.Log.Warn("llmcall: the fleet's store fails for some of what it is asked, which goes on alone", "error", err)
	case answered && err == nil && was.Connected && was.Err != nil:
		f.options.Log.Info("llmcall: the fleet's store does all that it is asked again")
	case answered && !was.Connected && !first:
		f.options.Log.Info("llmcall: the fleet's store is back, this process shares again", "lost_for", time.Since(since).Round(time.Millisecond))
	}
}
