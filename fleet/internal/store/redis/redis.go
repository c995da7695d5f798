package redis

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"llmcall/fleet/internal/store"
)

// ErrClosed is the error of what a closed store is asked for.
var ErrClosed = errors.New("the store is closed")

// atOnce is how many exchanges with one server are under way at most.
const atOnce = 4

// Store is a [store.Store]. It is safe for concurrent use.
type Store struct {
	option rueidis.ClientOption
	log    *slog.Logger
	doors  *doors
	ctx    context.Context // ends with Close
	end    context.CancelFunc
	sent   sync.Map  // SHA-1 of the scripts whose text was sent
	mute   sync.Once // it was logged that channels may not be used

	mu      sync.Mutex
	client  rueidis.Client
	sharded bool     // the server has sharded channels; set before the client
	attempt *attempt // to make the client, if one is under way
	why     error    // the last connection failed
	turns   map[any]chan struct{}
}

type attempt struct {
	done   chan struct{} // closed when the rest is known
	client rueidis.Client
	err    error
}

// Open returns a store at a URL, redis://user:password@host:port/db, and rediss:// with TLS.
// ?master_set=NAME says that the address is a Sentinel's; &addr=host:port, as often as needed,
// names more Sentinels, or without master_set more nodes of a Cluster. TLS takes ca_file, and
// cert_file with key_file. What goes wrong with connections is logged at level Debug; log may
// be nil. Errors are about the URL: the server need not be there.
func Open(address string, log *slog.Logger) (*Store, error) {
	o, err := options(address)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Store{log: log, turns: map[any]chan struct{}{}, ctx: ctx, end: end}
	s.doors = newDoors(&o)
	s.option = o
	return s, nil
}

// Close implements [store.Store]. It does not wait.
func (s *Store) Close() {
	s.end()
	s.doors.close()
	s.mu.Lock()
	client := s.client
	s.client = nil
	s.mu.Unlock()
	if client != nil {
		go client.Close() // waits for a while for what is under way
	}
}

// connect returns the client, which it makes if there is none.
func (s *Store) connect(ctx context.Context) (rueidis.Client, error) {
	s.mu.Lock()
	if s.client != nil {
		defer s.mu.Unlock()
		return s.client, nil
	}
	if s.attempt == nil {
		s.attempt = &attempt{done: make(chan struct{})}
		go s.dial(s.attempt)
	}
	a := s.attempt
	s.mu.Unlock()
	select {
	case <-a.done:
		return a.client, a.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.why != nil {
			return nil, fmt.Errorf("%w (%w)", ctx.Err(), s.why)
		}
		return nil, ctx.Err()
	}
}

func (s *Store) dial(a *attempt) {
	defer close(a.done)
	client, err := rueidis.NewClient(s.option)
	sharded := false
	if err == nil && client.Mode() == rueidis.ClientModeCluster {
		if sharded, err = s.hasShards(client); err != nil {
			client.Close()
		}
	}
	if err != nil {
		s.yield(err)
		if errors.Is(err, context.DeadlineExceeded) && !errors.As(err, new(*unreachedError)) {
			err = fmt.Errorf("it has taken the connection, and says nothing for %v", s.option.Dialer.Timeout)
		}
		a.err = s.explain(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt = nil
	switch {
	case err != nil:
	case s.ctx.Err() != nil:
		a.err = ErrClosed
		go client.Close()
	default:
		a.client, s.client, s.sharded = client, client, sharded
	}
}

// hasShards reports whether the servers of a Cluster have the channels of its slots: those
// before version 7 have only channels of the whole Cluster. Who may not ask is taken to have them.
func (s *Store) hasShards(client rueidis.Client) (bool, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.option.Dialer.Timeout)
	defer cancel()
	known, err := client.Do(ctx, client.B().CommandInfo().CommandName("spublish").Build()).ToArray()
	if _, told := rueidis.IsRedisErr(err); told {
		return true, nil
	}
	return len(known) == 1 && !known[0].IsNil(), err
}

// yield makes the next greeting ask for less, where this one was refused for what it asked.
func (s *Store) yield(err error) {
	said, told := rueidis.IsRedisErr(err)
	if !told {
		return
	}
	o, text := &s.option, said.Error()
	switch {
	case strings.HasPrefix(text, "NOPROTO"): // it knows HELLO, and RESP2 alone
		o.AlwaysRESP2 = true
	case strings.Contains(text, "'SETNAME'"), strings.Contains(text, "client|setname"): // no CLIENT
		o.ClientName, o.Sentinel.ClientName = "", ""
	case strings.HasPrefix(text, "NOAUTH"): // a Sentinel with the servers' password
		o.Sentinel.Username, o.Sentinel.Password = o.Username, o.Password
	}
}

// explain returns why a connection failed: what the server has said, and not that it is not
// tried again yet.
func (s *Store) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return ErrClosed
	case errors.As(err, new(*unreachedError)): // its time is not the caller's
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	err = denied(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, errHeld) || errors.Is(err, net.ErrClosed) { // it was left
		if s.why != nil {
			return s.why
		}
		return err
	}
	s.why = err
	s.log.Debug("fleet: connection", "error", err)
	return err
}

