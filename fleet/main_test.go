package fleet

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	given := full()
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given { // a case is a fleet for an hour, and the scripts take ten times as long under the race detector
		checks := "40"
		if testing.Short() {
			checks = "25" // of which rapid makes a fifth
		}
		if err := flag.Set("rapid.checks", checks); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// full says that tests take minutes, and as many processes and programs as docs/fleet.md says.
func full() bool { return os.Getenv("LLMCALL_MODEL") == "full" }
