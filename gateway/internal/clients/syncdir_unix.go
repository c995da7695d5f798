//go:build !windows

package clients

import (
	"errors"
	"os"
)

// syncDir makes a rename in a directory outlive a loss of power.
func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err = file.Sync(); errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, file.Close())
}
