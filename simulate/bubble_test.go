package simulate

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// What would end the process, or hang it, is an error.
func TestWhatEndsABubbleIsAnError(t *testing.T) {
	own := errors.New("own")
	for want, f := range map[string]func() error{
		"":                      func() error { time.Sleep(time.Hour); return nil },
		"own":                   func() error { return own },
		"simulate: panic: bang": func() error { panic("bang") },
		"simulate: panic: panic called with nil argument": func() error { panic(nil) },
		"runtime.Goexit":                       func() error { runtime.Goexit(); return nil },
		"all goroutines in bubble are blocked": stuck,
		"blocked goroutines remain":            func() error { go stuck(); return nil },
	} {
		err := inBubble(f)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := inBubble(func() error { go stuck(); return own }); !errors.Is(err, own) {
		t.Errorf("got %v, want the run's own error", err)
	}
}

// The production engine is simulated in a program, outside of any test: [testing.T] has no other
// use there. If a later version of Go refuses that, simulations need another clock.
func TestABubbleOutsideOfATest(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	const program = `package main

import (
	"context"
	"fmt"

	"llmcall"
	"llmcall/simulate"
)

func main() {
	report, err := simulate.Do(context.Background(), llmcall.RetryConfig{}, simulate.Must(simulate.Named("outage")))
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Calls)
}
`
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "run", file).CombinedOutput(); err != nil || string(out) != "3574\n" {
		t.Errorf("%s refuses to simulate in a program (testing/synctest outside of a test): %v\n%s", runtime.Version(), err, out)
	}
}

// Each event gets the first instant that nobody has, from the one that it asks for.
func TestInstantsAreTakenOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, taken := clock{taken: map[int64]int64{}}, map[int64]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			asked := rapid.Int64Range(0, 50).Draw(t, "asked")
			want := asked
			for taken[want] {
				want++
			}
			got := c.free(asked)
			if got != want {
				t.Fatalf("%d gets %d, want %d", asked, got, want)
			}
			taken[got], c.taken[got] = true, got+1
		}
	})
}

// A hundred thousand processes begin at the same time. If each of them looks at the instants of
// all others, that is five billion looks.
func TestManyEventsOfAnInstant(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		c := clock{taken: map[int64]int64{}}
		start := time.Now()
		for i := range 300_000 {
			if at := c.after(0); at.Sub(start) != time.Duration(i+1) {
				t.Fatalf("event %d is at %v", i, at.Sub(start))
			}
		}
	})
}

// stuck waits for nothing. Its goroutines are left.
func stuck() error {
	<-make(chan struct{})
	return nil
}
