package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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
	got, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	// Beside other tests a machine may stand still for longer than a gateway waits: what it did
	// then is asked again, by itself.
	if again := results(all).notIn(string(got)); len(again) > 0 && len(again) < len(all)/4 {
		for _, c := range again {
			t.Logf("once more: %v: %v in %v (the SDK: %v)", c, c.outcome, c.outcome.took, c.reported)
		}
		if err := measured(t.Context(), again, root, ""); err != nil {
			t.Fatal(err)
		}
	}
	has, happens := strings.Split(string(got), "\n"), strings.Split(written(all), "\n")
	for i := range max(len(has), len(happens)) {
		if i >= len(has) || i >= len(happens) || has[i] != happens[i] {
			t.Errorf("%s is not what happens: run make failover. The first line that differs is %d: it has\n%s\nand what happens is\n%s", page, i+1,
				strings.Join(has[i:min(i+1, len(has))], ""), strings.Join(happens[i:min(i+1, len(happens))], ""))
			break
		}
	}
	for _, c := range all {
		if c.subject.proxy == &proxies.Llmcall && c.outcome.verdict > refused && !c.wrongUnchecked() {
			t.Errorf("%v: %v (the SDK: %v)", c, c.outcome, c.reported)
		}
	}
}
