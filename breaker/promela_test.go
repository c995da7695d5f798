package breaker_test

import (
	"os"
	"os/exec"
	"testing"
)

// The design of the circuit, with those who wait for it, model-checked; and that
// the check finds the faults that are put into the model on purpose. It needs
// programs that may be missing, and half a minute.
func TestTheDesignHolds(t *testing.T) {
	if os.Getenv("LLMCALL_REAL") != "1" {
		t.Skip("needs spin and a C compiler: set LLMCALL_REAL=1")
	}
	for _, program := range []string{"spin", "cc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("LLMCALL_REAL=1 is set, and %s is missing: %v", program, err)
		}
	}
	out, err := exec.Command("../docs/breaker/check.sh").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
