package results

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A line is on the disk 50 ms after it was written, or sooner; nothing is synced while
// nothing is written.
func TestLinesAreSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, err := Open(filepath.Join(t.TempDir(), "out.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		unsynced := func() bool {
			synctest.Wait()
			out.mu.Lock()
			defer out.mu.Unlock()
			return out.dirty
		}
		out.Match([]Key{1, 2}, nil)
		for row := 1; row <= 2; row++ {
			if err := out.Append(&Line{Row: row, Key: Key(row)}); err != nil {
				t.Fatal(err)
			}
			if !unsynced() {
				t.Errorf("row %d was synced by Append", row)
			}
			time.Sleep(syncEvery)
			if unsynced() {
				t.Errorf("row %d is not synced after %v", row, syncEvery)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A disk that can't keep what it took ends the run as a failed write does.
func TestASyncThatFails(t *testing.T) {
	out, err := Open(filepath.Join(t.TempDir(), "out.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Append(&Line{Row: 1, Key: 1}); err != nil {
		t.Fatal(err)
	}
	out.file.Close() // so that the next sync fails
	out.mu.Lock()
	out.dirty = true
	out.mu.Unlock()
	out.sync()
	if err := out.Append(&Line{Row: 2, Key: 2}); err == nil {
		t.Error("a line was taken")
	}
	if err := out.Order(); err == nil {
		t.Error("the file was put into order")
	}
	if err := out.Close(); err == nil {
		t.Error("nobody was told")
	}
}
