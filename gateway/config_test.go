package gateway_test

import (
	"testing"
	"time"

	"llmcall/gateway"
	"llmcall/validate"
)

// The example of the documentation, and what is left out.
func TestParse(t *testing.T) {
	cfg, err := gateway.Parse("gateway.yaml", []byte(`
listen: 127.0.0.1:8080
providers: {acme: {protocol: openai, base_url: http://127.0.0.1:9001/v1, keys: [env:ACME_KEY, file:/run/secrets/acme2]}}
clients: [{name: web, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, routes: [support], requests_per_minute: 600, max_cost_per_day: 5}]
admin: {listen: 127.0.0.1:8081}
state_dir: /var/lib/llmcall
max_body: 8MiB
fleet: redis://:sesame@127.0.0.1:6379/0
fleet_only: [acme/*]
fleet_secret: env:FLEET_SECRET
fleet_min_reporters: 3
routes:
  support: {models: [acme/small, openai/gpt-6-luna], checks: [json], max_attempts: 4, stream: pass}
  slow: {models: [acme/slow], attempt_timeout: 20m, enable_circuit_breaker: false}
  "*": {}
`), validate.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	if f := cfg.Fleet; f.Address != "redis://:sesame@127.0.0.1:6379/0" || len(f.Only) != 1 || f.Secret != "env:FLEET_SECRET" || f.MinReporters != 3 {
		t.Errorf("got %+v", f)
	}
	if c := cfg.Clients[0]; c.Name != "web" || c.RequestsPerMinute != 600 || c.MaxCostPerDay != 5 || len(c.Routes) != 1 {
		t.Errorf("got %+v", c)
	}
	if r := cfg.Routes["support"]; r.MaxAttempts != 4 || len(r.Checks) != 1 || r.Stream != gateway.Pass || !r.EnableCircuitBreaker ||
		r.MaxRateLimitWait != 30*time.Second || r.AttemptTimeout != 10*time.Minute {
		t.Errorf("got %+v", r)
	}
	if r := cfg.Routes["slow"]; r.EnableCircuitBreaker || r.AttemptTimeout != 20*time.Minute || r.Stream != gateway.Hold {
		t.Errorf("got %+v", r)
	}
	if cfg.MaxBody != 8<<20 || len(cfg.Providers["acme"].Keys) != 2 || cfg.Routes["*"] == nil {
		t.Errorf("got %+v", cfg)
	}
}

// What is wrong is named with its line, its field, what was given and what is taken.
func TestParseErrors(t *testing.T) {
	const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for _, c := range []struct{ text, want string }{
		{"listen: 0.0.0.0:8080", `gateway.yaml:1: listen must be an address of this machine alone (127.0.0.1, [::1], localhost) unless clients are configured: everybody who reaches it could spend your money, got "0.0.0.0:8080"`},
		{"listen: :8080", `gateway.yaml:1: listen must be an address with a host, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all networks, got ":8080"`},
		{"lisen: x", "gateway.yaml:1: lisen: unknown field, did you mean listen?"},
		{"\nclients:\n- {name: web, sha256: sk-secret}", "gateway.yaml:3: clients[0].sha256 must be the SHA-256 of a key, 64 hexadecimal digits, as `llmcall serve key new` prints it, got something else, which is not shown because it may be a key"},
		{"clients:\n- {name: web, sha256: " + hash + ", max_cost_per_day: 5}", "gateway.yaml:1: clients[0].max_cost_per_day: needs state_dir, a directory in which the day's account outlives a restart, or a fleet, which has it in its store"},
		{"clients:\n- {name: web, sha256: " + hash + ", routes: [suport]}\nroutes: {support: {models: [openai/m]}}", `gateway.yaml:1: clients[0].routes must be names of routes (support, did you mean support?), got "suport"`},
		{"routes:\n  a: {models: [openai/m], max_attemps: 3}", "gateway.yaml:2: routes.a.max_attemps: unknown field, did you mean max_attempts?"},
		{"routes:\n  a:\n    models: [openai/m]\n    max_attempts: 0", "gateway.yaml:4: routes.a.max_attempts must be a whole number of at least 1, got 0"},
		{"routes:\n  a: {checks: [json]}", "gateway.yaml:2: routes.a.models must be the full names of the models to ask, such as openai/gpt-6-luna, got nothing"},
		{"routes:\n  a: {models: [openai/m], stream: late}", `gateway.yaml:2: routes.a.stream must be "hold" or "pass", got "late"`},
		{"routes:\n  a: {models: [openai/m], max_attempts_before_human: 2}", "gateway.yaml:2: routes.a.max_attempts_before_human: needs a person who looks at the call, whom a client of a gateway can't reach"},
		{"routes:\n  \"*\": {models: [openai/m]}", "gateway.yaml:2: routes.*.models: must not be set: this route is for the models that clients name"},
		{"providers: {acme: {protocl: openai}}", "gateway.yaml:1: providers.acme.protocl: unknown field, did you mean protocol?"},
		{"routes: {}\nfleet: http://:sesame@h", `gateway.yaml:2: fleet must be the address of a Redis or Valkey server, such as redis://127.0.0.1:6379/0 (rediss:// for TLS), or env:NAME or file:PATH, where the address is, got "http" before ://`},
		{"routes: {}\nfleet_only: [acme/*]", "gateway.yaml:2: fleet_only: has no effect unless fleet is set"},
		{"flet: redis://h", "gateway.yaml:1: flet: unknown field, did you mean fleet?"},
		{"routes:\n  a: {models: [openai/m], fleet: redis://h}", "gateway.yaml:2: routes.a.fleet: belongs to the whole file"},
		{"max_body: 5 bytes", `gateway.yaml:1: max_body must be a size of at least 1024: bytes, or a size like "32MiB", got "5 bytes"`},
	} {
		if _, err := gateway.Parse("gateway.yaml", []byte(c.text), validate.Builder{}); err == nil || err.Error() != c.want {
			t.Errorf("%s\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}
