package main

import (
	"os/exec"
	"testing"
	"time"
)

// The program runs itself as its callers.
func TestMain(m *testing.M) {
	if isCaller() {
		main()
		return
	}
	m.Run()
}

// A healthy call asks the store for nothing, that of the peer four times or more.
func TestWhatAHealthyCallAsksOfTheStore(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a redis-server")
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skipf("%v: apt-get install redis-server", err)
	}
	store, err := startStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer store.stop()
	for name, want := range map[string]struct{ least, most float64 }{
		"no fleet": {0, 0}, "llmcall/fleet": {0, 0.01}, "gobreaker, distributed": {4, 1000},
	} {
		w, err := wayOf(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := measure(t.Context(), store, w, load{Processes: 2, AtOnce: 1}, 200*time.Millisecond)
		if err != nil {
			t.Fatal(name, err)
		}
		if f.perSecond < 10 || f.commands < want.least || f.commands > want.most {
			t.Errorf("%s: %.0f calls a second, %g commands a call, want %g to %g", name, f.perSecond, f.commands, want.least, want.most)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.8: "1,234,568"} {
		if got := grouped(n); got != want {
			t.Errorf("%g: got %s, want %s", n, got, want)
		}
	}
}
