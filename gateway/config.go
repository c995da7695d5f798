package gateway

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall"
	"llmcall/gateway/internal/clients"
	"llmcall/internal/nearest"
	"llmcall/internal/yamlfile"
	"llmcall/validate"

	"go.yaml.in/yaml/v4"
)

// The defaults of a configuration.
const (
	// DefaultListen is the default of [Config.Listen].
	DefaultListen = "127.0.0.1:8080"
	// DefaultMaxBody is the default of [Config.MaxBody]: 32 MiB, which OpenAI, Anthropic
	// and Gemini take at least.
	DefaultMaxBody = 32 << 20
	// DefaultShutdownTimeout is the default of [Config.ShutdownTimeout].
	DefaultShutdownTimeout = 30 * time.Second
	// DefaultMaxRateLimitWait is how long a call of a route waits for rate limits and
	// turns, if the route does not say: a gateway's client has its own patience.
	DefaultMaxRateLimitWait = 30 * time.Second
	// DefaultAttemptTimeout is the time of an attempt, if the route does not say: a
	// provider that hangs must not hold a connection for ever.
	DefaultAttemptTimeout = 10 * time.Minute
	// AnyModel is the name of the route for all names of models without a route of their
	// own.
	AnyModel = "*"
)

// Stream says when a client of a stream gets an answer that has checks.
type Stream string

// The values of [Stream].
const (
	// Hold: when it has passed its checks. Until then only comments or pings are sent.
	Hold Stream = "hold"
	// Pass: as it comes. An answer that does not pass its checks ends with the protocol's
	// error event, and not as if it were whole.
	Pass Stream = "pass"
)

// Config is the configuration of a [Gateway]. The comment after a field is its name in a
// file; see [Parse].
type Config struct {
	// Listen is the address for clients. Default [DefaultListen]. An address that other
	// machines can reach needs Clients.
	Listen string // listen
	// Providers are names of the user's own for providers, which the routes' models may
	// begin with. Default none: only the known providers.
	Providers map[string]llmcall.OwnProvider // providers
	// Fleet is where this gateway shares with other processes what it knows of its endpoints,
	// and what its clients may use. It is for the program, which opens it by package
	// [llmcall/fleet] and sets [Options.Endpoints] and [Options.Limits], without which [New]
	// refuses it. Default: the gateway is alone.
	Fleet llmcall.Fleet // fleet, fleet_only, fleet_secret, fleet_min_reporters
	// Clients are those who may ask, with their keys and limits. Default none: everybody who
	// can reach the address, without a limit.
	Clients []Client // clients
	// Admin says where /ui and /metrics are. Default: at Listen, and nothing can be changed
	// there.
	Admin Admin // admin
	// StateDir is the directory of what must survive a restart, such as what clients have
	// spent today. A MaxCostPerDay needs it, unless there is a Fleet: then it is not used.
	// Default "": nothing survives.
	StateDir string // state_dir
	// Routes are the names of models that clients may send. Default: [AnyModel] alone.
	Routes map[string]*Route // routes
	// MaxBody is the size of the largest request, in bytes. Default [DefaultMaxBody].
	MaxBody int64 // max_body
	// ShutdownTimeout is how long answers in flight may take after the gateway was told to
	// end. Default [DefaultShutdownTimeout].
	ShutdownTimeout time.Duration // shutdown_timeout
	// ShowContents shows prompts, answers and complaints on /ui, each cut; the command also
	// writes them to its log, without keys. Default false: it shows that there were some.
	ShowContents bool // show_contents
}

// Client is somebody who may ask.
type Client struct {
	Name   string   // name: for logs, metrics and /ui
	SHA256 string   // sha256: the hash of its key, 64 hexadecimal digits; `llmcall serve key new` makes both
	Routes []string // routes: those that it may ask for. Default: all
	// RequestsPerMinute and TokensPerMinute limit what it asks for, MaxConcurrent how many
	// requests at a time. Default 0: no limit.
	RequestsPerMinute float64 // requests_per_minute
	TokensPerMinute   float64 // tokens_per_minute
	MaxConcurrent     int     // max_concurrent
	// MaxCostPerDay limits what its calls may cost in a day of UTC, in US dollars. The
	// prices of all models that it asks must be known. Default 0: no limit.
	MaxCostPerDay float64 // max_cost_per_day
}

