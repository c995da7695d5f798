package llmcall

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/internal/place"

	"go.yaml.in/yaml/v4"
)

// Fleet says where processes share circuits, paces and accounts, so that not each of them
// discovers an outage by itself. It is for the program, which opens it by package
// [llmcall/fleet] and sets [RetryConfig.Endpoints] to its endpoints. Default: the
// process is alone. In a file:
//
//	fleet: redis://127.0.0.1:6379/0
//	fleet_only: [acme/*]
//	fleet_secret: env:FLEET_SECRET
//	fleet_min_reporters: 3
type Fleet struct {
	// Address is that of a Redis or Valkey server: redis://127.0.0.1:6379/0, or rediss://
	// for TLS, with a user and a password if the server wants them; or env:NAME or
	// file:PATH, where the address is. Default "": no fleet.
	Address string // fleet
	// Only are the endpoints that are shared, by the full names of their models, as
	// patterns of [path.Match], in which a * stands for any text without a slash.
	// Default none: all.
	Only []string // fleet_only
	// Secret is where the secret is by which the fleet's processes recognise their
	// endpoints: env:NAME or file:PATH. Default "": one that the first process has left
	// in the store.
	Secret string // fleet_secret
	// MinReporters is the number of processes that must have seen failures before the
	// fleet's circuit opens. Default 0: 2, or a tenth of those seen in the window,
	// whichever is more; 1 for a process that is alone.
	MinReporters int // fleet_min_reporters
}

// String returns the address without its password and its options, or "".
func (f Fleet) String() string {
	if f.Address == "" || place.Is(f.Address) {
		return f.Address
	}
	address, ok := parseStore(f.Address)
	if !ok {
		return "an address that can't be parsed"
	}
	shown := url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path}
	if name := address.User.Username(); name != "" {
		shown.User = url.User(name)
	}
	return shown.String()
}

// Resolve returns the address and the secret, read from where they are. The error is a
// [*ConfigError].
func (f Fleet) Resolve() (address, secret string, err error) {
	if err := f.validate(); err != nil {
		return "", "", err
	}
	if address = f.Address; place.Is(address) {
		if address, err = place.Read(f.Address, "an address"); err != nil {
			return "", "", &ConfigError{Field: "fleet", Err: err}
		}
		if got := wrongAddress(address); got != "" {
			return "", "", &ConfigError{Field: "fleet", Got: got + ", in " + f.Address, Takes: takesStore}
		}
	}
	if f.Secret != "" {
		if secret, err = place.Read(f.Secret, "a secret"); err != nil {
			return "", "", &ConfigError{Field: "fleet_secret", Err: err}
		}
	}
	return address, secret, nil
}

const (
	takesStore   = "the address of a Redis or Valkey server, such as redis://127.0.0.1:6379/0 (rediss:// for TLS), or env:NAME or file:PATH, where the address is"
	takesOnly    = "a list of full names of models, in which a * stands for any text without a slash, such as [acme/*]"
	takesHidden  = "env:NAME or file:PATH, where the secret is"
	hiddenSecret = "something else, which is not shown because it may be a secret"
)

// schemes are those of addresses of a store.
var schemes = []string{"redis", "rediss", "valkey", "valkeys", "unix"}

// parseStore parses the address of a store. ok is false too if a password may be cut by what
// it has: where the parts of the address end is not known then.
func parseStore(given string) (address *url.URL, ok bool) {
	address, err := url.Parse(given)
	return address, err == nil && !strings.Contains(address.Path+address.RawQuery, "@") && address.Fragment == ""
}

// wrongAddress says what is wrong with the address of a store, without its password; "" if
// nothing is.
func wrongAddress(given string) string {
	scheme, rest, ok := strings.Cut(given, "://")
	switch {
	case !ok && (strings.ContainsAny(given, "@=") || len(given) > maxShown): // "host:6380,password=…", as Azure writes it
		return "one without redis://"
	case !ok:
		return fmt.Sprintf("%q, without redis://", given)
	case !slices.Contains(schemes, scheme):
		return fmt.Sprintf("%q before ://%s", scheme, nearest.Question(scheme, schemes))
	}
	address, ok := parseStore(given)
	switch {
	case !ok && strings.Contains(rest, "@"):
		return "one that can't be parsed (in a password, / is %2F, ? is %3F, # is %23 and @ is %40)"
	case !ok:
		return "one that can't be parsed"
	case address.Host == "" && scheme != "unix":
		return "one without a host"
	case strings.Contains(address.Host, ","):
		return "one with several hosts, where further ones are ?addr=HOST:PORT&addr=HOST:PORT"
	}
	return ""
}

// validate checks what can be known without reading anything.
func (f Fleet) validate() error {
	given := []struct {
		field string
		set   bool
	}{{"fleet_only", len(f.Only) > 0}, {"fleet_secret", f.Secret != ""}, {"fleet_min_reporters", f.MinReporters != 0}}
	for _, g := range given {
		if g.set && f.Address == "" {
			return &ConfigError{Field: g.field, Err: errors.New("has no effect unless fleet is set")}
		}
	}
	if f.Address != "" && !place.Is(f.Address) {
		if got := wrongAddress(f.Address); got != "" {
			return &ConfigError{Field: "fleet", Got: got, Takes: takesStore}
		}
	}
	if f.Secret != "" && !place.Is(f.Secret) {
		return &ConfigError{Field: "fleet_secret", Got: hiddenSecret, Takes: takesHidden}
	}
	for i, pattern := range f.Only {
		if _, err := path.Match(pattern, ""); err != nil {
			return &ConfigError{Field: fmt.Sprintf("fleet_only[%d]", i), Got: strconv.Quote(pattern), Takes: "the full name of a model, or a pattern such as acme/*"}
		}
	}
	if f.MinReporters < 0 {
		return &ConfigError{Field: "fleet_min_reporters", Got: f.MinReporters, Takes: takesCount}
	}
	return nil
}

// fleetSettings are the fields of a fleet, all at the top of a file.
var fleetSettings = []setting{
	{name: "fleet", takes: takesStore, set: func(c *RetryConfig, n *yaml.Node) error {
		texts, err := parseStrings(n)
		if err != nil || n.Kind != yaml.ScalarNode {
			return &ConfigError{Line: n.Line, Field: "fleet", Got: gotText(n), Takes: takesStore}
		}
		c.Fleet.Address = texts[0]
		return nil
	}},
	nameList("fleet_only", takesOnly, func(c *RetryConfig) *[]string { return &c.Fleet.Only }),
	{name: "fleet_secret", takes: takesHidden, set: func(c *RetryConfig, n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || !place.Is(n.Value) {
			return &ConfigError{Line: n.Line, Field: "fleet_secret", Got: hiddenSecret, Takes: takesHidden}
		}
		c.Fleet.Secret = n.Value
		return nil
	}},
	count("fleet_min_reporters", takesCount, func(c *RetryConfig) *int { return &c.Fleet.MinReporters }),
}
