package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// A task is what a caller does: a process that makes healthy calls through a breaker.
type task struct {
	Way    string
	Store  string // the address
	AtOnce int
	Lasts  time.Duration // a call
	Length time.Duration // how long calls are made
}

// An outcome is what a caller has measured.
type outcome struct {
	Calls   int
	Longest time.Duration
}

// call does a task: it says that it is ready, waits for a line, and writes the outcome.
func call(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	w, err := wayOf(t.Way)
	if err != nil {
		return err
	}
	through, leave, err := w.open(t.Store)
	if err != nil {
		return err
	}
	defer leave()
	work := func() error {
		time.Sleep(t.Lasts) // returns at once for 0
		return nil
	}
	if err := through(work); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		sum   outcome
		fails []error
	)
	until := time.Now().Add(t.Length)
	for range t.AtOnce {
		group.Go(func() {
			var o outcome
			var err error
			for began := time.Now(); err == nil && began.Before(until); {
				err = through(work)
				now := time.Now()
				o.Calls++
				o.Longest = max(o.Longest, now.Sub(began))
				began = now
			}
			mu.Lock()
			defer mu.Unlock()
			sum.Calls += o.Calls
			sum.Longest = max(sum.Longest, o.Longest)
			fails = append(fails, err)
		})
	}
	group.Wait()
	if err := errors.Join(fails...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(sum)
}

// A caller is the process of a task.
type caller struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
}

func startCaller(ctx context.Context, task string) (*caller, error) {
	c := &caller{cmd: exec.CommandContext(ctx, os.Args[0], "-task", task)}
	c.cmd.Stderr = os.Stderr
	input, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.input, c.output = input, bufio.NewReader(output)
	if line, err := c.output.ReadString('\n'); err != nil || line != "ready\n" {
		c.end()
		return nil, fmt.Errorf("a caller is not ready: %q, %w", line, err)
	}
	return c, nil
}

func (c *caller) begin() error {
	_, err := fmt.Fprintln(c.input)
	return err
}

func (c *caller) outcome() (o outcome, err error) {
	line, err := c.output.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	return o, err
}

// end ends the process, if it has not ended by itself.
func (c *caller) end() {
	c.input.Close()
	_ = c.cmd.Wait() // what failed was told on standard error
}
