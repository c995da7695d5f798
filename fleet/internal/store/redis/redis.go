package redis

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"llmcall/fleet/internal/store"
)

// ErrClosed is the error of what a closed store is asked for.
var ErrClosed = errors.New("the store is closed")

// atOnce is how many exchanges are under way at most.
const atOnce = 4

// Store is a [store.Store]. It is safe for concurrent use.
type Store struct {
	option rueidis.ClientOption
	log    *slog.Logger
	doors  *doors
	turns  chan struct{}   // exchanges under way
	ctx    context.Context // ends with Close
	end    context.CancelFunc
	sent   sync.Map // SHA-1 of the scripts whose text was sent

	mu      sync.Mutex
	client  rueidis.Client
	attempt *attempt // to make the client, if one is under way
	why     error    // the last connection failed
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
	s := &Store{log: log, turns: make(chan struct{}, atOnce), ctx: ctx, end: end}
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
		return nil, ctx.Err()
	}
}

func (s *Store) dial(a *attempt) {
	defer close(a.done)
	client, err := rueidis.NewClient(s.option)
	if err != nil {
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
		a.client, s.client = client, client
	}
}

// explain returns why a connection failed: what the server has said, and not that it is not
// tried again yet.
func (s *Store) explain(err error) error {
	switch {
	case s.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, errHeld) {
		if s.why != nil {
			return s.why
		}
		return err
	}
	if errors.Is(err, rueidis.ErrClosing) && s.client != nil {
		// A client that a Sentinel has left with a closed connection does not recover.
		go s.client.Close()
		s.client = nil
	}
	s.why = err
	s.log.Debug("fleet: connection", "error", err)
	return err
}

// answer is what f of do has returned.
type answer[T any] struct {
	got T
	err error
}

// do runs f on a goroutine of its own. It returns f's answer, or an error as soon as ctx ends.
// f is given the client, and a context that ends a little before ctx does in a Cluster, so that
// what the other nodes have answered is not lost for one that does not; elsewhere it does not
// end with ctx, so that a connection that takes longer is made all the same.
func do[T any](ctx context.Context, s *Store, f func(context.Context, rueidis.Client) T) (T, error) {
	var none T
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return none, s.ended(ctx)
	}
	answered := make(chan answer[T], 1)
	go func() {
		defer func() { <-s.turns }()
		client, err := s.connect(ctx)
		if err != nil || ctx.Err() != nil {
			answered <- answer[T]{err: cmp.Or(err, ctx.Err())}
			return
		}
		inner, cancel := s.within(ctx, client)
		defer cancel()
		answered <- answer[T]{got: f(inner, client)}
	}()
	select {
	case a := <-answered:
		return a.got, a.err
	case <-ctx.Done():
		return none, s.ended(ctx)
	}
}

// within returns the context of an exchange.
func (s *Store) within(ctx context.Context, client rueidis.Client) (context.Context, context.CancelFunc) {
	if end, has := ctx.Deadline(); has && client.Mode() == rueidis.ClientModeCluster {
		return context.WithDeadline(s.ctx, end.Add(-time.Until(end)/10))
	}
	return context.WithTimeout(s.ctx, s.option.ConnWriteTimeout)
}

// ended is ctx's error, with what the connection said last if there is none.
func (s *Store) ended(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil && s.why != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), s.why)
	}
	return ctx.Err()
}

// Run implements [store.Store].
func (s *Store) Run(ctx context.Context, calls []store.Call) []store.Result {
	if len(calls) == 0 {
		return nil
	}
	results, err := do(ctx, s, func(ctx context.Context, client rueidis.Client) []store.Result {
		return s.exchange(ctx, client, calls)
	})
	if err != nil {
		return slices.Repeat([]store.Result{{Err: err}}, len(calls))
	}
	return results
}

// exchange sends calls, and once more with their texts those that the server does not know.
func (s *Store) exchange(ctx context.Context, client rueidis.Client, calls []store.Call) []store.Result {
	publish := "publish"
	if client.Mode() == rueidis.ClientModeCluster {
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
		if _, told := rueidis.IsRedisErr(err); told {
			return store.Result{Err: fmt.Errorf("%s: %w", name, err)}
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
	return one(do(ctx, s, func(ctx context.Context, client rueidis.Client) answer[string] {
		text, err := client.Do(ctx, client.B().Get().Key(key).Build()).ToString()
		if rueidis.IsRedisNil(err) {
			text, err = client.Do(ctx, client.B().Set().Key(key).Value(first).Nx().Get().Build()).ToString()
		}
		if rueidis.IsRedisNil(err) {
			return answer[string]{first, nil}
		}
		if err != nil {
			return answer[string]{"", s.explain(err)}
		}
		return answer[string]{text, nil}
	}))
}

func one[T any](a answer[T], err error) (T, error) {
	if err != nil {
		return a.got, err
	}
	return a.got, a.err
}

// Keys implements [store.Store]. With an error, it returns the keys of the nodes that answered.
func (s *Store) Keys(ctx context.Context, prefix string) ([]string, error) {
	pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(prefix) + "*"
	return one(do(ctx, s, func(ctx context.Context, client rueidis.Client) answer[[]string] {
		var a answer[[]string]
		for _, node := range client.Nodes() {
			var entry rueidis.ScanEntry
			var err error
			for again := true; again; again = entry.Cursor != 0 && err == nil {
				entry, err = node.Do(ctx, node.B().Scan().Cursor(entry.Cursor).Match(pattern).Count(1000).Build()).AsScanEntry()
				a.got = append(a.got, entry.Elements...)
			}
			if err != nil {
				a.err = s.explain(err)
			}
		}
		slices.Sort(a.got) // a Cluster's replicas have the same ones
		a.got = slices.Compact(a.got)
		return a
	}))
}
