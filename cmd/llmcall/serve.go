package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/gateway"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/provider"

	"github.com/spf13/cobra"
)

// practiceRoute is the name that clients of the practice model send.
const practiceRoute = "practice"

// serving has the flags of llmcall serve.
type serving struct {
	config, listen string
	practice       practiceFlag
	logJSON        bool
	judge          string
	log            *slog.Logger
	chaosURL       string // of the practice model
	practiceState  string // a directory for as long as it answers

	registry *endpoint.Registry              // that of the fleet, if there is one
	fleet    *ownFleet                       // nil without one
	names    modelNames                      // of the models that were opened
	gateway  atomic.Pointer[gateway.Gateway] // nil until it is made
}

func serveCommand() *cobra.Command {
	s := serving{}
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve dependable calls over HTTP, for programs in any language",
		Long: `Serve dependable calls over HTTP, for programs in any language: they change the base
URL of their SDK, and get valid answers or a clear error. It speaks the protocols of
OpenAI (chat completions and responses), Anthropic (messages) and Gemini
(generateContent). A request can be answered by a model with another protocol.

A configuration has routes, which are the names of models that clients send:

  listen: 127.0.0.1:8080
  routes:
    support: {models: [openai/gpt-6-luna, anthropic/claude-haiku-4-5], checks: [json], max_attempts: 4}
    "*": {}                      # provider/model names as they are

docs/gateway.md has all fields. Without --config any model of a provider whose key is
in the environment can be named, such as openai/gpt-6-luna. With --practice no
provider is called: the answers are INVENTED, and fail as a plan says.

A changed file is read again, as upon SIGHUP: a broken one is not used, and the log
says why. SIGTERM or Ctrl-C ends it: answers that have begun may finish.

It listens on this machine alone, unless clients with keys are configured
(llmcall serve key new makes one).`,
		Example: `  llmcall serve --practice
  curl -s http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model": "practice", "messages": [{"role": "user", "content": "Hello"}]}'
  llmcall serve --config gateway.yaml`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd)
		},
	}
	cmd.Flags().StringVar(&s.config, "config", "", "configuration `FILE`, YAML or JSON")
	cmd.Flags().StringVar(&s.listen, "listen", "", "where to listen, `HOST:PORT`; port 0 is a free one (default the configuration's, or "+gateway.DefaultListen+")")
	cmd.Flags().Var(&s.practice, "practice", "answer with INVENTED answers, and fail as the plan `[FILE]` says, or not at all")
	cmd.Flags().Lookup("practice").NoOptDefVal = "true"
	cmd.Flags().BoolVar(&s.logJSON, "log-json", false, "write the log as JSON, a line each")
	cmd.AddCommand(newServeKey(gateway.NewKey))
	return cmd
}

// ballastSize is memory that is never touched, and so takes none. The collector runs when the
// heap has doubled: with the few megabytes that a gateway lives on, that would be a hundred
// times a second under load, and a sixth of its processor time.
const ballastSize = 64 << 20

func (s *serving) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	ballast := make([]byte, ballastSize)
	defer runtime.KeepAlive(ballast)
	s.judge = strings.TrimSpace(os.Getenv("LLMCALL_JUDGE"))
	lines := &collector{to: cmd.ErrOrStderr()}
	defer lines.flush()
	var handler slog.Handler = slog.NewTextHandler(lines, nil)
	if s.logJSON {
		handler = slog.NewJSONHandler(lines, nil)
	}
	s.log = slog.New(lineHandler{handler, lines})
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // from now on it ends nothing, also without --config
	defer signal.Stop(hup)
	if s.practice.given {
		end, err := s.startPractice(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	cfg, text, err := s.load()
	defer func() { s.fleet.leave() }()
	if err != nil {
		return err
	}
	if s.config == "" && !s.practice.given && !slices.ContainsFunc(provider.All(), func(p provider.Provider) bool { return p.HasKey(os.Getenv) }) {
		return errNothingToServe
	}
	w, err := s.watchedGateway(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTimeout)
		defer cancel()
		if err := w.end(limit); err != nil {
			s.log.Error("the last traces could not be sent", "error", err)
		}
	}()
	s.doubt(cfg)
	l, err := gateway.Listen(cfg)
	if err != nil {
		return err
	}
	defer s.watch(ctx, w, text, hup)()
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "http://%s\n", l.Clients.Addr()); err != nil {
		return errors.Join(err, l.Clients.Close())
	}
	s.log.Info("serving", "clients", l.Clients.Addr().String(), "routes", len(cfg.Routes), "operators", operatorsAt(l))
	return w.gateway.Serve(ctx, l)
}

