//go:build unix

package clients

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"llmcall/account"
	"llmcall/endpoint"
)

// The test binary is also the process that is killed: with this variable it serves requests
// with the directory that it names.
const serveVariable = "CLIENTS_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveVariable); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// workers are those who serve requests at the same time.
const workers = 8

var served = Config{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 1}

// serve makes attempts until the money of the day is spent. Before each one it says
// "attempt NANOS", as a provider would hear of it: what it bills, at most what was reserved.
// After it has settled it says "settled NANOS RESERVED".
func serve(dir string) error {
	book, err := Open(dir, []Config{served}, Options{Log: quiet})
	if err != nil {
		return err
	}
	var said sync.Mutex
	say := func(format string, args ...any) {
		said.Lock()
		defer said.Unlock()
		fmt.Printf(format+"\n", args...) // one write, which is whole although the process is killed
	}
	say("begun %d", book.All()[0].Spent)
	day := only(book).Account()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				want := endpoint.Amount{Nanos: 1 + rand.Int64N(account.Dollar/200)}
				lent, err := day.Reserve(want, endpoint.Amount{Nanos: 1})
				if err != nil {
					if _, spent := errors.AsType[*account.Error](err); !spent {
						say("error %v", err)
					}
					return
				}
				used := rand.Int64N(lent.Nanos + 1)
				say("attempt %d %d", used, lent.Nanos)
				day.Settle(lent, endpoint.Amount{Nanos: used})
				say("settled %d %d", used, lent.Nanos)
			}
		})
	}
	all.Wait()
	say("spent %d", book.All()[0].Spent)
	return book.Close()
}

// Killed at any moment, many times on one day: the provider never bills more than the money
// of the day, the next process knows of all that was billed, and what a kill costs is no
// more than what was reserved and not settled then.
func TestKilledAtAnyMoment(t *testing.T) {
	days := 25
	if testing.Short() {
		days = 5
	}
	kills := 0
	for range days {
		kills += liveADay(t)
	}
	if kills < days {
		t.Errorf("%d kills on %d days", kills, days)
	}
	t.Logf("%d kills", kills)
}

// liveADay starts processes until one has spent the day's money, and returns how many were
// killed.
func liveADay(t *testing.T) (kills int) {
	dir := t.TempDir()
	began := today()
	var billed, knew int64 // what the provider has billed, and what a process must know at least and at most
	var most int64
	for {
		output, killed := runServing(t, dir, time.Duration(rand.Int64N(int64(20*time.Millisecond))))
		if today() != began {
			t.Skip("midnight in UTC: another day's money")
		}
		open, n, lent := map[[2]int64]int{}, int64(0), int64(0)
		for line := range strings.Lines(output) {
			switch {
			case scan(line, "begun %d\n", &n):
				if n < billed || n > most {
					t.Fatalf("a process begins with %d, want %d to %d: killed %d times", n, billed, most, kills)
				}
				knew = n
			case scan(line, "attempt %d %d\n", &n, &lent):
				billed += n
				knew += n
				open[[2]int64{n, lent}]++
			case scan(line, "settled %d %d\n", &n, &lent):
				open[[2]int64{n, lent}]--
			case scan(line, "spent %d\n", &n):
				if n != knew || n != account.Dollar {
					t.Fatalf("%d are spent, want %d, all of the day", n, knew)
				}
				killed = false // if it was, there was nothing left to do
			default:
				t.Fatalf("it said %q", line)
			}
			if billed > account.Dollar {
				t.Fatalf("%d are billed, above the money of the day", billed)
			}
		}
		if !killed {
			return kills
		}
		kills++
		// What nobody heard of may be reserved too: as much as the workers can have at a time.
		most = min(account.Dollar, knew+workers*account.Dollar/200)
	}
}

func scan(line, format string, into ...any) bool {
	n, err := fmt.Sscanf(line, format, into...)
	return err == nil && n == len(into)
}

// runServing runs a process that serves, and kills it some time after it has begun, unless
// it has ended before.
func runServing(t *testing.T, dir string, after time.Duration) (output string, killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serveVariable+"="+dir)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	from, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(from)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if killed = ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL; err != nil && !killed {
		t.Fatalf("%v: %s", err, errs.String())
	}
	return first + string(rest), killed
}

// fullDiskVariable is set in the process whose files may be small only.
const fullDiskVariable = "CLIENTS_TEST_FULL_DISK"

// A disk that is full, as the system says it: a file may not become larger than some bytes.
// The limit holds for the process, so that it has one of its own.
func TestAFullDisk(t *testing.T) {
	if os.Getenv(fullDiskVariable) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command(self, "-test.run=^TestAFullDisk$", "-test.v")
		command.Env = append(os.Environ(), fullDiskVariable+"=1")
		if said, err := command.CombinedOutput(); err != nil || !bytes.Contains(said, []byte("--- PASS: TestAFullDisk")) {
			t.Errorf("%v: %s", err, said)
		}
		return
	}
	dir := t.TempDir()
	book := open(t, dir, served)
	ten := endpoint.Amount{Nanos: account.Dollar / 10}
	lent, err := only(book).Account().Reserve(ten, ten)
	if err != nil {
		t.Fatal(err)
	}
	back := limitFileSize(t, len(head)+10)
	for range 2 {
		_, err = only(book).Account().Reserve(ten, ten)
		if e, ok := errors.AsType[*StateError](err); !ok || !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "state_dir "+dir+" does not keep what clients spend") {
			t.Errorf("%v (%T)", err, e)
		}
		time.Sleep(retryEvery) // it is tried again, and fails
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.next")); err != nil || len(left) > 0 {
		t.Errorf("%v: %q are left", err, left)
	}
	back()
	only(book).Account().Settle(lent, endpoint.Amount{Nanos: 1})
	time.Sleep(retryEvery)
	if _, err = only(book).Account().Reserve(ten, ten); err != nil {
		t.Error(err)
	}
	next := open(t, afterKill(t, dir), served)
	if got := next.All()[0].Spent; got != ten.Nanos+1 {
		t.Errorf("%d are spent", got)
	}
}

func limitFileSize(t *testing.T, size int) (back func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := was
	limit.Cur = uint64(size)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
	}
}