// denied says what to do about a user who may do too little: of what a script was not allowed, the
// server's error does not name the command.
func denied(err error) error {
	e, told := rueidis.IsRedisErr(err)
	if told && (strings.HasPrefix(e.Error(), "NOPERM") || strings.Contains(e.Error(), "user executing the script")) {
		return fmt.Errorf("%w (the server's ACL LOG says what it was, and docs/fleet.md what the user must be allowed)", err)
	}
	return err
}

// answer is what a task has returned.
type answer[T any] struct {
	got T
	err error
}

// task is something that one server is asked.
type task[T any] struct {
	of any // the server, or what stands for it: at most atOnce tasks of one are under way
	do func(context.Context) (T, error)
}

// gather runs tasks, each on a goroutine of its own, until ctx ends. The answers that are not
// there by then have ctx's error. The context of the tasks does not end with ctx: a connection
// that takes longer is made all the same.
func gather[T any](ctx context.Context, s *Store, tasks []task[T]) []answer[T] {
	type numbered struct {
		i int
		answer[T]
	}
	answers := make([]answer[T], len(tasks))
	there := make([]bool, len(tasks))
	come := make(chan numbered, len(tasks))
	for i, t := range tasks {
		go func() {
			turns := s.turnsOf(t.of)
			select {
			case turns <- struct{}{}:
				defer func() { <-turns }()
			case <-ctx.Done():
				return
			}
			within, cancel := context.WithTimeout(s.ctx, s.option.ConnWriteTimeout)
			defer cancel()
			got, err := t.do(within)
			come <- numbered{i, answer[T]{got, err}}
		}()
	}
	for range tasks {
		select {
		case a := <-come:
			answers[a.i], there[a.i] = a.answer, true
		case <-ctx.Done():
			for i := range answers {
				if !there[i] {
					answers[i].err = ctx.Err()
				}
			}
			return answers
		}
	}
	return answers
}

// shards reports whether messages are those of a slot.
func (s *Store) shards() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sharded
}

// turnsOf returns a channel with a place for each task of a server that may be under way.
func (s *Store) turnsOf(server any) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns[server] == nil {
		s.turns[server] = make(chan struct{}, atOnce)
	}
	return s.turns[server]
}

// Run implements [store.Store]. In a Cluster, a node that does not answer holds up no other.
func (s *Store) Run(ctx context.Context, calls []store.Call) []store.Result {
	if len(calls) == 0 {
		return nil
	}
	results := make([]store.Result, len(calls))
	client, err := s.connect(ctx)
	if err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	// What is at one slot is at one node. Without a Cluster, all is at one.
	slots := map[uint16][]int{}
	for i, c := range calls {
		get := client.B().Get().Key(c.Key).Build()
		slots[get.Slot()] = append(slots[get.Slot()], i)
	}
	var tasks []task[[]store.Result]
	var places [][]int
	for slot, at := range slots {
		some := make([]store.Call, len(at))
		for i, place := range at {
			some[i] = calls[place]
		}
		places = append(places, at)
		tasks = append(tasks, task[[]store.Result]{slot, func(within context.Context) ([]store.Result, error) {
			return s.exchange(within, client, some), nil
		}})
	}
	for i, a := range gather(ctx, s, tasks) {
		for n, place := range places[i] {
			if a.err != nil {
				results[place].Err = a.err
			} else {
				results[place] = a.got[n]
			}
		}
	}
	return results
}

