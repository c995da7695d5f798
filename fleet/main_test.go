package fleet

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if raced {
		if err := flag.Set("rapid.checks", "20"); err != nil { // what the command line says holds
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// full says that tests take minutes, and as many processes and programs as docs/fleet.md says.
func full() bool { return os.Getenv("LLMCALL_MODEL") == "full" }
