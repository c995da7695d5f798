// Package plainfile reads a file that somebody named, of a bounded size.
package plainfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Refusal says why a path does not lead to something to read.
type Refusal struct{ Problem string }

// Error returns Problem.
func (r *Refusal) Error() string { return r.Problem }

// Read returns the content of a file of at most most bytes. Only a regular file is read,
// since a named pipe or a terminal could block for ever: another one, and one that is too
// large, is a *[Refusal]. Other errors are those of package os.
func Read(path string, most int) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &Refusal{fmt.Sprintf("is %s: takes a file", kind(info.Mode()))}
	}
	if info.Size() > int64(most) {
		return nil, tooLarge(info.Size(), most)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err == nil && len(data) > most { // it grew meanwhile
		err = tooLarge(int64(len(data)), most)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

func tooLarge(size int64, most int) error {
	return &Refusal{fmt.Sprintf("is %d bytes: takes at most %d (%d MiB)", size, most, most>>20)}
}

// kind names what a path leads to if not to a regular file.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
