package fleet

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// full says that tests take minutes, and as many processes and programs as docs/fleet.md says.
func full() bool { return os.Getenv("LLMCALL_MODEL") == "full" }
