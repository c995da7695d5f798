//go:build !unix

package mcp

import (
	"os"
	"os/exec"
)

func ownGroup(*exec.Cmd) {}

// There is no signal that asks a process to end.
func terminateGroup(*os.Process) {}

// One that has ended can't be killed.
func killGroup(leader *os.Process) { _ = leader.Kill() }
