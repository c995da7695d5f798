//go:build unix

// Command mutation puts faults into backoff, breaker, pace, endpoint and retry, one
// at a time, and tells which of them the tests let pass. It runs gremlins for that,
// and compares the survivors with accepted.yaml, which has each with the reason why
// it changes no behaviour. It fails if there is any other.
//
//	cd bench && go run ./mutation [package ...]
//
// The tests run with -short, and their models with fewer plans than usual, or with
// as many as the environment says (LLMCALL_MODEL_PLANS, LLMCALL_MODEL_STEPS,
// LLMCALL_HISTORIES). It runs at the lowest priority, and what gremlins says of each
// mutant goes to the standard error.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v4"
)

const gremlins = "github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0"

// maxMemory is what each process of a run may use.
const maxMemory = 6 << 30

// report is what gremlins writes.
type report struct {
	Files []struct {
		Name      string `json:"file_name"`
		Mutations []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
			Line   int    `json:"line"`
			Column int    `json:"column"`
		} `json:"mutations"`
	} `json:"files"`
}

// accepted is a survivor that changes no behaviour. It is known by its line's
// text, which lines added above do not change.
type accepted struct {
	File string `yaml:"file"` // "backoff/jitter.go"
	Code string `yaml:"code"` // the line, without its comment and the space around it
	Type string `yaml:"type"` // gremlins' name of the mutator; "" is any
	Why  string `yaml:"why"`
}

func main() {
	log.SetFlags(0)
	packages := os.Args[1:]
	if len(packages) == 0 {
		packages = []string{"backoff", "breaker", "pace", "endpoint", "retry"}
	}
	if err := run(packages); err != nil {
		log.Fatal(err)
	}
}

func run(packages []string) error {
	data, err := os.ReadFile("mutation/accepted.yaml")
	if err != nil {
		return err
	}
	var known []accepted
	if err := yaml.Load(data, &known, yaml.WithKnownFields()); err != nil {
		return fmt.Errorf("mutation/accepted.yaml: %w", err)
	}
	// A mutant may fill the memory without end; one that runs against this limit
	// is found as surely as one that fails a test.
	limit := syscall.Rlimit{Cur: maxMemory, Max: maxMemory}
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &limit); err != nil {
		return err
	}
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); err != nil {
		return err
	}
	failed := false
	for _, name := range packages {
		ok, err := mutate(name, known)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		failed = failed || !ok
	}
	if failed {
		return errors.New("there are survivors that are not accepted")
	}
	return nil
}

// mutate runs gremlins on a package, and reports whether every survivor is
// accepted.
func mutate(name string, known []accepted) (bool, error) {
	dir, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "report.json")
	// One worker, and time enough, twenty times what the tests take without a
	// fault (so they must be run for it, not remembered): a mutant that is slow
	// because others run at the same time would run out of it. One that never ends,
	// such as a loop in a synctest bubble, is cut then.
	cmd := exec.Command("go", "run", gremlins, "unleash", "--workers", "1", "--timeout-coefficient", "20", "--output", out, "./"+name)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "..", os.Stderr, os.Stderr
	cmd.Env = append(quick(os.Environ()), "GOFLAGS="+os.Getenv("GOFLAGS")+" -count=1 -short")
	if err := cmd.Run(); err != nil {
		return false, err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return false, err
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return false, err
	}
	counts, ok := map[string]int{}, true
	for _, f := range r.Files {
		file := filepath.Join(name, filepath.Base(f.Name))
		source, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			return false, err
		}
		lines := strings.Split(string(source), "\n")
		for _, m := range f.Mutations {
			status := m.Status
			if status == "LIVED" || status == "NOT COVERED" {
				code := codeOf(lines[m.Line-1])
				if why := reason(known, file, code, m.Type); why != "" {
					status += ", accepted"
				} else {
					ok = false
					fmt.Printf("%s:%d:%d: %s %s\n\t%s\n", file, m.Line, m.Column, m.Status, m.Type, code)
				}
			}
			counts[status]++
		}
	}
	fmt.Printf("%s: %v\n", name, counts)
	return ok, nil
}

// quick returns an environment in which the models of the tests take a second or
// two, unless it says how long they are to take.
func quick(environment []string) []string {
	return append([]string{"LLMCALL_MODEL_PLANS=300", "LLMCALL_MODEL_STEPS=20000", "LLMCALL_HISTORIES=300"}, environment...)
}

// codeOf returns a line without its comment, so that a better comment changes no
// entry. (No line with a mutant has " // " in a string.)
func codeOf(line string) string {
	code, _, _ := strings.Cut(line, " // ")
	return strings.TrimSpace(code)
}

func reason(known []accepted, file, code, mutator string) string {
	for _, a := range known {
		if a.File == file && a.Code == code && (a.Type == "" || a.Type == mutator) {
			return a.Why
		}
	}
	return ""
}
