package proxies

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Llmcall is `llmcall serve`.
var Llmcall = Proxy{
	Name: "llmcall",
	begin: func(ctx context.Context, port int, o Options) (*exec.Cmd, error) {
		help, err := exec.CommandContext(ctx, o.Command, "serve", "--help").Output()
		if err != nil || !bytes.Contains(help, []byte("--config")) {
			return nil, fmt.Errorf("%w: %s has no serve --config (%v)", ErrMissing, o.Command, err)
		}
		file := filepath.Join(o.Dir, "gateway.yaml")
		if err := os.WriteFile(file, []byte(configuration(o)), 0o600); err != nil {
			return nil, err
		}
		return exec.Command(o.Command, "serve", "--config", file, "--listen", "127.0.0.1:"+strconv.Itoa(port)), nil
	},
	target: func(base string, r Route, _ Options) Target {
		return Target{URL: base, Model: r.Name}
	},
}

// configuration has two providers and a route for each route.
func configuration(o Options) string {
	var providers, routes strings.Builder
	for _, r := range o.Routes {
		models := "p" + r.Name + "/model"
		fmt.Fprintf(&providers, "  p%s: {protocol: %s, base_url: %q, key: none}\n", r.Name, r.Protocol, baseURL(r.Protocol, r.Primary))
		if r.Fallback != "" {
			models += ", f" + r.Name + "/model"
			fmt.Fprintf(&providers, "  f%s: {protocol: %s, base_url: %q, key: none}\n", r.Name, r.Protocol, baseURL(r.Protocol, r.Fallback))
		}
		fmt.Fprintf(&routes, "  %s: {models: [%s]", r.Name, models)
		if r.Schema != nil {
			routes.WriteString(", checks: [request_schema]")
		}
		if o.Patience > 0 {
			fmt.Fprintf(&routes, ", attempt_timeout: %v, idle_timeout: %[1]v, initial_delay: 0.1", o.Patience.Seconds())
		}
		routes.WriteString("}\n")
	}
	return "providers:\n" + providers.String() + "routes:\n" + routes.String()
}

// baseURL returns an address as the protocol's own SDK has it.
func baseURL(protocol, address string) string {
	if strings.HasPrefix(protocol, "openai") {
		return address + "/v1"
	}
	return address
}

// Direct is how a client asks the primary itself, without a proxy.
func Direct(r Route) Target { return Target{URL: r.Primary, Model: "model", Header: http.Header{}} }

// milliseconds writes a time without a unit.
func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
