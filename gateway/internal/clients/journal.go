package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/internal/filelock"
	"llmcall/internal/plainfile"
)

// The files in the directory. The lock is a file of its own, since the journal is replaced.
const (
	journalName = "clients.journal"
	lockName    = "clients.lock"
)

const (
	// syncWait is how long a reservation waits for the disk.
	syncWait = 10 * time.Second
	// retryEvery is how long after a failure the journal is tried again, if something is
	// reserved.
	retryEvery = time.Second
	// smallJournal is the size from which a journal is written as a whole, if it is four
	// times as large as it was then.
	smallJournal = 1 << 20
	// maxJournal is the size of the largest journal that is read.
	maxJournal = 1 << 30
)

// LockedError is the error of [Open] for a directory that another process has.
type LockedError struct{ Dir string }

// Error says what to do.
func (e *LockedError) Error() string {
	return fmt.Sprintf("state_dir %s is used by another process: wait until it has ended, or name another directory", e.Dir)
}

// StateError is the error of a journal that can't be read or written.
type StateError struct {
	Dir string // the directory
	Err error
}

// Error names the directory.
func (e *StateError) Error() string {
	return fmt.Sprintf("state_dir %s does not keep what clients spend: %v", e.Dir, e.Err)
}

// Unwrap returns the cause, such as [syscall.ENOSPC].
func (e *StateError) Unwrap() error { return e.Err }

var (
	errClosed = errors.New("it is closed, since the gateway is shutting down")
	errSlow   = fmt.Errorf("the disk has not answered within %v", syncWait)
)

// disk is an open journal. It is an interface so that tests have disks that fail.
type disk interface {
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

// journal keeps the accounts of all clients in one file. Entries are gathered in a batch
// while the last one is being written, and one write and one fsync are for all of it. After
// a failure nobody knows what is in the file (https://wiki.postgresql.org/wiki/Fsync_Errors):
// it is not appended to any more, but replaced.
type journal struct {
	dir  string
	lock io.Closer
	log  *slog.Logger
	// replace puts a text into the place of the journal, on the disk, and opens it to append.
	replace func(text []byte) (disk, error)
	wake    chan struct{} // that next is not empty
	stopped chan struct{} // closed when the writer has ended

	mu     sync.Mutex
	all    states
	next   *batch
	closed bool

	// of the writer alone
	file   disk
	size   int   // of the file
	whole  int   // of the file when it was written as a whole
	failed error // nobody knows what is in the file; nil: it is good
	tried  time.Time
}

// batch is entries that are written together.
type batch struct {
	lines []byte
	syncs bool          // somebody waits for the disk
	done  chan struct{} // closed when err is set
	err   error
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// afterClose is the batch of entries that come too late.
var afterClose = func() *batch {
	b := newBatch()
	b.err = errClosed
	close(b.done)
	return b
}()

// openJournal locks the directory and reads its journal.
func openJournal(dir string, log *slog.Logger) (*journal, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, journalName)
	text, err := plainfile.Read(path, maxJournal)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &StateError{dir, errors.Join(fmt.Errorf("%s: %w", journalName, err), lock.Close())}
	}
	j, err := begin(dir, text, func(text []byte) (disk, error) { return replaceFile(path, text) }, log)
	if err != nil {
		return nil, &StateError{dir, errors.Join(err, lock.Close())}
	}
	j.lock = lock
	return j, nil
}

// lockDir makes the directory if it is missing, and locks it.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &StateError{dir, err}
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &StateError{dir, err}
	}
	busy, err := filelock.Lock(lock)
	switch {
	case busy:
		return nil, errors.Join(&LockedError{dir}, lock.Close())
	case err != nil:
		return nil, &StateError{dir, errors.Join(err, lock.Close())}
	}
	return lock, nil
}

// begin goes on with what a journal has: what is not settled there is spent, and the
// journal is written as a whole.
func begin(dir string, text []byte, replace func([]byte) (disk, error), log *slog.Logger) (*journal, error) {
	all, f, err := read(text)
	if err != nil {
		return nil, fmt.Errorf("%s is left as it is: %w; to begin without what was spent today, move it away", journalName, err)
	}
	lost := 0
	for _, s := range all {
		lost += s.close()
	}
	if lost > 0 || f.cut > 0 || f.lost > 0 {
		log.Warn("the last process did not end by itself: what it had reserved counts as spent", "state_dir", dir, "reservations", lost, "bytes_cut", f.cut, "lines_lost", f.lost)
	}
	j := &journal{dir: dir, log: log, replace: replace, wake: make(chan struct{}, 1), stopped: make(chan struct{}), all: all, next: newBatch()}
	if err := j.rewrite(all.whole(today())); err != nil {
		return nil, err
	}
	go j.run()
	return j, nil
}

func today() int64 { return time.Now().Unix() / secondsOfDay }

