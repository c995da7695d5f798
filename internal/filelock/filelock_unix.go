//go:build unix && !aix && !solaris

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// KeepsOpen says that an open file can be replaced, so that its lock holds meanwhile.
const KeepsOpen = true

// Lock locks a file for this process; busy is true if another has locked it. Where the file
// system has no locks, nothing is locked.
func Lock(file *os.File) (busy bool, err error) {
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return true, nil
		case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP):
			return false, nil
		}
		return false, err
	}
}
