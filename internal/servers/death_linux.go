package servers

import (
	"os/exec"
	"syscall"
)

// endWithTest has a process end if the test is killed, when nothing is cleaned up.
func endWithTest(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
