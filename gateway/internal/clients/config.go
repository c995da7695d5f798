package clients

import (
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"unicode"

	"llmcall/account"
)

// Config is a client, with the words of the configuration.
type Config struct {
	// Name identifies the client in logs, in metrics, and in the journal: what it has used
	// belongs to its name. name: at most 100 bytes.
	Name string
	// SHA256 is the hash of the client's key, as 64 hexadecimal digits. sha256.
	SHA256 string
	// Routes are the routes that the client may use; one of them may be "*": all. routes.
	// Default: all.
	Routes []string
	// RequestsPerMinute and TokensPerMinute are what the client may use in a minute, at
	// most a billion. requests_per_minute, tokens_per_minute. 0: no limit.
	RequestsPerMinute, TokensPerMinute float64
	// MaxConcurrent is how many requests may be served at a time. max_concurrent. 0: no
	// limit.
	MaxConcurrent int
	// MaxCostPerDay is what the client may spend on a day in UTC, in US dollars, at most a
	// billion. max_cost_per_day. 0: no limit.
	MaxCostPerDay float64
}

// ConfigError is the error of a client that can't be.
type ConfigError struct {
	Index int    // which client, from 0
	Name  string // its name, if it has one
	Field string // "sha256"
	// Problem says what the field must be and what it is. It never has a key.
	Problem string
}

// Error names the client and its field.
func (e *ConfigError) Error() string {
	who := ""
	if e.Name != "" {
		who = fmt.Sprintf(" (%q)", e.Name)
	}
	return fmt.Sprintf("clients[%d]%s: %s %s", e.Index, who, e.Field, e.Problem)
}

const (
	maxName   = 100           // bytes
	maxNumber = 1_000_000_000 // a minute, and dollars a day, which are less than the nano-dollars of an int64
)

// Check returns a *[ConfigError] of the first client that can't be. kept says that what they
// spend outlives a restart, in a directory or in a fleet: otherwise no client may have a
// limit of money.
func Check(kept bool, all []Config) error {
	names, hashes := map[string]int{}, map[digest]int{}
	for i, c := range all {
		field, problem := c.problem(kept)
		sum, _ := c.digest()
		if earlier, twice := names[c.Name]; problem == "" && twice {
			field, problem = "name", fmt.Sprintf("is that of clients[%d] too: must be another", earlier)
		}
		if earlier, twice := hashes[sum]; problem == "" && twice {
			field, problem = "sha256", fmt.Sprintf("is that of clients[%d] too: each client needs a key of its own", earlier)
		}
		if problem != "" {
			return &ConfigError{Index: i, Name: c.Name, Field: field, Problem: problem}
		}
		names[c.Name], hashes[sum] = i, i
	}
	return nil
}

// problem returns what is wrong with a client by itself; "" if nothing is.
func (c *Config) problem(kept bool) (field, problem string) {
	switch {
	case c.Name == "":
		return "name", "must be set: what the client uses is counted by it"
	case len(c.Name) > maxName:
		return "name", fmt.Sprintf("must have at most %d bytes, got %d", maxName, len(c.Name))
	case strings.ToValidUTF8(c.Name, "") != c.Name || strings.ContainsFunc(c.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "name", "must have printable characters alone"
	case c.SHA256 == "":
		return "sha256", "must be set: the hash of the client's key (llmcall serve key new makes both)"
	case strings.HasPrefix(c.SHA256, keyPrefix):
		return "sha256", "must be the hash of the client's key, got a key: make another one (llmcall serve key new), since this file has been no place for it"
	}
	if _, ok := c.digest(); !ok {
		return "sha256", fmt.Sprintf("must be 64 hexadecimal digits, got %d characters that are not", len(c.SHA256))
	}
	for i, route := range c.Routes {
		if route == "" {
			return fmt.Sprintf("routes[%d]", i), "must be the name of a route, or \"*\" for all"
		}
	}
	for _, n := range []struct {
		field string
		value float64
	}{
		{LimitRequests, c.RequestsPerMinute}, {LimitTokens, c.TokensPerMinute}, {LimitConcurrent, float64(c.MaxConcurrent)}, {LimitCost, c.MaxCostPerDay},
	} {
		if !(n.value >= 0 && n.value <= maxNumber) {
			return n.field, fmt.Sprintf("must be a number from 0 (no limit) to %d, got %v", maxNumber, n.value)
		}
	}
	switch {
	case c.MaxCostPerDay > 0 && c.nanos() == 0:
		return LimitCost, fmt.Sprintf("must be at least 1e-9 dollars, got %v", c.MaxCostPerDay)
	case c.MaxCostPerDay > 0 && !kept:
		return LimitCost, "needs state_dir, a directory in which the day's account outlives a restart, or a fleet, which has it in its store"
	}
	return "", ""
}

// digest returns the hash of the key.
func (c *Config) digest() (sum digest, ok bool) {
	if len(c.SHA256) != hex.EncodedLen(len(sum)) {
		return digest{}, false
	}
	_, err := hex.Decode(sum[:], []byte(c.SHA256))
	return sum, err == nil
}

// nanos returns the money of a day in nano-dollars.
func (c *Config) nanos() int64 { return int64(math.Round(c.MaxCostPerDay * account.Dollar)) }
