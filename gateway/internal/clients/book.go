package clients

import (
	"cmp"
	"crypto/sha256"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a [Book] needs besides its clients. The zero value works.
type Options struct {
	// Log is told when the journal can't be written, when it can again, and what a process
	// that was killed has left in it. Default: [slog.Default].
	Log *slog.Logger
	// Shared has the limits of a day and of a minute, so that other processes have them too,
	// and there is no journal. Default nil: they are those of this process.
	Shared Shared
}

// Book has the clients of a gateway. It is safe for concurrent use.
type Book struct {
	options Options
	dir     string
	journal *journal // nil: there is no directory, or the limits are shared

	mu     sync.Mutex         // of Reload
	byName map[string]*Client // also of clients that were left out, until nothing is known of them
	listed atomic.Pointer[list]
}

// list has the clients of the configuration.
type list struct {
	all   []*Client
	byKey map[digest]*Client
}

// Open returns a book of clients. dir is the directory of the journal, which is made if it
// is missing; "": there is no journal, and no client may have a limit of money, unless limits
// are shared. The errors
// are *[ConfigError], *[LockedError] if another process has the directory, and *[StateError]
// if the journal can't be read or written.
func Open(dir string, all []Config, o Options) (*Book, error) {
	if err := Check(dir != "" || o.Shared != nil, all); err != nil {
		return nil, err
	}
	b := &Book{options: o, dir: dir, byName: map[string]*Client{}}
	if dir != "" && o.Shared == nil {
		var err error
		if b.journal, err = openJournal(dir, cmp.Or(o.Log, slog.Default())); err != nil {
			return nil, err
		}
	}
	b.list(all)
	return b, nil
}

// Reload makes all the clients of the book. If one of them can't be, the error is a
// *[ConfigError] and nothing is changed. What a client has used, and its requests in flight,
// belong to its name.
func (b *Book) Reload(all []Config) error {
	if err := Check(b.dir != "" || b.options.Shared != nil, all); err != nil {
		return err
	}
	b.list(all)
	return nil
}

// list makes clients, which were checked, those of the book.
func (b *Book) list(all []Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := &list{byKey: map[digest]*Client{}}
	listed := map[string]bool{}
	for _, cfg := range all {
		cfg.Routes = slices.Clone(cfg.Routes)
		c := b.byName[cfg.Name]
		if c == nil {
			c = &Client{name: cfg.Name, journal: b.journal, shared: b.options.Shared}
			b.byName[cfg.Name] = c
		}
		c.set(cfg)
		sum, _ := cfg.digest() // was checked
		next.all, next.byKey[sum], listed[cfg.Name] = append(next.all, c), c, true
	}
	b.listed.Store(next)
	now := time.Now()
	for name, c := range b.byName {
		if !listed[name] && c.idle(now) {
			c.close()
			delete(b.byName, name)
		}
	}
}

// Find returns the client whose key it is. How long that takes says nothing about the keys:
// what is compared are hashes, which nobody can choose without knowing a key.
func (b *Book) Find(key string) (*Client, bool) {
	c, ok := b.listed.Load().byKey[sha256.Sum256([]byte(key))]
	return c, ok
}

// All returns the state of the clients, in the order of the configuration.
func (b *Book) All() []Snapshot {
	now := time.Now()
	var all []Snapshot
	for _, c := range b.listed.Load().all {
		all = append(all, c.snapshot(now))
	}
	return all
}

// Close writes what is left, and gives the directory to the next process. Reservations that
// are not settled count as spent there; later ones are refused.
func (b *Book) Close() error {
	if b.journal == nil {
		return nil
	}
	return b.journal.close()
}