// exchange sends calls of one slot, and once more with their texts those that the server does
// not know.
func (s *Store) exchange(ctx context.Context, client rueidis.Client, calls []store.Call) []store.Result {
	publish := "publish"
	if s.shards() {
		publish = "spublish"
	}
	withText := func(c store.Call) rueidis.Completed {
		return client.B().Eval().Script(c.Script.Text).Numkeys(1).Key(c.Key).Arg(publish).Arg(c.Args...).Build()
	}
	results := make([]store.Result, len(calls))
	cmds := make([]rueidis.Completed, len(calls))
	for i, c := range calls {
		sum := sha1.Sum([]byte(c.Script.Text))
		if _, sent := s.sent.LoadOrStore(sum, true); !sent {
			cmds[i] = withText(c)
			continue
		}
		cmds[i] = client.B().Evalsha().Sha1(hex.EncodeToString(sum[:])).Numkeys(1).Key(c.Key).Arg(publish).Arg(c.Args...).Build()
	}
	var unknown []int
	for i, r := range client.DoMulti(ctx, cmds...) {
		if e, ok := rueidis.IsRedisErr(r.Error()); ok && e.IsNoScript() {
			unknown = append(unknown, i)
			continue
		}
		results[i] = s.result(calls[i].Script.Name, r)
	}
	if unknown == nil {
		return results
	}
	cmds = cmds[:0]
	for _, i := range unknown {
		cmds = append(cmds, withText(calls[i]))
	}
	for i, r := range client.DoMulti(ctx, cmds...) {
		results[unknown[i]] = s.result(calls[unknown[i]].Script.Name, r)
	}
	return results
}

// result reads what a script has returned.
func (s *Store) result(name string, r rueidis.RedisResult) store.Result {
	message, err := r.ToMessage()
	switch {
	case rueidis.IsRedisNil(err):
		return store.Result{}
	case err != nil:
		if said, told := rueidis.IsRedisErr(err); told {
			if strings.Contains(said.Error(), "READONLY ") || strings.HasPrefix(said.Error(), "MASTERDOWN ") {
				// It was the master when the connection was made. The address may lead to another one now.
				s.mu.Lock()
				s.why = err // also of what else is asked by it
				s.mu.Unlock()
				s.doors.leave()
			}
			return store.Result{Err: fmt.Errorf("%s: %w", name, denied(err))}
		}
		return store.Result{Err: s.explain(err)}
	case message.IsInt64():
		n, err := message.AsInt64()
		return store.Result{Text: strconv.FormatInt(n, 10), Err: err}
	case message.IsString():
		text, err := message.ToString()
		return store.Result{Text: text, Err: err}
	}
	return store.Result{Err: fmt.Errorf("%s: %w", name, store.ErrNoText)}
}

// Secret implements [store.Store]. It only writes if there is nothing at the key: a full server
// tells its secret.
func (s *Store) Secret(ctx context.Context, key, first string) (string, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	a := gather(ctx, s, []task[string]{{key, func(within context.Context) (string, error) {
		text, err := client.Do(within, client.B().Get().Key(key).Build()).ToString()
		if !rueidis.IsRedisNil(err) {
			return text, s.explain(err)
		}
		// SET NX GET is one command, which servers before version 7 don't have.
		err = client.Do(within, client.B().Set().Key(key).Value(first).Nx().Build()).Error()
		if !rueidis.IsRedisNil(err) {
			return first, s.explain(err)
		}
		text, err = client.Do(within, client.B().Get().Key(key).Build()).ToString()
		return text, s.explain(err)
	}}})
	return a[0].got, a[0].err
}

// Keys implements [store.Store]. With an error, it returns the keys of the nodes that answered.
func (s *Store) Keys(ctx context.Context, prefix string) ([]string, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(prefix) + "*"
	var tasks []task[[]string]
	for address, node := range client.Nodes() {
		tasks = append(tasks, task[[]string]{address, func(within context.Context) ([]string, error) {
			var keys []string
			var cursor uint64
			for {
				entry, err := node.Do(within, node.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Build()).AsScanEntry()
				keys = append(keys, entry.Elements...)
				if cursor = entry.Cursor; err != nil || cursor == 0 {
					return keys, s.explain(err)
				}
			}
		}})
	}
	var keys []string
	for _, a := range gather(ctx, s, tasks) {
		keys = append(keys, a.got...)
		err = cmp.Or(err, a.err)
	}
	slices.Sort(keys) // a Cluster's replicas have the same ones
	return slices.Compact(keys), err
}
