package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A turn is a change of a worker's clock.
type turn struct {
	After time.Duration // since the worker began; 0: before it did
	By    time.Duration // how much the clock is fast then; less than 0: slow
	Drift float64       // and how much more in each second: 0.01 is one hundredth
}

// setClock makes this process' clock wrong from now on, what time.Now says and no timer. It is
// nil but in a program that was built with a [wrongClock].
var setClock func(by time.Duration, drift float64)

// clockText is added to package time. The runtime's timers, and times with a monotonic reading,
// go on as they did: so it is on a machine whose clock is set, or wrong.
const clockText = `package time

import "sync/atomic"

type wrong struct {
	by, since int64
	drift     float64
}

var clock atomic.Pointer[wrong]

// SetClock makes Now wrong by so much, and by a part of the time that passes.
func SetClock(by Duration, drift float64) {
	clock.Store(&wrong{int64(by), runtimeNano(), drift})
}

func Now() Time {
	t := rightNow()
	w := clock.Load()
	if w == nil || t.wall&hasMonotonic == 0 {
		return t
	}
	shown := t.stripped().Add(Duration(w.by + int64(w.drift*float64(runtimeNano()-w.since))))
	return Time{hasMonotonic | uint64(shown.unixSec()+unixToInternal-minWall)<<nsecShift | uint64(shown.nsec()), t.ext, Local}
}

func (t Time) stripped() Time { t.stripMono(); return t }
`

// wrongClock returns the program of these tests with another package time, in which the clock
// can be wrong. It is compiled with all that it needs, which takes a minute the first time, and
// would take more if it were optimized.
var wrongClock = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "clock")
	if err != nil {
		return "", err
	}
	tidy(func() { os.RemoveAll(dir) })
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	place := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	changed, err := withoutNow(filepath.Join(place, "time.go"))
	if err != nil {
		return "", err
	}
	replaced := map[string]string{filepath.Join(place, "time.go"): filepath.Join(dir, "time.go"), filepath.Join(place, "clock.go"): filepath.Join(dir, "clock.go")}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	for name, text := range map[string][]byte{"time.go": changed, "clock.go": []byte(clockText), "overlay.json": overlay} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	program := filepath.Join(dir, "worker")
	build := exec.Command("go", "test", "-c", "-vet=off", "-gcflags=all=-N -l", "-tags", "wrongclock", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// withoutNow returns a file of package time in which func Now has the name rightNow.
func withoutNow(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "Now" {
			at := files.Position(f.Name.Pos()).Offset
			return bytes.Join([][]byte{text[:at], []byte("rightNow"), text[at+len("Now"):]}, nil), nil
		}
	}
	return nil, errors.New(path + " has no func Now: the test is for another version of Go")
}

// The program's clock is wrong when it is told to be, and its timers are not.
func TestAClockCanBeWrong(t *testing.T) {
	c := hire(t, 1, job{Provider: newSource(t).URL, Calls: 100, Every: 20 * time.Millisecond, AtOnce: 1, Circuit: circuit, Clock: []turn{{By: -day}}})
	began := c.begin()
	c.wait(time.Minute, "all calls to end", func() bool { return c.count(done) == 1 })
	for _, e := range c.all(call, done) {
		if off := e.Shown.Sub(e.At); off.Round(time.Second) != -day || e.At.Before(began.Add(-time.Second)) || e.At.After(time.Now()) || e.Took > 10*time.Second {
			t.Errorf("%s at %v, shown as %v, took %v; the calls began at %v", e.Kind, e.At, e.Shown, e.Took, began)
		}
	}
}

const day = 24 * time.Hour
