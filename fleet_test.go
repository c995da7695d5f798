package llmcall_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/llm"
)

func TestTheLinesOfAFleet(t *testing.T) {
	const takes = "fleet must be the address of a Redis or Valkey server, such as redis://127.0.0.1:6379/0 (rediss:// for TLS), or env:NAME or file:PATH, where the address is, got "
	for _, c := range []struct{ file, want string }{
		{"fleet: redis://127.0.0.1:6379/0", ""},
		{"fleet: redis://[::1]", ""},
		{"fleet: valkey://store", ""},
		{"fleet: unix:///run/redis.sock?db=1", ""},
		{"fleet: rediss://app:sesame@store.example:6380/1?client_cache=0", ""},
		{"fleet: env:REDIS_URL", ""},
		{"fleet: file:/run/secrets/redis", ""},
		{"fleet: redis://h\nfleet_only: [acme/*]\nfleet_min_reporters: 3\nfleet_secret: file:/run/secret", ""},
		{"fleet: 127.0.0.1:6379", "c:1: " + takes + `"127.0.0.1:6379", without redis://`},
		{"fleet: app:sesame@store:6379", "c:1: " + takes + "one without redis://"},
		{"fleet: 'store:6380,password=sesame,ssl=True'", "c:1: " + takes + "one without redis://"},
		{"fleet: 'redis://a:1,b:2'", "c:1: " + takes + "one with several hosts, where further ones are ?addr=HOST:PORT&addr=HOST:PORT"},
		{"fleet: redsi://:sesame@store", "c:1: " + takes + `"redsi" before ://, did you mean redis?`},
		{"fleet: http://store", "c:1: " + takes + `"http" before ://`},
		{"fleet: redis://:se#same@store", "c:1: " + takes + "one that can't be parsed (in a password, / is %2F, ? is %3F, # is %23 and @ is %40)"},
		{"fleet: redis://store:sesame", "c:1: " + takes + "one that can't be parsed"},
		{"fleet: redis:///0", "c:1: " + takes + "one without a host"},
		{"fleet: 'env:'", "c:1: " + takes + `"env:", without redis://`},
		{"fleet:", "c:1: " + takes + "nothing"},
		{"fleet: {address: redis://h}", "c:1: " + takes + "a mapping"},
		{"fleet: [redis://:sesame@h]", "c:1: " + takes + "a list"},
		{"fleet: redis://h\nfleet_secret: sesame", "c:2: fleet_secret must be env:NAME or file:PATH, where the secret is, got something else, which is not shown because it may be a secret"},
		{"fleet: redis://h\nfleet_min_reporters: 0", "c:2: fleet_min_reporters must be a whole number of at least 1, got 0"},
		{"fleet: redis://h\nfleet_min_reporters: -2", "c:2: fleet_min_reporters must be a whole number of at least 1, got -2"},
		{"fleet: redis://h\nfleet_only: acme/*", "c:2: fleet_only must be a list of full names of models, in which a * stands for any text without a slash, such as [acme/*], got \"acme/*\""},
		{"fleet: redis://h\nfleet_only: ['acme/*', 'acme/[']", "c:2: fleet_only[1] must be the full name of a model, or a pattern such as acme/*, got \"acme/[\""},
		{"fleet_only: [acme/*]", "c:1: fleet_only: has no effect unless fleet is set"},
		{"fleet_secret: env:S", "c:1: fleet_secret: has no effect unless fleet is set"},
		{"fleet_min_reporters: 2", "c:1: fleet_min_reporters: has no effect unless fleet is set"},
		{"fleet: redis://h\nfleet_reporters: 2", "c:2: fleet_reporters: unknown field, did you mean fleet_min_reporters?"},
		{"redis_url: redis://:sesame@h", "c:1: redis_url: unknown field, did you mean fleet?"},
		{"fleet: redis://:sesame@h\nfleet: redis://:sesame@h", "c:2: fleet: appears twice, first on line 1"},
	} {
		cfg, _, err := llmcall.ParseConfig("c", []byte(c.file))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.file, got, c.want)
		}
		if text := fmt.Sprintf("%v %+v", cfg, cfg); strings.Contains(text, "sesame") {
			t.Errorf("%q: printed with the password: %s", c.file, text)
		}
	}
}

// A flag that sets the field shows as little.
func TestThePasswordOfAFleetIsNotShown(t *testing.T) {
	for _, address := range []string{"redis://:sesame@store:port", "store:sesame@", "redis://u:sesame", "sesame@", "redis://%sesame@h", "redis://:1/sesame@h", "redis://:1?sesame@h"} {
		err := new(llmcall.RetryConfig).Set("fleet", address)
		if err == nil {
			err = (&llmcall.RetryConfig{Fleet: llmcall.Fleet{Address: address}}).Validate()
		}
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for address, want := range map[string]string{
		"redis://:sesame@store:6379/0":                   "redis://store:6379/0",
		"rediss://app:sesame@store:6380/1?client_name=x": "rediss://app@store:6380/1",
		"env:REDIS_URL":            "env:REDIS_URL",
		"redis://:se same@store:x": "an address that can't be parsed",
		"redis://:1/sesame@store":  "an address that can't be parsed",
		"":                         "",
	} {
		if got := (llmcall.Fleet{Address: address}).String(); got != want {
			t.Errorf("%s is shown as %q, want %q", address, got, want)
		}
	}
}

func TestTheAddressAndTheSecretAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("hidden\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FLEET_TEST_URL", "redis://:sesame@store:6379/0\n")
	t.Setenv("FLEET_TEST_HTTP", "http://:sesame@store")
	for _, c := range []struct {
		fleet                 llmcall.Fleet
		address, secret, want string
	}{
		{llmcall.Fleet{Address: "redis://h"}, "redis://h", "", ""},
		{llmcall.Fleet{Address: "env:FLEET_TEST_URL", Secret: "file:" + path}, "redis://:sesame@store:6379/0", "hidden", ""},
		{llmcall.Fleet{Address: "env:FLEET_TEST_UNSET"}, "", "", "fleet: must be where an address is, got env:FLEET_TEST_UNSET, in which there is none"},
		{llmcall.Fleet{Address: "env:FLEET_TEST_HTTP"}, "", "", `where the address is, got "http" before ://, in env:FLEET_TEST_HTTP`},
		{llmcall.Fleet{Address: "redis://h", Secret: "env:FLEET_TEST_UNSET"}, "", "", "fleet_secret: must be where a secret is, got env:FLEET_TEST_UNSET, in which there is none"},
		{llmcall.Fleet{Address: "h"}, "", "", "without redis://"},
	} {
		address, secret, err := c.fleet.Resolve()
		if address != c.address || secret != c.secret || (err == nil) != (c.want == "") || err != nil && !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%v: %q, %q, %v; want %q, %q, %s", c.fleet, address, secret, err, c.address, c.secret, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("%v: the error has the password: %v", c.fleet, err)
		}
	}
}

// A line that would silently do nothing is refused.
func TestAFleetNeedsItsEndpoints(t *testing.T) {
	models := []llm.Model{llm.Func("m", nil)}
	cfg := llmcall.RetryConfig{Fleet: llmcall.Fleet{Address: "redis://h"}}
	_, err := llmcall.New(models, nil, cfg)
	if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != "fleet" {
		t.Errorf("got %v", err)
	}
	if cfg.Endpoints, err = endpoint.NewRegistry(endpoint.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err = llmcall.New(models, nil, cfg); err != nil {
		t.Error(err)
	}
}
