package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settled is how long a file must not have changed before it is read: editors write in
// several steps. It is read after overdue all the same: a log may be written beside it.
// Every look it is compared with what it was: it, or a directory on the way to it, may be a
// link to what is elsewhere, and the system may not tell of changes.
const (
	settled = 100 * time.Millisecond
	overdue = 2 * time.Second
	look    = 2 * time.Second
)

// newNotifier asks the system to tell of changes of files. Tests replace it.
var newNotifier = fsnotify.NewWatcher

// watch reads the configuration again when its file has changed, and upon a signal. A broken
// one is not used. Without a file a signal is logged.
func (s *serving) watch(ctx context.Context, w *watched, served []byte, hup <-chan os.Signal) (stop func()) {
	var changes <-chan fsnotify.Event
	var failures <-chan error
	var looks <-chan time.Time
	closeFiles := func() {}
	if s.config != "" {
		ticker := time.NewTicker(look)
		looks, closeFiles = ticker.C, ticker.Stop
		files, err := s.notifier()
		if err != nil {
			s.log.Warn("the system does not tell when --config changes: its time and size are looked at instead", "file", s.config, "every", look, "error", err)
		} else {
			changes, failures = files.Events, files.Errors
			closeFiles = func() {
				ticker.Stop()
				_ = files.Close() // nothing is read any more
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		quiet := time.NewTimer(time.Hour)
		quiet.Stop()
		before, _ := os.Stat(s.config) // nil: there is none at the moment
		var latest time.Time           // when the file is read at the latest; zero: nothing has changed
		changed := func() {
			if latest.IsZero() {
				latest = time.Now().Add(overdue)
			}
			quiet.Reset(min(settled, time.Until(latest)))
		}
		if s.config != "" {
			changed() // it may have, since it was read
		}
		for {
			forced := false
			select {
			case <-ctx.Done():
				return
			case _, ok := <-changes:
				if ok {
					changed()
				}
				continue
			case <-looks:
				now, _ := os.Stat(s.config)
				if !sameFile(before, now) {
					changed()
				}
				before = now
				continue
			case err := <-failures:
				if err != nil {
					s.log.Error("the configuration can't be watched", "error", err)
				}
				continue
			case <-hup:
				if s.config == "" {
					s.log.Info("SIGHUP: there is no --config to read again")
					continue
				}
				forced = true
			case <-quiet.C:
			}
			latest = time.Time{}
			served = s.again(w, served, forced)
		}
	}()
	return func() {
		cancel()
		<-done
		closeFiles()
	}
}

// notifier asks the system to tell of changes in the directory of the configuration: editors
// and Kubernetes replace the file by another one. It fails where other programs have used up
// what the system has for that (on Linux: fs.inotify.max_user_instances, max_user_watches).
func (s *serving) notifier() (*fsnotify.Watcher, error) {
	files, err := newNotifier()
	if err != nil {
		return nil, err
	}
	if err := files.Add(filepath.Dir(s.config)); err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return files, nil
}

// sameFile reports whether a file is what it was.
func sameFile(before, now os.FileInfo) bool {
	if before == nil || now == nil {
		return before == nil && now == nil
	}
	return os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size()
}

var errEmpty = errors.New("it is empty")

// again serves the configuration as it is now in its file, and returns the text of the one
// that is served, or was refused.
func (s *serving) again(w *watched, served []byte, forced bool) []byte {
	text, err := readFile(s.config, maxServeConfig)
	if err == nil && !forced && bytes.Equal(text, served) {
		return served
	}
	cfg, _, loadErr := s.load()
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		err = errEmpty // all settings' defaults were not meant: it is being written, or its disk is full
	}
	if err = errors.Join(err, loadErr); err == nil {
		err = s.inWords(w.gateway.Reload(cfg))
	}
	if err != nil {
		s.log.Error("the changed configuration is not used, the old one goes on", "file", s.config, "error", err)
		return text
	}
	w.know(cfg)
	s.doubt(cfg)
	s.log.Info("the configuration was read again", "file", s.config, "routes", len(cfg.Routes))
	return text
}
