package filelock

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// KeepsOpen says that an open file can't be replaced: it is closed before.
const KeepsOpen = false

// Lock locks a file for this process; busy is true if another has locked it. It locks a byte
// far beyond the end: others may not read what is locked.
func Lock(file *os.File) (busy bool, err error) {
	at := windows.Overlapped{Offset: math.MaxUint32, OffsetHigh: math.MaxInt32}
	err = windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return true, nil
	}
	return false, err
}