// Admin is the operator's side of a gateway.
type Admin struct {
	Listen string // listen: an address of its own. Default "": Config.Listen
	// SHA256 is the hash of the key with which circuits can be forced and reset, and
	// without which an address that other machines can reach shows nothing. Default "":
	// nothing can be changed.
	SHA256 string // sha256
}

// Route is what a name of a model that clients send leads to: the configuration of a call,
// and the checks of its answers.
type Route struct {
	llmcall.RetryConfig
	Checks []validate.Strategy // checks
	// Stream says when clients of a stream get an answer that has Checks. Default [Hold].
	Stream Stream // stream
}

// Parse reads a configuration in YAML or JSON. name is the name of the file, for errors.
// A route has the fields of [llmcall.ParseConfig], but for those that only make sense for
// one caller, and `stream`. The builder makes the routes' checks.
//
// In a route the circuit breaker is on unless enable_circuit_breaker is false,
// max_rate_limit_wait is 30 s by default and attempt_timeout 10 min.
//
// The error is an [*llmcall.ConfigError] with the line, the field, what it must be and
// what it is; for an unknown field, with the nearest known one.
func Parse(name string, data []byte, builder validate.Builder) (*Config, error) {
	root, err := yamlfile.Parse(data)
	if err != nil {
		return nil, inFile(name, "", err)
	}
	r := reader{name: name, builder: builder, cfg: &Config{Routes: map[string]*Route{}}}
	if root != nil {
		if err := r.read(root); err != nil {
			return nil, inFile(name, "", err)
		}
	}
	if len(r.cfg.Routes) == 0 {
		r.cfg.Routes[AnyModel] = AsItIs()
	}
	return r.cfg, r.cfg.validate(name, r.lines)
}

// AsItIs returns the route that [AnyModel] is by default: one attempt loop with the circuit
// breaker on, and no checks but that there is an answer.
func AsItIs() *Route {
	r := &Route{Stream: Hold}
	r.EnableCircuitBreaker = true
	r.MaxRateLimitWait, r.AttemptTimeout = DefaultMaxRateLimitWait, DefaultAttemptTimeout
	return r
}

// inFile returns an error with its place.
func inFile(name, path string, err error) error {
	switch e := err.(type) {
	case *llmcall.ConfigError:
		e.File = name
		if path != "" && !strings.HasPrefix(e.Field, path) {
			e.Field = strings.TrimSuffix(path+"."+e.Field, ".")
		}
		return e
	case *yamlfile.FieldError:
		c := &llmcall.ConfigError{File: name, Line: e.Line, Field: e.Field, Got: e.Got, Takes: e.Takes}
		if e.Wrong != "" {
			c.Err = errors.New(e.Wrong)
		}
		return c
	case *yamlfile.Error:
		return &llmcall.ConfigError{File: name, Line: e.Line, Err: errors.New(e.Reason)}
	}
	return err
}

// reader reads a file.
type reader struct {
	name    string
	builder validate.Builder
	cfg     *Config
	fleet   []*yaml.Node   // the fields of the fleet
	lines   map[string]int // of the fields
}

func (r *reader) read(root *yaml.Node) (err error) {
	fields := map[string]func(*yaml.Node) error{
		"listen":           func(n *yaml.Node) error { return yamlfile.Text(n, "listen", &r.cfg.Listen) },
		"providers":        r.providers,
		"clients":          r.clients,
		"admin":            r.admin,
		"state_dir":        func(n *yaml.Node) error { return yamlfile.Text(n, "state_dir", &r.cfg.StateDir) },
		"routes":           r.routes,
		"max_body":         r.maxBody,
		"shutdown_timeout": func(n *yaml.Node) error { return yamlfile.Duration(n, "shutdown_timeout", &r.cfg.ShutdownTimeout) },
		"show_contents":    func(n *yaml.Node) error { return yamlfile.Bool(n, "show_contents", &r.cfg.ShowContents) },
	}
	for _, name := range fleetFields {
		fields[name] = func(n *yaml.Node) error {
			r.fleet = append(r.fleet, &yaml.Node{Kind: yaml.ScalarNode, Value: name, Line: n.Line}, n)
			return nil
		}
	}
	if r.lines, err = yamlfile.Fields(root, "", "a mapping of fields", fields); err != nil {
		return err
	}
	cfg, err := r.shared(root.Line, r.fleet...)
	r.cfg.Fleet = cfg.Fleet
	return err
}

