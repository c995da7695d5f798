package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"llmcall/internal/proxies"
)

const root = "../.."

// Whoever changes what a client sees finds it here, and in the page.
func TestThePageIsWhatHappens(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute, and needs npm, nginx and HAProxy: apt-get install npm nginx-light haproxy")
	}
	all := everything()
	err := measured(t.Context(), all, root, "")
	if errors.Is(err, proxies.ErrMissing) && os.Getenv("LLMCALL_REAL") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := written(all)
	got, err := os.ReadFile(filepath.Join(root, page))
	if err != nil || string(got) != want {
		t.Errorf("%s is not what happens (%v): run make failover. What happens is\n%s", page, err, want)
	}
	for _, c := range all {
		if c.subject.proxy == &proxies.Llmcall && c.outcome.verdict > refused && !c.wrongUnchecked() {
			t.Errorf("%v: %v (the SDK: %v)", c, c.outcome, c.reported)
		}
	}
}
