package simulate

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
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

// stuck waits for nothing. Its goroutines are left.
func stuck() error {
	<-make(chan struct{})
	return nil
}
