//go:build !unix

package soak_test

// openFiles returns how many files and connections this process may have open.
func openFiles() int { return 1 << 20 }
