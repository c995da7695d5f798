//go:build unix

package proxies

import (
	"os"
	"os/exec"
	"syscall"
)

// inGroup makes a process the first of a group, so that its workers end with it.
func inGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// endGroup ends a process and its workers.
func endGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
