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
	"sync"
	"time"

	"llmcall/internal/filelock"
)

// syncEvery is how long a line may be in the memory of the system alone.
const syncEvery = 50 * time.Millisecond

// maxLine limits what is read as one line, in bytes: an answer can't be longer.
const maxLine = 256 << 20

// File is the output of a batch. [File.Append] may be called from many goroutines; the
// other methods are called one after the other.
type File struct {
	path   string    // without links; "" if what is written can't be read again
	stream io.Writer // where lines go if there is no path
	closes bool      // stream is ours
	found  Found

	mu      sync.Mutex
	file    *os.File
	size    int64 // of the file, to the end of the last whole line
	lines   int   // how many there are
	inOrder bool  // they have the numbers 1, 2, 3, …
	entries []entry
	reasons []string
	lineOf  []int64 // where the line of each row begins; noLine if there is none
	failed  error   // of the last write or sync: nothing is written any more
	dirty   bool    // something was written since the last sync
	ordered bool    // Order has replaced the file
	stop    chan struct{}
	stopped chan struct{}
}

// noLine says that a row has no line yet.
const noLine = -1

// Found is what [Open] found in the file.
type Found struct {
	Lines int   // whole lines
	Cut   int64 // bytes of a last line that was cut off, and was removed
	Lost  int   // lines that a loss of power has damaged; their rows are asked again
}

// entry is a line of the file. The upper 16 bits of at are the index of its reason, from 1,
// or 0 for an answer; the rest is where it begins.
type entry struct {
	key Key
	at  uint64
}

const offsetBits = 48

func (e entry) offset() int64 { return int64(e.at & (1<<offsetBits - 1)) }
func (e entry) reason() int   { return int(e.at >> offsetBits) }

// LockedError is the error of [Open] for a file that another process writes to.
type LockedError struct{ Path string }

// Error says what to do.
func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is being written to by another process: wait until it has ended, or name another file", e.Path)
}

// ForeignError is the error of [Open] for a file that is not the output of a batch.
type ForeignError struct {
	Path string
	Line int // where something else is, from 1
}

// Error says what to do.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s is not the output of a batch (line %d has no \"row\" and \"hash\"), and is left as it is: name another file", e.Path, e.Line)
}

// Stream returns an output that can't be read again, such as standard output: no row is done
// yet, and lines stay in the order in which they are appended. Nothing is closed.
func Stream(w io.Writer) *File { return &File{stream: w} }