func operatorsAt(l *gateway.Listener) string {
	if l.Admin == nil {
		return "http://" + l.Clients.Addr().String() + "/ui"
	}
	return "http://" + l.Admin.Addr().String() + "/ui"
}

var errNothingToServe = errors.New("nothing to serve: set the key of a provider, such as OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY (llmcall providers lists them), or --config; or try --practice, which calls no provider")

// load reads the configuration.
func (s *serving) load() (*gateway.Config, []byte, error) {
	cfg := &gateway.Config{Routes: map[string]*gateway.Route{gateway.AnyModel: gateway.AsItIs()}}
	var text []byte
	if s.config != "" {
		var err error
		if text, err = readFile(s.config, maxServeConfig); err != nil {
			return nil, nil, fmt.Errorf("--config: %w", err)
		}
		// Its providers are needed to open the judges that its checks name.
		builder := noJudges
		if cfg, err = gateway.Parse(s.config, text, builder); err == nil && !s.practice.given {
			own := map[string]provider.Own{}
			for name, p := range cfg.Providers {
				own[name] = provider.Own(p)
			}
			if err = s.join(cfg.Fleet); err == nil {
				cfg, err = gateway.Parse(s.config, text, judges{judge: s.judge, own: own, endpoints: s.registry, names: &s.names}.builder())
			}
		}
		if err != nil {
			return nil, nil, fmt.Errorf("--config: %w", err)
		}
	}
	if s.listen != "" {
		cfg.Listen = s.listen
	}
	if s.practice.given {
		if cfg.Fleet.Address != "" && cfg.StateDir == "" {
			cfg.StateDir = s.practiceState // where the fleet would have what clients have spent
		}
		cfg.Fleet = llmcall.Fleet{} // invented answers say nothing to others
		if cfg.Routes[practiceRoute] == nil {
			r := gateway.AsItIs()
			r.Models = []string{"openai/practice"}
			cfg.Routes[practiceRoute] = r
		}
		for _, r := range cfg.Routes {
			makeRouteFree(r, append(r.AllModels(), "openai/practice"))
		}
	}
	if err := s.join(cfg.Fleet); err != nil {
		return nil, nil, fmt.Errorf("--config: %w", err)
	}
	return cfg, text, cfg.Validate()
}

// join makes the registry of endpoints, that of the fleet if there is one, the first time
// that a configuration is read: before any model is opened.
func (s *serving) join(cfg llmcall.Fleet) (err error) {
	if s.registry != nil {
		return nil
	}
	endpoints := endpoint.Config{OnStateChange: s.changed, Name: s.names.shown}
	if cfg.Address == "" {
		s.registry, err = endpoint.NewRegistry(endpoints)
		return err
	}
	if s.fleet, err = joinFleet(cfg, endpoints, &s.names, s.log); err != nil {
		return s.inWords(err)
	}
	s.registry = s.fleet.Endpoints()
	if st := s.fleet.Status(); st.Err != nil { // which the fleet has said
		s.log.Warn("the fleet is joined when its store answers", "store", s.fleet.address)
	} else {
		s.log.Info("joined the fleet", "store", s.fleet.address)
	}
	return nil
}

