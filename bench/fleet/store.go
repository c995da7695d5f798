package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// A store is a redis-server that keeps nothing on disk.
type store struct {
	address string
	cmd     *exec.Cmd
	client  rueidis.Client
}

func connect(address string) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true})
}

func startStore(ctx context.Context) (*store, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install redis-server", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s := &store{address: address, cmd: exec.CommandContext(ctx, program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if s.client, err = connect(address); err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, err
		}
	}
}

func (s *store) stop() {
	if s.client != nil {
		s.client.Close()
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *store) flush(ctx context.Context) error {
	return s.client.Do(ctx, s.client.B().Flushall().Build()).Error()
}

// commands returns how many commands the server has run, those of scripts among them, without
// INFO, which asks for it, and the PING by which a client looks whether its connection lives.
func (s *store) commands(ctx context.Context) (int, error) {
	text, err := s.client.Do(ctx, s.client.B().Info().Section("commandstats").Build()).ToString()
	if err != nil {
		return 0, err
	}
	sum := 0
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() { // cmdstat_get:calls=12,usec=…
		name, rest, ok := strings.Cut(lines.Text(), ":calls=")
		if !ok || name == "cmdstat_info" || name == "cmdstat_ping" {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(calls)
		if err != nil {
			return 0, fmt.Errorf("INFO commandstats says %q: %w", lines.Text(), err)
		}
		sum += n
	}
	return sum, nil
}