// Open opens or creates a file, locks it, and reads what is done. A last line that was cut
// off is removed. What is not a regular file, such as a pipe, is a [Stream]. A link leads to
// the file. The errors are *[LockedError], *[ForeignError] and those of package os; nothing
// is changed then.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory: takes a file", path)
	case err == nil && !info.Mode().IsRegular():
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &File{stream: file, closes: true}, nil
	}
	file, err := openLocked(path)
	if err != nil {
		return nil, err
	}
	if linked, err := filepath.EvalSymlinks(path); err == nil {
		path = linked
	}
	f := &File{path: path, file: file}
	if err := f.read(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := f.cut(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// Look is [Open] for a program that only wants to know what is done: nothing is created,
// locked or changed, and a missing file has no lines.
func Look(path string) (*File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &File{}, nil
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory: takes a file", path)
	case !info.Mode().IsRegular():
		return &File{}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, file: file}
	err = errors.Join(f.read(), file.Close())
	f.path, f.file = "", nil
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openLocked opens and locks a file. One that was replaced between the two is opened again.
func openLocked(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		busy, err := filelock.Lock(file)
		if busy {
			err = &LockedError{path}
		}
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		same, err := leadsTo(path, file)
		if same {
			return file, nil
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
	}
}

// leadsTo reports whether a path leads to an open file.
func leadsTo(path string, file *os.File) (bool, error) {
	open, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

// read reads the lines of the file.
func (f *File) read() error {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.inOrder = true
	from := bufio.NewReaderSize(f.file, 1<<20)
	var text []byte
	index := map[string]int{}
	for number := 1; ; number++ {
		var err error
		text, err = readLine(from, text[:0])
		switch {
		case errors.Is(err, errLong):
			return &ForeignError{f.path, number}
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case len(text) == 0:
			return nil
		}
		whole := text[len(text)-1] == '\n'
		h, ok := readHead(text)
		damaged := bytes.IndexByte(text, 0) >= 0
		switch {
		case ok:
			f.enter(h, index, info.Size())
		case damaged && whole:
			f.found.Lost, f.inOrder = f.found.Lost+1, false
		case damaged, !whole && isBegun(text):
			f.found.Cut = int64(len(text))
			return nil
		default:
			return &ForeignError{f.path, number}
		}
		f.size += int64(len(text))
		if ok && !whole { // it lacks the line end alone
			f.found.Cut = -1
			return nil
		}
	}
}

var errLong = errors.New("a line that is too long")

// readLine appends a line with its end to text. The error is io.EOF for the last one.
func readLine(from *bufio.Reader, text []byte) ([]byte, error) {
	for {
		part, err := from.ReadSlice('\n')
		text = append(text, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
		if len(text) > maxLine {
			return nil, errLong
		}
	}
}

// isBegun reports whether a text may be the beginning of a line.
func isBegun(text []byte) bool {
	n := min(len(text), len(begin))
	return string(text[:n]) == begin[:n]
}

// enter notes a line that begins at f.size, in a file of a total size.
func (f *File) enter(h head, index map[string]int, total int64) {
	f.found.Lines++
	f.lines++
	f.inOrder = f.inOrder && h.Row == f.lines
	e := entry{key: *h.Key, at: uint64(f.size)}
	if h.Error != nil {
		at, known := index[h.Error.Reason]
		if !known {
			f.reasons = append(f.reasons, h.Error.Reason)
			at = len(f.reasons)
			index[h.Error.Reason] = at
		}
		e.at |= uint64(at) << offsetBits
	}
	if n := len(f.entries); n > 0 && n == cap(f.entries) { // as many as there will be, and not a quarter more
		left := float64(total-f.size) / float64(f.size) * float64(n)
		f.entries = slices.Grow(f.entries, int(left*1.01)+64)
	}
	f.entries = append(f.entries, e)
}

// cut removes a last line that is not whole, or gives it the line end that it lacks.
func (f *File) cut() error {
	switch f.found.Cut {
	case 0:
		return nil
	case -1:
		f.found.Cut = 0
		_, err := f.file.WriteAt([]byte("\n"), f.size)
		f.size++
		return err
	}
	return f.file.Truncate(f.size)
}

// Found returns what [Open] found in the file.
func (f *File) Found() Found { return f.found }

// Done reports whether a row, counted from 1, has a line. It may be asked after
// [File.Match].
func (f *File) Done(row int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return row >= 1 && row <= len(f.lineOf) && f.lineOf[row-1] != noLine
}

// Append writes a line, by one write. After an error nothing more is written, and every
// later call returns it: the file has the whole lines that were written before, and the
// next run goes on with them.
func (f *File) Append(l *Line) error {
	text, err := l.text()
	if err != nil {
		return fmt.Errorf("row %d: %w", l.Row, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.failed
	}
	if f.stream != nil {
		if _, f.failed = f.stream.Write(text); f.failed == nil {
			f.note(l.Row, 0)
		}
		return f.failed
	}
	if f.ordered {
		return errOrdered
	}
	if f.file == nil {
		return fs.ErrClosed
	}
	if _, err := f.file.WriteAt(text, f.size); err != nil {
		// Less than a line may be there.
		f.failed = fmt.Errorf("%w; what was done until now is in the file, and the same command goes on with it", errors.Join(err, f.file.Truncate(f.size)))
		return f.failed
	}
	f.note(l.Row, f.size)
	f.size += int64(len(text))
	f.lines++
	f.inOrder = f.inOrder && l.Row == f.lines
	f.dirty = true
	if f.stop == nil {
		f.stop, f.stopped = make(chan struct{}), make(chan struct{})
		go f.keepSynced(f.stop, f.stopped)
	}
	return nil
}

// note notes where the line of a row begins.
func (f *File) note(row int, at int64) {
	for len(f.lineOf) < row {
		f.lineOf = append(f.lineOf, noLine)
	}
	if row > 0 {
		f.lineOf[row-1] = at
	}
}

// keepSynced syncs the file from time to time.
func (f *File) keepSynced(stop, stopped chan struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			f.sync()
		}
	}
}

// sync writes to the disk what is not there yet. Nobody waits for it.
func (f *File) sync() {
	f.mu.Lock()
	file, dirty := f.file, f.dirty
	f.dirty = false
	f.mu.Unlock()
	if !dirty {
		return
	}
	if err := file.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		f.mu.Lock()
		f.failed = errors.Join(f.failed, err)
		f.mu.Unlock()
	}
}

// rest ends the syncing, and syncs what is left.
func (f *File) rest() error {
	if f.stop != nil {
		close(f.stop)
		<-f.stopped
		f.stop = nil
	}
	f.sync()
	return f.failed
}

// Close syncs and closes the file, and gives back its lock. The error is also that of an
// earlier write.
func (f *File) Close() error {
	if f.stream != nil {
		if c, ok := f.stream.(io.Closer); ok && f.closes {
			return errors.Join(f.failed, c.Close())
		}
		return f.failed
	}
	if f.file == nil {
		return f.failed
	}
	err := errors.Join(f.rest(), f.file.Close())
	f.file = nil
	return err
}