// fleetFields are the fields of [Config.Fleet].
var fleetFields = []string{"fleet", "fleet_only", "fleet_secret", "fleet_min_reporters"}

// shared reads fields that a gateway has in common with the configuration of a call.
func (r *reader) shared(line int, fields ...*yaml.Node) (llmcall.RetryConfig, error) {
	cfg, _, err := llmcall.ParseConfigNode(r.name, &yaml.Node{Kind: yaml.MappingNode, Line: line, Content: fields}, r.builder)
	return cfg, err
}

// providers reads the names of providers as the library does.
func (r *reader) providers(n *yaml.Node) error {
	cfg, err := r.shared(n.Line, &yaml.Node{Kind: yaml.ScalarNode, Value: "providers", Line: n.Line}, n)
	r.cfg.Providers = cfg.Providers
	return err
}

const takesSize = `a size of at least 1024: bytes, or a size like "32MiB"`

func (r *reader) maxBody(n *yaml.Node) error {
	number, unit := strings.TrimSpace(n.Value), int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(rest), 1<<(10*(i+1))
		}
	}
	size, err := strconv.ParseInt(number, 10, 64)
	if n.Kind != yaml.ScalarNode || err != nil || size < 1 || size > 1<<32/unit || size*unit < 1024 {
		return yamlfile.Impossible(n, "max_body", takesSize)
	}
	r.cfg.MaxBody = size * unit
	return nil
}

