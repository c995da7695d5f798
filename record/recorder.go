package record

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"llmcall/llm"
)

// The defaults of [Config].
const (
	DefaultMaxFile  = 16 << 20 // 16 MiB
	DefaultMaxTotal = 1 << 30  // 1 GiB
)

// Config configures a [Recorder].
type Config struct {
	// Dir is the directory that the files are written to. It is made if there is none. Several
	// recorders, of several processes too, may write to one. Directory and files can be read by
	// their owner alone.
	Dir string
	// Keys are keys that must be in no file, beside those in the environment and in the
	// requests: those of provider.Options. Ones of fewer than 8 bytes are ignored.
	Keys []string
	// MaxFile is how long a file may be, in bytes, from 1 to 64 MiB. A longer recording is not
	// written but reported. Default [DefaultMaxFile].
	MaxFile int64
	// MaxTotal is how many bytes the Recorder writes in all. What comes after that is not
	// written, which is reported once. Default [DefaultMaxTotal].
	MaxTotal int64
	// Report is called with the error of each recording that was not written, among them
	// *[SecretError]. The call that was to be recorded goes on all the same. Several goroutines
	// may call it at once. Default: a warning of log/slog.
	Report func(error)
}

// Recorder writes recordings; see [New]. It is safe for concurrent use.
type Recorder struct {
	config Config
	id     string // of this Recorder, in the names of its files

	lock  sync.Mutex
	last  time.Time // that of the newest name
	total int64
	full  bool
}

// New makes a Recorder, and its directory. The error for an impossible setting names the
// field; others are those of package os.
func New(cfg Config) (*Recorder, error) {
	if cfg.Dir == "" {
		return nil, errors.New("record: Dir must be the path of a directory, got nothing")
	}
	for _, size := range []struct {
		field         string
		value         *int64
		usual, most   int64
		takesAtTheEnd string
	}{
		{"MaxFile", &cfg.MaxFile, DefaultMaxFile, maxFile, "from 1 to 67108864 (64 MiB)"},
		{"MaxTotal", &cfg.MaxTotal, DefaultMaxTotal, 1 << 62, ">= 1"},
	} {
		if *size.value == 0 {
			*size.value = size.usual
		}
		if *size.value < 0 || *size.value > size.most {
			return nil, fmt.Errorf("record: %s must be a number of bytes %s, or 0 for the default, got %d", size.field, size.takesAtTheEnd, *size.value)
		}
	}
	if cfg.Report == nil {
		cfg.Report = func(err error) { slog.Warn(err.Error()) }
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("record: the directory of the recordings: %w", err)
	}
	// A directory that can't be written to is an error before anything is paid for.
	probe, err := os.CreateTemp(cfg.Dir, temporary)
	if err != nil {
		return nil, fmt.Errorf("record: the directory of the recordings: %w", err)
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return nil, fmt.Errorf("record: the directory of the recordings: %w", err)
	}
	var id [6]byte
	rand.Read(id[:])
	return &Recorder{config: cfg, id: hex.EncodeToString(id[:])}, nil
}

// Model returns a model that asks m, and writes a file to dir for each request; see
// [Recorder.Model]. The error is that of [New].
func Model(m llm.Model, dir string) (llm.Model, error) {
	r, err := New(Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	return r.Model(m), nil
}

// Transport returns an http.RoundTripper that sends by base, and writes a file to dir for each
// request; see [Recorder.Transport]. The error is that of [New].
func Transport(base http.RoundTripper, dir string) (http.RoundTripper, error) {
	r, err := New(Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	return r.Transport(base), nil
}

// temporary begins the names of files that are being written. A dot keeps them from those
// who read the directory.
const temporary = ".recording-"

// stamp is the time in a file's name. Such names sort by time.
const stamp = "20060102T150405.000000000Z"

// write writes a recording. f is its failure, secrets are the request's own.
func (r *Recorder) write(rec *Recording, f *fault, secrets []secret) {
	if err := r.tryWrite(rec, f, secrets); err != nil {
		r.config.Report(err)
	}
}

func (r *Recorder) tryWrite(rec *Recording, f *fault, secrets []secret) error {
	lost := func(err error) error {
		return fmt.Errorf("record: the recording of a request to %s was not written: %w", rec.name(), err)
	}
	text, err := marshal(rec, f)
	if err != nil {
		return lost(err)
	}
	if int64(len(text)) > r.config.MaxFile {
		return r.tooLong(rec)
	}
	found, err := find(text, append(knownKeys(r.config.Keys), secrets...))
	if err != nil {
		return lost(err)
	}
	if found != "" {
		return &SecretError{What: found, Of: rec.name()}
	}
	path, err := r.place(rec.At, int64(len(text)))
	if err != nil {
		return lost(err)
	}
	if path == "" {
		return nil
	}
	if err := writeWhole(path, text); err != nil {
		return lost(err)
	}
	return nil
}

func (r *Recorder) tooLong(rec *Recording) error {
	return fmt.Errorf("record: the recording of a request to %s was not written: it is longer than MaxFile, %d bytes", rec.name(), r.config.MaxFile)
}

// name returns what a recording is of, for errors.
func (r *Recording) name() string {
	if r.HTTP != nil {
		return r.HTTP.Method + " " + r.HTTP.URL
	}
	return r.Call.Model
}

// place returns the path of the next file; "" if all is full, which has been said.
func (r *Recorder) place(at time.Time, size int64) (string, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.total+size > r.config.MaxTotal {
		if r.full {
			return "", nil
		}
		r.full = true
		return "", fmt.Errorf("%d bytes were written, and MaxTotal is %d: no more are", r.total, r.config.MaxTotal)
	}
	r.total += size
	return filepath.Join(r.config.Dir, at.UTC().Format(stamp)+"-"+r.id+extension), nil
}

// begin begins a recording. No two requests of a Recorder have the same time, so that their
// files have an order, whatever the clock does.
func (r *Recorder) begin() *Recording {
	r.lock.Lock()
	defer r.lock.Unlock()
	begun := time.Now()
	at := begun.Round(0)
	if !at.After(r.last) {
		at = r.last.Add(time.Nanosecond)
	}
	r.last = at
	return &Recording{At: at, begun: begun}
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), temporary)
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // it is not there any more if all went well
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if failed := file.Close(); err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
