//go:build unix

package mcp

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup has the command start in a process group of its own, so that what it starts
// itself (npx starts node) can be ended with it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// A group that is gone needs no signal.
func terminateGroup(leader *os.Process) { _ = syscall.Kill(-leader.Pid, syscall.SIGTERM) }

func killGroup(leader *os.Process) { _ = syscall.Kill(-leader.Pid, syscall.SIGKILL) }
