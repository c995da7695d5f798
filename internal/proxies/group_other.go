//go:build !unix

package proxies

import (
	"os"
	"os/exec"
)

// inGroup does nothing: there are no groups of processes.
func inGroup(*exec.Cmd) {}

// endGroup ends a process alone.
func endGroup(p *os.Process) error { return p.Kill() }
