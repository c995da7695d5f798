package record_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(recordInto); dir != "" {
		recordSome(dir)
		return
	}
	goleak.VerifyTestMain(m)
}
