package clients

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// hashOf is the hash of a key that nobody has.
func hashOf(digit string) string { return strings.Repeat(digit, 64) }

func TestClientsThatCantBe(t *testing.T) {
	good := Config{Name: "web", SHA256: hashOf("a")}
	with := func(change func(*Config)) []Config {
		c := good
		change(&c)
		return []Config{c}
	}
	key, _ := NewKey()
	for _, c := range []struct {
		name, dir string
		all       []Config
		want      string // "": it can be
	}{
		{"one", "", []Config{good}, ""},
		{"nobody", "", nil, ""},
		{"all limits", "state", with(func(c *Config) {
			c.Routes, c.RequestsPerMinute, c.TokensPerMinute, c.MaxConcurrent, c.MaxCostPerDay = []string{"support", "*"}, 0.5, 1e9, 20, 5
		}), ""},
		{"capital digits", "", []Config{{Name: "web", SHA256: hashOf("A")}}, ""},
		{"no name", "", with(func(c *Config) { c.Name = "" }), "clients[0]: name must be set: what the client uses is counted by it"},
		{"a long name", "", with(func(c *Config) { c.Name = strings.Repeat("n", 101) }), "name must have at most 100 bytes, got 101"},
		{"a line in a name", "", with(func(c *Config) { c.Name = "a\nb" }), `clients[0] ("a\nb"): name must have printable characters alone`},
		{"bytes in a name", "", with(func(c *Config) { c.Name = "a\xff" }), "name must have printable characters alone"},
		{"a name twice", "", []Config{good, {Name: "web", SHA256: hashOf("b")}}, `clients[1] ("web"): name is that of clients[0] too: must be another`},
		{"a hash twice", "", []Config{{Name: "app", SHA256: hashOf("A")}, good}, `clients[1] ("web"): sha256 is that of clients[0] too: each client needs a key of its own`},
		{"no hash", "", with(func(c *Config) { c.SHA256 = "" }), "sha256 must be set: the hash of the client's key (llmcall serve key new makes both)"},
		{"a short hash", "", with(func(c *Config) { c.SHA256 = "9f86" }), "sha256 must be 64 hexadecimal digits, got 4 characters that are not"},
		{"a hash of other characters", "", with(func(c *Config) { c.SHA256 = hashOf("g") }), "sha256 must be 64 hexadecimal digits"},
		{"a key", "", with(func(c *Config) { c.SHA256 = key }), "sha256 must be the hash of the client's key, got a key"},
		{"a route without a name", "", with(func(c *Config) { c.Routes = []string{"support", ""} }), `routes[1] must be the name of a route, or "*" for all`},
		{"requests below 0", "", with(func(c *Config) { c.RequestsPerMinute = -1 }), "requests_per_minute must be a number from 0 (no limit) to 1000000000, got -1"},
		{"tokens that are not a number", "", with(func(c *Config) { c.TokensPerMinute = math.NaN() }), "tokens_per_minute must be a number from 0 (no limit) to 1000000000, got NaN"},
		{"infinite tokens", "", with(func(c *Config) { c.TokensPerMinute = math.Inf(1) }), "tokens_per_minute must be"},
		{"concurrent below 0", "", with(func(c *Config) { c.MaxConcurrent = -1 }), "max_concurrent must be"},
		{"money below 0", "state", with(func(c *Config) { c.MaxCostPerDay = -5 }), "max_cost_per_day must be"},
		{"less money than there is", "state", with(func(c *Config) { c.MaxCostPerDay = 1e-10 }), "max_cost_per_day must be at least 1e-9 dollars, got 1e-10"},
		{"money without a directory", "", with(func(c *Config) { c.MaxCostPerDay = 5 }), `clients[0] ("web"): max_cost_per_day needs state_dir, a directory in which the day's account outlives a restart, or a fleet, which has it in its store`},
	} {
		err := Check(c.dir != "", c.all)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if _, typed := errors.AsType[*ConfigError](err); err != nil && !typed {
			t.Errorf("%s: %T", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), key) {
			t.Errorf("%s: the error has a key", c.name)
		}
	}
}
