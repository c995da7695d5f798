package llmcall_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// maxSmallest is 9 MB. The program had 11.1 MB before text/template left the root, then
// 7.2, 8.0 with what models really send, and 8.3 with stages, tools, hedges and money.
const maxSmallest = 9_000_000

// What a program with one call weighs, as go build leaves it. Where it has grown,
// go build -ldflags=-dumpdep ./internal/smallest tells what refers to what: look
// for what an init, or a variable that an init fills, has linked.
func TestAProgramWithOneCallIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	program := filepath.Join(t.TempDir(), "smallest")
	build := exec.Command("go", "build", "-o", program, "./internal/smallest")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > maxSmallest {
		t.Errorf("%d bytes, want at most %d", info.Size(), maxSmallest)
	}
}
