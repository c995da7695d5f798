// Package proxies starts what is between a client and its providers, each as a process
// of its own: `llmcall serve`, and what it is measured against (Portkey, nginx, HAProxy).
// It is for generators and benchmarks.
//
//	p, err := proxies.Nginx.Start(ctx, proxies.Options{Dir: dir, Routes: routes})
//	...
//	defer p.Stop()
//	to := p.To(routes[0]) // the base URL, the name of the model, and the headers for a client
package proxies

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Route is what a client asks for: a provider, and perhaps a second one for when the first
// fails.
type Route struct {
	// Name has lower-case letters and digits.
	Name string
	// Protocol is the client's and the providers': "openai", "openai-responses",
	// "anthropic" or "gemini".
	Protocol string
	// Primary and Fallback are the providers' addresses, as SDKs of Anthropic have them:
	// without /v1. nginx and HAProxy take the path from the client: the two must have the
	// same path, and all routes the same hosts. Default of Fallback: there is none.
	Primary, Fallback string
	// Schema is the JSON Schema that the requests ask for, if a gateway that can do so is to
	// hold answers to it. Default nil: nothing is checked.
	Schema json.RawMessage
}

// Options says what a proxy is for.
type Options struct {
	// Dir is for the process's own files. It must exist.
	Dir string
	// Routes are all routes; at least one.
	Routes []Route
	// Patience is how long a provider may be silent. Default 0: the proxy's own default.
	Patience time.Duration
	// Cache is the folder where what comes from npm is kept.
	Cache string
	// Command is the path of the command llmcall.
	Command string
}

// Target is what a client needs to use a route.
type Target struct {
	URL    string // as Route.Primary: without /v1
	Model  string
	Header http.Header
}

// Proxy is a program between clients and providers.
type Proxy struct {
	Name string
	// Version is which one is run, "" if it is the project's own.
	Version string
	// OpenAIOnly says that it is only tried with OpenAI's chat completions.
	OpenAIOnly bool

	begin  func(ctx context.Context, port int, o Options) (*exec.Cmd, error)
	target func(base string, r Route, o Options) Target
}

// ErrMissing is matched by the error of a program that is not installed, or of a command
// that this build does not have.
var ErrMissing = errors.New("it is not there")

// Running is a proxy that runs.
type Running struct {
	proxy   Proxy
	options Options
	base    string
	command *exec.Cmd
	ended   chan struct{}
	log     *log
	// Took is the time from the start of the process until it took connections.
	Took time.Duration
}

// Start starts the proxy and waits until it takes connections. The caller must call Stop.
// The error matches [ErrMissing] if the program is not there.
func (p Proxy) Start(ctx context.Context, o Options) (*Running, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd, err := p.begin(ctx, port, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	r := &Running{proxy: p, options: o, base: "http://127.0.0.1:" + strconv.Itoa(port), command: cmd, ended: make(chan struct{}), log: new(log)}
	cmd.Stdout, cmd.Stderr = r.log, r.log
	cmd.Env = append(os.Environ(), "NODE_OPTIONS=", "NODE_ENV=production")
	inGroup(cmd)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is of no interest: its output says why
		close(r.ended)
	}()
	for time.Since(start) < startLimit {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://")); err == nil {
			r.Took = time.Since(start)
			return r, conn.Close()
		}
		select {
		case <-r.ended:
			return nil, fmt.Errorf("%s has ended: %s", p.Name, r.log)
		case <-time.After(time.Millisecond):
		}
	}
	r.Stop()
	return nil, fmt.Errorf("%s takes no connections after %v: %s", p.Name, startLimit, r.log)
}

const startLimit = 30 * time.Second

// To returns how a client uses a route.
func (r *Running) To(route Route) Target { return r.proxy.target(r.base, route, r.options) }

// Stop ends the process and its workers.
func (r *Running) Stop() {
	_ = endGroup(r.command.Process) // it has ended already, or will now
	<-r.ended
}

// Log returns the last of what the process wrote.
func (r *Running) Log() string { return r.log.String() }

// RSS returns the resident memory of the process and its children, in bytes. Memory that
// they share is counted for each.
func (r *Running) RSS() (int64, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		// pid (name) state ppid pgrp ...; resident pages are the 24th field (proc(5)).
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 21 && fields[2] == strconv.Itoa(r.command.Process.Pid) {
			pages, err := strconv.ParseInt(fields[21], 10, 64)
			if err != nil {
				return 0, err
			}
			sum += pages * int64(os.Getpagesize())
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("/proc has no process of %s", r.proxy.Name)
	}
	return sum, nil
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}

// log keeps the last of what a process writes.
type log struct {
	mu   sync.Mutex
	text []byte
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	l.text = l.text[max(0, len(l.text)-4<<10):]
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.text))
}

// program returns the path of a program; its error matches ErrMissing.
func program(name, debian string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		// Debian has servers in a folder that only root's PATH has.
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			return "", fmt.Errorf("%w: apt-get install %s", ErrMissing, debian)
		}
	}
	return path, nil
}