// items calls a function for each item of a list.
func items(n *yaml.Node, field, takes string, each func(n *yaml.Node, field string) error) error {
	n = yamlfile.Resolved(n)
	if n.Kind != yaml.SequenceNode {
		return yamlfile.Impossible(n, field, takes)
	}
	for i, item := range n.Content {
		if err := each(yamlfile.Resolved(item), fmt.Sprintf("%s[%d]", field, i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) clients(n *yaml.Node) error {
	return items(n, "clients", "a list of clients", func(n *yaml.Node, field string) error {
		var c Client
		at := func(name string) string { return field + "." + name }
		lines, err := yamlfile.Fields(n, field+".", "a client: {name, sha256, routes, requests_per_minute, tokens_per_minute, max_concurrent, max_cost_per_day}", map[string]func(*yaml.Node) error{
			"name":                func(n *yaml.Node) error { return yamlfile.Text(n, at("name"), &c.Name) },
			"sha256":              func(n *yaml.Node) error { return readHash(n, at("sha256"), &c.SHA256) },
			"routes":              func(n *yaml.Node) error { return texts(n, at("routes"), "a list of names of routes", &c.Routes) },
			"requests_per_minute": func(n *yaml.Node) error { return positive(n, at("requests_per_minute"), &c.RequestsPerMinute) },
			"tokens_per_minute":   func(n *yaml.Node) error { return positive(n, at("tokens_per_minute"), &c.TokensPerMinute) },
			"max_concurrent":      func(n *yaml.Node) error { return yamlfile.Whole(n, at("max_concurrent"), &c.MaxConcurrent) },
			"max_cost_per_day":    func(n *yaml.Node) error { return positive(n, at("max_cost_per_day"), &c.MaxCostPerDay) },
		})
		switch {
		case err != nil:
			return err
		case c.Name == "":
			return &yamlfile.FieldError{Line: lines[""], Field: at("name"), Got: "nothing", Takes: "a name, for logs and metrics"}
		case c.SHA256 == "":
			return &yamlfile.FieldError{Line: lines[""], Field: at("sha256"), Got: "nothing", Takes: takesHash}
		case c.MaxConcurrent < 0:
			return &yamlfile.FieldError{Line: lines["max_concurrent"], Field: at("max_concurrent"), Got: strconv.Itoa(c.MaxConcurrent), Takes: "a whole number of at least 1"}
		}
		r.cfg.Clients = append(r.cfg.Clients, c)
		return nil
	})
}

const takesHash = "the SHA-256 of a key, 64 hexadecimal digits, as `llmcall serve key new` prints it"

// readHash reads a hash. What was given may be the key itself, and is not shown.
func readHash(n *yaml.Node, field string, to *string) error {
	if raw, err := hex.DecodeString(n.Value); n.Kind != yaml.ScalarNode || err != nil || len(raw) != 32 {
		return &yamlfile.FieldError{Line: n.Line, Field: field, Got: "something else, which is not shown because it may be a key", Takes: takesHash}
	}
	*to = strings.ToLower(n.Value)
	return nil
}

// positive reads a number above 0.
func positive(n *yaml.Node, field string, to *float64) error {
	if err := yamlfile.Float(n, field, to); err != nil {
		return err
	}
	if !(*to > 0 && *to < 1e12) {
		return yamlfile.Impossible(n, field, "a number above 0")
	}
	return nil
}

func texts(n *yaml.Node, field, takes string, to *[]string) error {
	return items(n, field, takes, func(n *yaml.Node, field string) error {
		var text string
		err := yamlfile.Text(n, field, &text)
		*to = append(*to, text)
		return err
	})
}

func (r *reader) admin(n *yaml.Node) error {
	_, err := yamlfile.Fields(n, "admin.", "a mapping: {listen, sha256}", map[string]func(*yaml.Node) error{
		"listen": func(n *yaml.Node) error { return yamlfile.Text(n, "admin.listen", &r.cfg.Admin.Listen) },
		"sha256": func(n *yaml.Node) error { return readHash(n, "admin.sha256", &r.cfg.Admin.SHA256) },
	})
	return err
}

func (r *reader) routes(n *yaml.Node) error {
	n = yamlfile.Resolved(n)
	if n.Kind != yaml.MappingNode {
		return yamlfile.Impossible(n, "routes", `a mapping of the names that clients send to routes, such as "*": {}`)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Value == "" {
			return yamlfile.Impossible(key, "routes", "the name of a model as clients send it")
		}
		if r.cfg.Routes[key.Value] != nil {
			return &yamlfile.FieldError{Line: key.Line, Field: "routes." + key.Value, Wrong: "appears twice"}
		}
		route, err := r.route(yamlfile.Resolved(n.Content[i+1]), "routes."+key.Value, key.Value)
		if err != nil {
			return err
		}
		r.cfg.Routes[key.Value] = route
	}
	return nil
}

// noRoute are the fields of a call's configuration that a route can't have, and why.
var noRoute = map[string]string{
	"providers":                    "belongs to the whole file",
	"fleet":                        "belongs to the whole file",
	"fleet_only":                   "belongs to the whole file",
	"fleet_secret":                 "belongs to the whole file",
	"fleet_min_reporters":          "belongs to the whole file",
	"max_attempts_before_human":    "needs a person who looks at the call, whom a client of a gateway can't reach",
	"mcp_servers":                  "is not for routes: tools are the client's, who carries out their calls",
	"debug_tool_mcp_config":        "is not for routes: tools are the client's, who carries out their calls",
	"debug_tool_name":              "is not for routes: tools are the client's, who carries out their calls",
	"max_attempts_before_tool_use": "is not for routes: tools are the client's, who carries out their calls",
	"restart_streams":              "is not for routes: `stream` says when clients get an answer",
}

func (r *reader) route(n *yaml.Node, field, name string) (*Route, error) {
	route, own := AsItIs(), *n
	own.Content = nil
	breaker := false
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := field + "." + key.Value
		if why, ok := noRoute[key.Value]; ok {
			return nil, &yamlfile.FieldError{Line: key.Line, Field: at, Wrong: why}
		}
		if key.Value != "stream" {
			breaker = breaker || key.Value == "enable_circuit_breaker"
			own.Content = append(own.Content, key, value)
			continue
		}
		if err := yamlfile.Text(yamlfile.Resolved(value), at, &route.Stream); err != nil {
			return nil, err
		}
		if route.Stream != Hold && route.Stream != Pass {
			return nil, yamlfile.Impossible(value, at, `"hold" or "pass"`)
		}
	}
	if !breaker && n.Kind == yaml.MappingNode {
		own.Content = append(own.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "enable_circuit_breaker", Line: n.Line}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true", Line: n.Line})
	}
	cfg, checks, err := llmcall.ParseConfigNode(r.name, &own, r.builder)
	if err != nil {
		return nil, inFile(r.name, field, err)
	}
	switch {
	case len(cfg.AllModels()) == 0 && name != AnyModel:
		return nil, &yamlfile.FieldError{Line: n.Line, Field: field + ".models", Got: "nothing", Takes: "the full names of the models to ask, such as openai/gpt-6-luna"}
	case len(cfg.AllModels()) > 0 && name == AnyModel:
		return nil, &yamlfile.FieldError{Line: n.Line, Field: field + ".models", Wrong: "must not be set: this route is for the models that clients name"}
	case slices.ContainsFunc(cfg.Stages, func(s llmcall.Stage) bool { return s.Human }):
		return nil, &yamlfile.FieldError{Line: n.Line, Field: field + ".stages", Wrong: "must not have a human stage: " + noRoute["max_attempts_before_human"]}
	}
	route.RetryConfig, route.Checks = cfg, checks
	route.MaxRateLimitWait = cmp.Or(cfg.MaxRateLimitWait, DefaultMaxRateLimitWait)
	route.AttemptTimeout = cmp.Or(cfg.AttemptTimeout, DefaultAttemptTimeout)
	if err := route.Validate(); err != nil {
		return nil, inFile(r.name, field, err)
	}
	return route, nil
}

// Validate reports the first setting that is impossible, as an [*llmcall.ConfigError].
// [New] and [Gateway.Reload] call it.
func (c *Config) Validate() error { return c.validate("", nil) }

func (c *Config) validate(name string, lines map[string]int) error {
	wrong := func(field, got, takes string) error {
		top, _, _ := strings.Cut(strings.TrimRight(field, "[]0123456789"), ".")
		top, _, _ = strings.Cut(top, "[")
		return &llmcall.ConfigError{File: name, Line: lines[top], Field: field, Got: got, Takes: takes}
	}
	for field, addr := range map[string]string{"listen": c.Listen, "admin.listen": c.Admin.Listen} {
		if host, _, err := net.SplitHostPort(cmp.Or(addr, DefaultListen)); err != nil || host == "" {
			return wrong(field, strconv.Quote(addr), "an address with a host, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all networks")
		}
	}
	switch {
	case !loopback(cmp.Or(c.Listen, DefaultListen)) && len(c.Clients) == 0:
		return wrong("listen", strconv.Quote(c.Listen), "an address of this machine alone (127.0.0.1, [::1], localhost) unless clients are configured: everybody who reaches it could spend your money")
	case c.Admin.Listen != "" && !loopback(c.Admin.Listen) && c.Admin.SHA256 == "":
		return wrong("admin.listen", strconv.Quote(c.Admin.Listen), "an address of this machine alone unless admin.sha256 is set")
	case c.ShutdownTimeout < 0:
		return wrong("shutdown_timeout", c.ShutdownTimeout.String(), yamlfile.TakesTime)
	}
	if err := (&llmcall.RetryConfig{Fleet: c.Fleet}).Validate(); err != nil {
		return inFile(name, "", err)
	}
	if err := clients.Check(c.StateDir != "" || c.Fleet.Address != "", c.book()); err != nil {
		e, ok := errors.AsType[*clients.ConfigError](err)
		if !ok {
			return err
		}
		return &llmcall.ConfigError{File: name, Line: lines["clients"], Field: fmt.Sprintf("clients[%d].%s", e.Index, e.Field), Err: errors.New(e.Problem)}
	}
	routes := slices.Sorted(maps.Keys(c.Routes))
	for i, k := range c.Clients {
		for _, route := range k.Routes {
			if c.Routes[route] == nil && c.Routes[AnyModel] == nil {
				return wrong(fmt.Sprintf("clients[%d].routes", i), strconv.Quote(route), "names of routes ("+strings.Join(routes, ", ")+nearest.Question(route, routes)+")")
			}
		}
	}
	for name, r := range c.Routes {
		if r == nil {
			return wrong("routes."+name, "nothing", "a route")
		}
	}
	return nil
}

// NewKey returns a new key for a client, and its hash for [Client.SHA256].
func NewKey() (key, hash string) { return clients.NewKey() }

// loopback reports whether only this machine reaches an address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// book returns the clients as package clients takes them.
func (c *Config) book() []clients.Config {
	all := make([]clients.Config, len(c.Clients))
	for i, k := range c.Clients {
		all[i] = clients.Config(k)
	}
	return all
}
