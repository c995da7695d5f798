package fleet

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if given := false; testing.Short() { // for the race detector, under which the scripts take ten times as long
		flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
		if !given {
			if err := flag.Set("rapid.checks", "25"); err != nil { // of which rapid makes a fifth
				panic(err)
			}
		}
	}
	goleak.VerifyTestMain(m)
}

// full says that tests take minutes, and as many processes and programs as docs/fleet.md says.
func full() bool { return os.Getenv("LLMCALL_MODEL") == "full" }