// changed tells of a circuit that has changed its state.
func (s *serving) changed(e *endpoint.Endpoint, t breaker.Transition) {
	what, to := "a circuit has changed", t.To.String()
	switch {
	case t.Forced:
		to = "forced " + to
	case t.From == t.To:
		what = "a circuit has begun again" // it was reset, or is forced no longer
	}
	says := []any{"endpoint", e.Name(), "from", t.From.String(), "to", to}
	if t.Cause != (breaker.Cause{}) {
		says = append(says, "cause", t.Cause.String())
	}
	s.log.Warn(what, says...)
	if g := s.gateway.Load(); g != nil { // others of the fleet may know of an outage before it is made
		g.CircuitChanged(e, t)
	}
}

// doubt warns of what fleet_only names and no route has. Where clients name any model, it is not
// known.
func (s *serving) doubt(cfg *gateway.Config) {
	if cfg.Routes[gateway.AnyModel] == nil {
		s.fleet.doubt()
	}
}

// tracesTimeout is how long the last traces may take at the end.
const tracesTimeout = 5 * time.Second

// maxServeConfig is the size of the largest configuration.
const maxServeConfig = 4 << 20

// makeRouteFree gives models that answer for practice a price, so that ceilings can be tried.
func makeRouteFree(r *gateway.Route, models []string) {
	if r.Prices == nil {
		r.Prices = price.Table{}
	}
	for _, name := range models {
		if _, ok := r.Prices.Find(name); !ok {
			r.Prices[name] = price.Price{}
		}
	}
}

// open opens models.
func (s *serving) open(names []string, own map[string]provider.Own) ([]llm.Model, error) {
	if !s.practice.given {
		models, err := provider.OpenAll(names, own, provider.Options{})
		s.names.know(models)
		return models, inServeWords(err)
	}
	var all []llm.Model
	for _, name := range names {
		prefix, _, _ := strings.Cut(name, "/")
		o := own[prefix]
		known := cmp.Or(o.Protocol, prefix)
		if !slices.Contains(provider.Names(), strings.TrimSuffix(known, "-responses")) {
			known = "openai"
		}
		base := s.chaosURL
		if known != "anthropic" && known != "gemini" {
			base += "/v1"
		}
		models, err := provider.OpenAll([]string{name}, map[string]provider.Own{prefix: {Protocol: known, BaseURL: base}}, provider.Options{APIKey: practiceKey})
		if err != nil {
			return nil, inServeWords(err)
		}
		s.names.know(models)
		all = append(all, slices.Repeat(models, max(1, len(o.Keys)))...)
	}
	return all, nil
}

// inServeWords puts an error into the words of the configuration.
func inServeWords(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.NewReplacer("APIKey or the environment variable", "the environment variable", "BaseURL or the environment variable", "providers.…base_url or the environment variable").Replace(err.Error()))
}

// inWords puts an error of the gateway into the words of the command.
func (s *serving) inWords(err error) error {
	if e, ok := errors.AsType[*llmcall.ConfigError](err); ok && e.File == "" && s.config != "" {
		e.File = s.config
	}
	return err
}

// startPractice starts the practice model.
func (s *serving) startPractice(ctx context.Context) (end func(), err error) {
	var config chaos.Config
	if s.practice.plan != "" {
		if config.Plan, err = readPlan(s.practice.plan); err != nil {
			return nil, fmt.Errorf("--practice: %w", err)
		}
	}
	server, err := chaos.New(config)
	if err != nil {
		return nil, fmt.Errorf("--practice: %w", err)
	}
	listener, err := chaos.Listen(chaos.DefaultAddress)
	if err != nil {
		return nil, fmt.Errorf("the practice model: %w", err)
	}
	s.chaosURL = "http://" + listener.Addr().String()
	if s.practiceState, err = os.MkdirTemp("", "llmcall-practice-"); err != nil {
		return nil, errors.Join(fmt.Errorf("the practice model: %w", err), listener.Close())
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(own, listener) // if it fails, so do the calls
	}()
	s.log.Warn("the practice model answers, and its answers are INVENTED")
	return func() {
		cancel()
		<-ended
		_ = os.RemoveAll(s.practiceState) // it is the system's to clear away
	}, nil
}
