package results

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"llmcall/internal/filelock"
)

// errOrdered is the error of [File.Append] after [File.Order].
var errOrdered = errors.New("results: nothing can be appended after Order")

// Order puts the file into the order of the rows, with their numbers of now, and leaves out
// stale lines and those of rows that were asked again. It is called when all rows are done;
// nothing can be appended after it. It writes another file in the same directory, which then
// takes the name: an interrupt leaves one or the other. The mode stays. A [Stream] stays as
// it is, and so does a file that is in order. On an error the file is as it was, and all
// lines are in it.
func (f *File) Order() error {
	if f.path == "" || f.file == nil || f.ordered {
		return nil
	}
	if err := f.rest(); err != nil {
		return err
	}
	if f.inOrder && f.lines == len(f.lineOf) && slices.IsSorted(f.lineOf) {
		return nil
	}
	if err := f.reorder(); err != nil {
		return fmt.Errorf("%s has all lines, but not in the order of the rows: %w", f.path, err)
	}
	f.ordered = true
	return nil
}

func (f *File) reorder() error {
	same, err := leadsTo(f.path, f.file)
	if err != nil {
		return err
	}
	if !same {
		return errors.New("it was removed or replaced meanwhile")
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	// One process at a time is here: what is there was left by a crash.
	name := filepath.Join(filepath.Dir(f.path), "."+filepath.Base(f.path)+".ordered")
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ordered, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	err = errors.Join(f.copyTo(ordered), ordered.Chmod(info.Mode().Perm()), ordered.Sync())
	if err == nil {
		err = f.replaceBy(ordered, name)
	}
	if err != nil {
		ordered.Close() // it may be closed
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// copyTo writes the lines in the order of the rows.
func (f *File) copyTo(to io.Writer) error {
	w := bufio.NewWriterSize(to, 1<<20)
	var text []byte
	for i, at := range f.lineOf {
		if at == noLine {
			continue
		}
		var err error
		if text, err = f.lineAt(at, text); err != nil {
			return err
		}
		line, err := numbered(text, i+1)
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return w.Flush()
}

// lineAt reads the line that begins at a place, with its end. The buffer is used again.
func (f *File) lineAt(at int64, buffer []byte) ([]byte, error) {
	buffer = buffer[:0]
	for {
		buffer = slices.Grow(buffer, 4096)
		had := len(buffer)
		n, err := f.file.ReadAt(buffer[had:cap(buffer)], at+int64(had))
		buffer = buffer[:had+n]
		if end := bytes.IndexByte(buffer[had:], '\n'); end >= 0 {
			return buffer[:had+end+1], nil
		}
		if err != nil {
			return nil, fmt.Errorf("it was changed meanwhile: %w", err)
		}
	}
}

// replaceBy gives the file's name to another, which is written and locked first: whoever
// opens the name finds one that is locked.
func (f *File) replaceBy(ordered *os.File, name string) error {
	if !filelock.KeepsOpen {
		if err := errors.Join(ordered.Close(), f.file.Close()); err != nil {
			return err
		}
		f.file = nil
		return os.Rename(name, f.path)
	}
	if _, err := filelock.Lock(ordered); err != nil { // nobody else knows it
		return err
	}
	if err := os.Rename(name, f.path); err != nil {
		return err
	}
	f.file.Close() // nothing was written since it was synced
	f.file = ordered
	syncDirectory(filepath.Dir(f.path))
	return nil
}

// syncDirectory writes the names in a directory to the disk, where that can be done: a
// directory may be unreadable, and not every file system has it.
func syncDirectory(path string) {
	if directory, err := os.Open(path); err == nil {
		directory.Sync()
		directory.Close()
	}
}
