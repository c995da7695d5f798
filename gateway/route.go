package gateway

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/gateway/internal/clients"
	"llmcall/internal/body"
	"llmcall/llm"
	"llmcall/validate"
)

// served is a route as it is served.
type served struct {
	name  string
	cfg   *Route
	seats []*seat
	keys  int  // how many keys the model with the most of them has
	plain bool // no checks: what the provider answers is the answer

	mu    sync.Mutex
	calls map[variant]*llmcall.Client
}

// variant tells the clients of a route apart. They share all endpoints.
type variant struct {
	client string // on whose behalf, where that makes a difference
	turn   int    // which of several keys is asked first
	able   string // the protocols of the models that can be asked, where not all can
}

// newRoute opens the models of a route. It makes no request.
func (g *Gateway) newRoute(cfg *Config, name string, r *Route, models []string) (*served, error) {
	opened, err := g.open(models, cfg.Providers)
	if err != nil {
		return nil, err
	}
	out := &served{name: name, cfg: r, plain: len(r.Checks) == 0, calls: map[variant]*llmcall.Client{}}
	count := map[string]int{}
	for _, m := range opened {
		out.seats = append(out.seats, newSeat(m))
		count[m.Name()]++
		out.keys = max(out.keys, count[m.Name()])
	}
	if _, err := out.client(g, nil, 0, nil); err != nil {
		return nil, err
	}
	return out, nil
}

// client returns the client with which a call is made: on whose behalf, with which key
// first, and by the models that can take its request.
func (r *served) client(g *Gateway, who *clients.Client, turn int, able []*seat) (*llmcall.Client, error) {
	v := variant{turn: turn}
	if who != nil {
		v.client = who.Name()
	}
	seats := r.seats
	if able != nil {
		seats = able
		for _, s := range able {
			v.able += s.protocol + " "
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.calls[v]; c != nil {
		return c, nil
	}
	var name string
	var purse *account.Account
	if who != nil {
		name, purse = who.Name(), who.Account()
	}
	c, err := r.compile(g, name, purse, seats, turn)
	if err == nil {
		r.calls[v] = c
	}
	return c, err
}

// compile makes the client of calls that are made in a name, and paid by a purse.
func (r *served) compile(g *Gateway, name string, purse *account.Account, seats []*seat, turn int) (*llmcall.Client, error) {
	cfg, checks := r.cfg.RetryConfig, r.cfg.Checks
	if r.plain {
		checks = []validate.Strategy{answered{}}
	}
	cfg.Endpoints, cfg.Observer = g.options.Endpoints, llmcall.Observers(g.watchWaits, g.options.Observer)
	cfg.RestartStreams = r.held()
	cfg.Models = nil
	cfg.Client = cmp.Or(name, cfg.Client)
	cfg.Account = cmp.Or(purse, cfg.Account)
	return llmcall.New(inTurn(seats, turn), checks, onward(alone(cfg, len(seats)), seats))
}

// priced reports whether the prices of all models are known, which a limit of money needs.
func (r *served) priced(g *Gateway) error {
	_, err := r.compile(g, "", account.New(endpoint.Amount{Nanos: 1}), r.seats, 0)
	return err
}

// alone leaves out what must not be set with a single model: the rest of a route's models
// may be unable to take a request.
func alone(cfg llmcall.RetryConfig, models int) llmcall.RetryConfig {
	if models == 1 {
		cfg.FallbackAfter, cfg.AttemptsPerModel = 0, 0
	}
	return cfg
}

// onward makes a route go on to its next model after answers that are not valid, too. By
// itself a call stays with a model that answers, since another one is not more likely to
// know better; but the models of a route are there so that it is answered. Each model but
// the first has one of the attempts.
func onward(cfg llmcall.RetryConfig, seats []*seat) llmcall.RetryConfig {
	var names []string
	for _, s := range seats {
		if !slices.Contains(names, s.Name()) {
			names = append(names, s.Name())
		}
	}
	attempts := cmp.Or(cfg.MaxAttempts, llmcall.DefaultMaxAttempts)
	stages := min(attempts, len(names))
	if len(cfg.Stages) > 0 || stages < 2 {
		return cfg
	}
	for i := range stages {
		next := llmcall.Stage{Name: names[i], Models: slices.Concat(names[i:], names[:i]), Attempts: 1}
		if i == 0 {
			next.Attempts = attempts - stages + 1
		}
		cfg.Stages = append(cfg.Stages, next)
	}
	return cfg
}

// inTurn returns the models with another of several keys first: neighbours with the same
// name change places.
func inTurn(seats []*seat, turn int) []llm.Model {
	var models []llm.Model
	for begin := 0; begin < len(seats); {
		end := begin + 1
		for end < len(seats) && seats[end].Name() == seats[begin].Name() {
			end++
		}
		n := end - begin
		for i := range n {
			models = append(models, seats[begin+(i+turn)%n].model())
		}
		begin = end
	}
	return models
}

// held reports whether a stream is kept back until its answer is valid.
func (r *served) held() bool { return !r.plain && r.cfg.Stream != Pass }

// seed is that of the hashes of conversations.
var seed = maphash.MakeSeed()

// turn returns which key a conversation begins with: always the same one, because the
// provider's cache of the prompt belongs to the key.
func (r *served) turn(req *llm.Request) int {
	if r.keys < 2 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(seed)
	for _, m := range req.Messages {
		_, _ = h.WriteString(m.Text())
		if m.Role == llm.RoleUser {
			break
		}
	}
	return int(h.Sum64() % uint64(r.keys))
}

// able returns the models that can take a request, which is translated for those of other
// protocols. The error says why none can.
func (r *served) able(x *exchange) ([]*seat, *body.Loss) {
	var all []*seat
	var first *body.Loss
	for _, s := range r.seats {
		if loss := x.refused(s.protocol); loss == nil {
			all = append(all, s)
		} else if first == nil {
			first = loss
		}
	}
	if len(all) == 0 {
		return nil, first
	}
	if len(all) == len(r.seats) || len(r.cfg.Stages) > 0 {
		return nil, nil // a stage's models are asked all the same, and their refusal names the field
	}
	return all, nil
}

// maxOpen is how many routes of names that clients made up are kept.
const maxOpen = 1000

// find returns the route for the name of a model.
func (s *state) find(g *Gateway, name string) (*served, error) {
	if r := s.routes[name]; r != nil {
		return r, nil
	}
	any := s.cfg.Routes[AnyModel]
	if any == nil || !strings.Contains(name, "/") {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.open[name]; r != nil {
		return r, nil
	}
	r, err := g.newRoute(s.cfg, AnyModel, any, []string{name})
	if err != nil {
		return nil, fmt.Errorf("the model %q: %w", name, err)
	}
	if len(s.open) >= maxOpen {
		for other := range s.open {
			delete(s.open, other)
			break
		}
	}
	s.open[name] = r
	return r, nil
}
