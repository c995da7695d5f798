package lua

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"llmcall/fleet/internal/store"
)

// Server is a server in memory. It is safe for concurrent use.
type Server struct {
	mu       sync.Mutex
	keys     map[string]*value
	machine  *machine
	watchers []*watcher
	count    int
	down     bool
	hung     bool
	waiting  []func() // exchanges that came while it hung
	mute     bool
	latency  time.Duration
	delay    time.Duration
	clock    time.Duration
}

// value is what is kept at a key: a hash, or a text if hash is nil.
type value struct {
	text   string
	hash   map[string]string
	fields []string  // of the hash, in the order in which they came
	ends   time.Time // zero: never
}

// New returns a server that is empty and answers at once.
func New() *Server {
	s := &Server{keys: map[string]*value{}}
	s.machine = newMachine(s)
	return s
}

// Dial returns a client of the server.
func (s *Server) Dial() *Client {
	ctx, end := context.WithCancel(context.Background())
	return &Client{server: s, ctx: ctx, end: end}
}

// Latency is how long an exchange takes from now on: half of it passes before the scripts are
// run, half after. Default 0.
func (s *Server) Latency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// Delay is how long a message takes to those who watch, from now on. Default 0.
func (s *Server) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Clock is how far the server's clock is ahead of that of the processes, from now on. Default 0.
func (s *Server) Clock(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = d
}

// Down says whether clients are refused. Those who watch lose what is published meanwhile.
// What is kept stays.
func (s *Server) Down(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = yes
	if yes {
		s.waiting = nil
		s.part(func(*watcher) bool { return true })
	}
}

// Hang says whether nothing is answered, as by a process that was sent SIGSTOP. What came
// meanwhile is run when it goes on, like what waits in a socket, even if those who asked have
// given up.
func (s *Server) Hang(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung = yes
	if !yes {
		for _, run := range s.waiting {
			run()
		}
		s.waiting = nil
	}
}

// Flush restarts the server empty: connections break, what waited for an answer is lost.
func (s *Server) Flush() { s.restart(map[string]*value{}) }

// Save returns what restarts the server with what it keeps now.
func (s *Server) Save() (restart func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := map[string]*value{}
	for key, v := range s.keys {
		same := *v
		same.hash, same.fields = maps.Clone(v.hash), slices.Clone(v.fields)
		saved[key] = &same
	}
	return func() { s.restart(saved) }
}

func (s *Server) restart(with map[string]*value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = with
	s.waiting = nil
	s.part(func(*watcher) bool { return true })
}

// Mute says whether messages that are published reach nobody, although connections last.
func (s *Server) Mute(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = yes
}

// Count returns the number of scripts, secrets and lists of keys that were asked for and
// answered so far.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// part ends the subscriptions of some watchers. s.mu is held.
func (s *Server) part(which func(*watcher) bool) {
	for _, w := range s.watchers {
		if which(w) {
			close(w.lost)
		}
	}
	s.watchers = slices.DeleteFunc(s.watchers, which)
}

// publish tells those who watch a channel, and returns how many there are. s.mu is held.
func (s *Server) publish(channel, text string) int {
	if s.mute {
		return 0
	}
	n := 0
	for _, w := range s.watchers {
		if w.channel == channel {
			n++
			w.queue = append(w.queue, mail{time.Now().Add(s.delay), text})
			select {
			case w.wake <- struct{}{}:
			default: // has been woken
			}
		}
	}
	return n
}

// at returns what is kept at a key, or nil. s.mu is held.
func (s *Server) at(key string) *value {
	v := s.keys[key]
	if v != nil && !v.ends.IsZero() && !time.Now().Before(v.ends) {
		delete(s.keys, key)
		return nil
	}
	return v
}

// run runs a script. s.mu is held.
func (s *Server) run(c store.Call) store.Result {
	s.count++
	text, err := s.machine.run(c)
	return store.Result{Text: text, Err: err}
}

// secret is SET NX GET. s.mu is held.
func (s *Server) secret(key, first string) string {
	s.count++
	v := s.at(key)
	if v == nil {
		v = &value{text: first}
		s.keys[key] = v
	}
	return v.text
}

// begin returns the keys that begin with a prefix, in order. s.mu is held.
func (s *Server) begin(prefix string) []string {
	s.count++
	var keys []string
	for key := range s.keys {
		if strings.HasPrefix(key, prefix) && s.at(key) != nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