// open returns the account of a client's day, with what was spent of it.
func (j *journal) open(name string, limit endpoint.Amount) *account.Account {
	a := account.Daily(limit, time.UTC)
	a.Name = accountName(name)
	j.mu.Lock()
	s := j.all.of(name)
	day, spent := s.latest(), s.spent
	j.mu.Unlock()
	a.Resume(day, endpoint.Amount{Nanos: spent})
	a.Journal = &entries{j, name}
	return a
}

// entries are those of one client.
type entries struct {
	journal *journal
	name    string
}

var _ account.Journal = (*entries)(nil)

func nothing() error { return nil }

// Reserved is for [account.Journal]. What costs nothing is not kept.
func (e *entries) Reserved(day int64, lent endpoint.Amount) (kept func() error) {
	if lent.Nanos == 0 {
		return nothing
	}
	j := e.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all.of(e.name).reserve(day, lent.Nanos)
	b := j.add(&record{Client: e.name, Day: dateOf(day), Reserved: &lent.Nanos}, true)
	return func() error { return j.wait(b) }
}

// Settled is for [account.Journal].
func (e *entries) Settled(day int64, lent, used endpoint.Amount) {
	if lent.Nanos == 0 && used.Nanos == 0 {
		return
	}
	j := e.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all.of(e.name).settle(day, lent.Nanos, used.Nanos)
	j.add(&record{Client: e.name, Day: dateOf(day), Settled: &lent.Nanos, Used: &used.Nanos}, false)
}

// add adds an entry to the next batch. The caller holds the lock.
func (j *journal) add(r *record, syncs bool) *batch {
	if j.closed {
		return afterClose
	}
	b := j.next
	b.lines = append(b.lines, r.line()...)
	b.syncs = b.syncs || syncs
	select {
	case j.wake <- struct{}{}:
	default: // the writer will see it
	}
	return b
}

// wait waits until a batch is on the disk.
func (j *journal) wait(b *batch) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), syncWait, errSlow)
	defer cancel()
	select {
	case <-b.done:
		if b.err == nil {
			return nil
		}
		return &StateError{j.dir, b.err}
	case <-ctx.Done():
		return &StateError{j.dir, context.Cause(ctx)}
	}
}

// run writes batches until the journal is closed.
func (j *journal) run() {
	defer close(j.stopped)
	for range j.wake {
		j.commit()
	}
	j.commit()
}

// commit writes the batch that was gathered.
func (j *journal) commit() {
	j.mu.Lock()
	b := j.next
	if len(b.lines) == 0 {
		j.mu.Unlock()
		return
	}
	j.next = newBatch()
	var whole []byte
	if j.failed != nil && b.syncs && time.Since(j.tried) >= retryEvery || j.failed == nil && j.size > max(smallJournal, 4*j.whole) {
		whole = j.all.whole(today()) // with this batch
	}
	j.mu.Unlock()
	switch {
	case whole != nil:
		b.err = j.rewrite(whole)
	case j.failed != nil:
		b.err = j.failed
	default:
		b.err = j.write(b)
	}
	close(b.done)
}

// write appends a batch to the file.
func (j *journal) write(b *batch) error {
	_, err := j.file.Write(b.lines)
	if err == nil && b.syncs {
		err = j.file.Sync()
	}
	j.size += len(b.lines)
	if err != nil {
		j.fail(err)
	}
	return err
}

// fail notes that nobody knows what is in the file.
func (j *journal) fail(err error) {
	if j.failed == nil {
		j.log.Error("what clients spend can't be written down: what costs money is refused to those with a limit", "state_dir", j.dir, "error", err)
	}
	j.failed, j.tried = err, time.Now()
}

// rewrite replaces the file by one that has all that is known.
func (j *journal) rewrite(whole []byte) error {
	if j.file != nil {
		_ = j.file.Close() // all that it has is in whole
		j.file = nil
	}
	file, err := j.replace(whole)
	if err != nil {
		j.fail(err)
		return err
	}
	if j.failed != nil {
		j.log.Info("what clients spend is written down again", "state_dir", j.dir)
	}
	j.file, j.failed, j.size, j.whole = file, nil, len(whole), len(whole)
	return nil
}

// close writes what is left and gives the lock back.
func (j *journal) close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	close(j.wake)
	j.mu.Unlock()
	<-j.stopped
	err := j.failed
	if j.file != nil {
		err = errors.Join(err, j.file.Sync(), j.file.Close())
	}
	if err = errors.Join(err, j.lock.Close()); err != nil {
		return &StateError{j.dir, err}
	}
	return nil
}

// replaceFile replaces a file at once by another content, on the disk, and opens it to
// append.
func replaceFile(path string, text []byte) (disk, error) {
	next := path + ".next"
	if err := writeFile(next, text); err != nil {
		return nil, errors.Join(err, remove(next))
	}
	if err := os.Rename(next, path); err != nil {
		return nil, errors.Join(err, remove(next))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func writeFile(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
