//go:build unix

package soak_test

import "syscall"

// openFiles returns how many files and connections this process may have open.
// The runtime has raised the limit as far as it may already.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<20 {
		return 1 << 20
	}
	return int(limit.Cur)
}
