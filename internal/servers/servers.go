// Package servers starts Redis servers for tests: one, a Sentinel with a master and a replica,
// or a Cluster of three. They listen on the loopback, keep nothing on disk, and end with the
// test. Tests that start one are skipped with -short, and where redis-server is not installed;
// with LLMCALL_REAL=1 they fail there.
package servers

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long servers may take for something. They are quick: a busy machine is not.
const patience = 30 * time.Second

// Server is a process of redis-server or redis-sentinel. Its methods fail the test.
type Server struct {
	// Addr is where it listens, 127.0.0.1:port.
	Addr string
	// URL is that of its database 0, with the password and the certificate that it was
	// started with.
	URL string

	t       testing.TB
	program string
	args    []string // without the port
	cli     []string // flags of redis-cli
	secure  bool     // TLS
	cmd     *exec.Cmd
	ended   chan struct{} // closed when cmd has ended
	said    *bytes.Buffer // by cmd; to be read when it has ended
}

// need skips a test that can't have its programs.
func need(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts redis-server")
	}
	for _, program := range []string{"redis-server", "redis-sentinel", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("LLMCALL_REAL") == "1" {
				t.Fatalf("LLMCALL_REAL=1 is set, and %s is missing: %v", program, err)
			}
			t.Skip(program + " is not installed: apt-get install redis-server redis-sentinel")
		}
	}
}

// Redis starts a server, with more arguments as redis-server takes them ("--maxmemory", "10mb").
func Redis(t testing.TB, args ...string) *Server {
	t.Helper()
	need(t)
	return single(t, "", args)
}

// WithPassword starts a server that wants a password. A ":" in it separates a user of its ACL,
// who may do everything, from the password: "user:secret".
func WithPassword(t testing.TB, password string) *Server {
	t.Helper()
	need(t)
	name, secret, has := strings.Cut(password, ":")
	if !has {
		return single(t, ":"+password+"@", []string{"--requirepass", password})
	}
	return single(t, password+"@", []string{"--user", name, "on", ">" + secret, "~*", "&*", "+@all", "--user", "default", "off"})
}

// single starts a server whose URL has a user and a password.
func single(t testing.TB, user string, args []string) *Server {
	t.Helper()
	s := &Server{t: t, program: "redis-server", args: append(inMemory(t), args...)}
	if name, secret, has := strings.Cut(strings.TrimSuffix(user, "@"), ":"); has {
		s.cli = []string{"-a", secret, "--no-auth-warning"}
		if name != "" {
			s.cli = append(s.cli, "--user", name)
		}
	}
	s.begin()
	s.URL = "redis://" + user + s.Addr + "/0"
	return s
}

// inMemory are the arguments of a server that keeps nothing.
func inMemory(t testing.TB) []string {
	return []string{"--save", "", "--appendonly", "no", "--dir", t.TempDir(), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"}
}

// begin starts a server at a port that is free.
func (s *Server) begin() {
	s.t.Helper()
	if err := s.tryToBegin(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) tryToBegin() (err error) {
	for range 5 { // somebody else may take the port first
		s.Addr = "127.0.0.1:" + strconv.Itoa(free(s.t))
		if err = s.start(); err == nil {
			s.t.Cleanup(s.Kill)
			return nil
		}
	}
	return err
}

// free returns a port that nobody listens at.
func free(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *Server) port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// start starts the process, and waits until it answers.
func (s *Server) start() error {
	args := s.args
	if s.program == "redis-sentinel" { // the file is the first argument
		args = append(args[:1:1], "--port", s.port())
		args = append(args, s.args[1:]...)
	} else if s.secure {
		args = append([]string{"--port", "0", "--tls-port", s.port()}, args...)
	} else {
		args = append([]string{"--port", s.port()}, args...)
	}
	s.said = &bytes.Buffer{}
	s.cmd = exec.Command(s.program, args...)
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	endWithTest(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(s.cmd, s.ended)
	own := "process_id:" + strconv.Itoa(s.cmd.Process.Pid) + "\r"
	for began := time.Now(); time.Since(began) < patience; {
		if text, err := s.ask("info", "server"); err == nil && strings.Contains(text, own) {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s has ended: %s", s.program, s.said)
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.Kill()
	return fmt.Errorf("%s does not answer: %s", s.program, s.said)
}

// ask runs redis-cli.
func (s *Server) ask(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args = append(append([]string{"-h", "127.0.0.1", "-p", s.port(), "-e"}, s.cli...), args...)
	out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput()
	return string(out), err
}

// Do runs a command, as redis-cli takes it, and returns what it prints.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	text, err := s.ask(args...)
	if err != nil {
		s.t.Fatalf("redis-cli %q: %v\n%s", args, err, text)
	}
	return strings.TrimSpace(text)
}

// Start starts a server again that was stopped or killed. It is empty, at the same port.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// RestartEmpty kills a server, and starts it again at the same port.
func (s *Server) RestartEmpty() {
	s.t.Helper()
	s.Kill()
	s.Start()
}

// Stop ends a server by SIGTERM: it says goodbye.
func (s *Server) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	s.await()
}

// Kill ends a server by SIGKILL, also if it is paused or has ended.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

func (s *Server) await() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("%s does not end", s.program)
	}
}

func (s *Server) signal(which os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(which); err != nil {
		s.t.Fatal(err)
	}
}

// Full says whether the server's memory is full: it refuses writes, and reads go on.
func (s *Server) Full(yes bool) {
	s.t.Helper()
	limit := "0"
	if yes {
		limit = "1"
	}
	s.Do("config", "set", "maxmemory", limit)
}

// until waits for something.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("after %v: not %s", patience, what)
		}
	}
}

// write writes a file of a test, and returns its path.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
