package clients

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
)

// dollarsOf is an amount of money.
func dollarsOf(n int64) endpoint.Amount { return endpoint.Amount{Nanos: n * account.Dollar} }

func reserve(t *testing.T, c *Client, n int64) endpoint.Amount {
	t.Helper()
	lent, err := c.Account().Reserve(dollarsOf(n), dollarsOf(n))
	if err != nil {
		t.Fatal(err)
	}
	return lent
}

// afterKill returns a directory as the next process finds it if this one is killed now.
func afterKill(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	next := t.TempDir()
	if err := os.WriteFile(filepath.Join(next, journalName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return next
}

// What the next process knows: after an orderly end, and after a kill with a reservation,
// on the same day and on the next.
func TestTheDayOutlivesItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		web := Config{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 10}
		first := open(t, dir, web)
		spentIn := func(dir string) int64 {
			t.Helper()
			b := open(t, dir, web)
			defer b.Close()
			s := b.All()[0]
			if s.Reserved != 0 {
				t.Errorf("%+v", s)
			}
			return s.Spent / account.Dollar
		}
		settled := reserve(t, only(first), 4)
		if got := spentIn(afterKill(t, dir)); got != 4 {
			t.Errorf("killed before the answer: %d", got)
		}
		only(first).Account().Settle(settled, dollarsOf(1))
		synctest.Wait() // it is written, without anybody who waits for it
		if got := spentIn(afterKill(t, dir)); got != 1 {
			t.Errorf("killed after the answer: %d", got)
		}
		time.Sleep(23 * time.Hour)
		late := reserve(t, only(first), 5)
		killed := afterKill(t, dir)
		if got := spentIn(afterKill(t, killed)); got != 6 {
			t.Errorf("killed before midnight: %d", got)
		}
		time.Sleep(2 * time.Hour)
		if got := spentIn(killed); got != 0 {
			t.Errorf("killed before midnight, started after it: %d", got)
		}
		only(first).Account().Settle(late, dollarsOf(2))
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if got := spentIn(dir); got != 2 {
			t.Errorf("settled after midnight: %d", got)
		}
		if _, err := only(first).Account().Reserve(dollarsOf(1), dollarsOf(1)); !errors.Is(err, errClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := first.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
	})
}

// A client that is not in the configuration of the next process has spent what it has spent
// in that of the one after.
func TestAClientThatIsLeftOutForAProcess(t *testing.T) {
	dir := t.TempDir()
	web, app := Config{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 10}, Config{Name: "app", SHA256: hashOf("b"), MaxCostPerDay: 10}
	for _, step := range []struct {
		cfg         Config
		spent, more int64
	}{{web, 0, 3}, {app, 0, 4}, {web, 3, 0}, {app, 4, 0}} {
		b := open(t, dir, step.cfg)
		if got := b.All()[0].Spent / account.Dollar; got != step.spent {
			t.Errorf("%s: %d are spent, want %d", step.cfg.Name, got, step.spent)
		}
		lent := reserve(t, only(b), max(1, step.more))
		only(b).Account().Settle(lent, dollarsOf(step.more))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADirectoryIsOfOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for", "it")
	first := open(t, dir)
	_, err := Open(dir, nil, Options{Log: quiet})
	if e, ok := errors.AsType[*LockedError](err); !ok || e.Dir != dir || !strings.Contains(err.Error(), "is used by another process: wait until it has ended") {
		t.Fatalf("%v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

// A directory that can't be used is refused at the start, and nothing in it is changed.
func TestADirectoryThatCantBeUsed(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "not a directory"},
		{"a journal that is a directory", func(dir string) error { return os.MkdirAll(filepath.Join(dir, journalName), 0o700) }, "is a directory: takes a file"},
		{"a foreign file", foreign("notes\n"), "clients.journal is left as it is: line 1 is not that of a journal of this version"},
		{"another version", foreign(strings.Replace(head, `"version":1`, `"version":2`, 1)), "line 1 is not that of a journal of this version"},
		{"a line that is damaged", foreign(head + `{"client":"web","day":"2026-11-26","spent":1}` + "\n" + `{"client":"web","day":"2026-11-` + "\n"), "line 3 is not an entry"},
		{"an amount below 0", foreign(head + `{"client":"web","day":"2026-11-26","spent":-1}` + "\n"), "line 2 is not an entry: -1 is below 0"},
		{"an entry of another form", foreign(head + `{"client":"web","day":"2026-11-26","used":1}` + "\n"), `takes "reserved", "settled" with "used", or "spent"`},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := c.make(dir); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(filepath.Join(dir, journalName))
		_, err := Open(dir, nil, Options{Log: quiet})
		if e, ok := errors.AsType[*StateError](err); !ok || e.Dir != dir || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if after, _ := os.ReadFile(filepath.Join(dir, journalName)); string(after) != string(before) {
			t.Errorf("%s: the file is another: %q", c.name, after)
		}
	}
}

func foreign(text string) func(dir string) error {
	return func(dir string) error {
		return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, journalName), []byte(text), 0o600))
	}
}

// A journal does not grow with the number of entries.
func TestALargeJournalIsWrittenAsAWhole(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, Config{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 1000})
	j, day := b.journal, only(b).Account()
	held := reserve(t, only(b), 7)
	for range 30_000 { // more than 2 MiB; nobody waits for the disk
		day.Settle(endpoint.Amount{}, endpoint.Amount{Nanos: 1000})
	}
	reserve(t, only(b), 2)
	reserve(t, only(b), 1)
	info, err := os.Stat(filepath.Join(dir, journalName))
	if err != nil || info.Size() > 2*smallJournal {
		t.Errorf("%v: %d bytes", err, info.Size())
	}
	if j.whole < len(head)+100 {
		t.Errorf("it was not written as a whole: %d", j.whole)
	}
	next := open(t, afterKill(t, dir), Config{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 1000})
	if got := next.All()[0].Spent; got != 10*account.Dollar+30_000_000 {
		t.Errorf("%d are spent", got)
	}
	day.Settle(held, endpoint.Amount{})
}

// faulty is a disk on which things go wrong.
type faulty struct {
	disk
	write, sync error
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.write != nil {
		n, _ := f.disk.Write(p[:len(p)/2])
		return n, f.write
	}
	return f.disk.Write(p)
}

func (f *faulty) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.disk.Sync()
}

// While the disk is full, what costs money is refused, without a wait; what ends meanwhile
// is known. A second after there is room it goes on.
func TestADiskThatFails(t *testing.T) {
	full := errors.New("no space left on device")
	for _, c := range []struct {
		name string
		fail func(*faulty)
	}{
		{"a write", func(f *faulty) { f.write = full }},
		{"a sync", func(f *faulty) { f.sync = full }},
	} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			web := Config{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 10}
			b := open(t, dir, web)
			client, j := only(b), b.journal
			good := j.replace
			early := reserve(t, client, 3)

			f := &faulty{disk: j.file}
			j.file = f
			c.fail(f)
			j.replace = func([]byte) (disk, error) { return nil, fmt.Errorf("%s: %w", journalName+".next", full) }
			begun := time.Now()
			for range 3 {
				_, err := client.Account().Reserve(dollarsOf(2), dollarsOf(2))
				if e, ok := errors.AsType[*StateError](err); !ok || e.Dir != dir || !errors.Is(err, full) || time.Since(begun) != 0 {
					t.Fatalf("%s: %v after %v", c.name, err, time.Since(begun))
				}
				r := client.Refused(fmt.Errorf("the call: %w", err))
				if r == nil || r.Limit != LimitState || r.RetryAfter != time.Second || !errors.Is(r, full) || strings.Contains(r.Error(), dir) {
					t.Errorf("%s: %+v", c.name, r)
				}
			}
			if s := b.All()[0]; s.Reserved != 3*account.Dollar || s.Spent != 0 {
				t.Errorf("%s: %+v", c.name, s)
			}
			client.Account().Settle(early, dollarsOf(1)) // in memory alone
			synctest.Wait()
			time.Sleep(time.Second)
			if _, err := client.Account().Reserve(dollarsOf(2), dollarsOf(2)); !errors.Is(err, full) || !strings.Contains(err.Error(), ".next") {
				t.Errorf("%s: it was not tried again: %v", c.name, err)
			}
			j.replace = good
			if _, err := client.Account().Reserve(dollarsOf(2), dollarsOf(2)); !errors.Is(err, full) {
				t.Errorf("%s: it was tried again at once: %v", c.name, err)
			}
			time.Sleep(time.Second)
			reserve(t, client, 5)
			next := open(t, afterKill(t, dir), web)
			if got := next.All()[0].Spent; got != 6*account.Dollar {
				t.Errorf("%s: %d are spent", c.name, got)
			}
		})
	}
}

// A disk that does not answer at all is not waited for for ever.
func TestADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), Config{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 10})
		release := make(chan struct{})
		b.journal.file = &hanging{b.journal.file, release}
		begun := time.Now()
		_, err := only(b).Account().Reserve(dollarsOf(2), dollarsOf(2))
		if !errors.Is(err, errSlow) || time.Since(begun) != syncWait {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if s := b.All()[0]; s.Reserved != 0 {
			t.Errorf("%+v", s)
		}
		close(release)
		reserve(t, only(b), 10)
	})
}

type hanging struct {
	disk
	release chan struct{}
}

func (h *hanging) Sync() error {
	<-h.release
	return h.disk.Sync()
}

// An operator hears once of a disk that fails and once that it works again, and of what a
// killed process has left; never of a key.
func TestWhatAnOperatorHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var heard strings.Builder
		log := slog.New(slog.NewTextHandler(&heard, nil))
		key, hash := NewKey()
		web := Config{Name: "web", SHA256: hash, MaxCostPerDay: 10}
		b, err := Open(dir, []Config{web}, Options{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		f := &faulty{disk: b.journal.file, write: errDisk}
		b.journal.file = f
		for range 3 {
			if _, err := only(b).Account().Reserve(dollarsOf(1), dollarsOf(1)); err == nil {
				t.Fatal("it was reserved")
			}
		}
		time.Sleep(time.Second)
		reserve(t, only(b), 1)
		reserve(t, only(b), 2)
		killed := afterKill(t, dir)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		next, err := Open(killed, []Config{web}, Options{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(heard.String()), "\n")
		for i, want := range []string{
			`level=ERROR msg="what clients spend can't be written down: what costs money is refused to those with a limit" state_dir=` + dir + ` error="input/output error"`,
			`level=INFO msg="what clients spend is written down again" state_dir=` + dir,
			`level=WARN msg="the last process did not end by itself: what it had reserved counts as spent" state_dir=` + killed + ` reservations=2 bytes_cut=0 lines_lost=0`,
		} {
			if i >= len(lines) || !strings.HasSuffix(lines[i], want) {
				t.Errorf("heard %q, want %q", lines, want)
			}
		}
		if len(lines) != 3 || strings.Contains(heard.String(), key) || strings.Contains(heard.String(), hash) {
			t.Errorf("heard %q", lines)
		}
	})
}

// A process begins while the clock is ten days behind, as that of a machine without a battery,
// and it is set while the process runs, or before the next one: the money of the day is not
// there twice, and the next day is not missed.
func TestAProcessBeginsWithAClockThatIsBehind(t *testing.T) {
	for _, lives := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			memory := &memory{}
			memory.synced = []byte(head + string((&record{Client: "web", Day: dateOf(today() + 10), Spent: new(int64(90))}).line()))
			var j *journal
			var day *account.Account
			live := func() {
				var err error
				if j != nil {
					err = j.close()
				}
				if err == nil {
					j, err = begin("memory", memory.left(1, false), memory.replace, quiet)
				}
				if err != nil {
					t.Fatal(err)
				}
				j.lock = memory
				day = j.open("web", endpoint.Amount{Nanos: 100})
			}
			spend := func(n, sum int64) {
				t.Helper()
				lent, err := day.Reserve(endpoint.Amount{Nanos: n}, endpoint.Amount{Nanos: n})
				if err != nil {
					t.Fatal(err)
				}
				day.Settle(lent, lent)
				if s := day.Snapshot(); s.Spent.Nanos != sum {
					t.Errorf("%d lives: %d are spent, want %d", lives, s.Spent.Nanos, sum)
				}
			}
			live()
			spend(4, 94)
			for range lives - 1 {
				live()
			}
			spend(1, 95)
			time.Sleep(10 * 24 * time.Hour)
			spend(2, 97)
			live()
			spend(1, 98)
			time.Sleep(24 * time.Hour)
			spend(3, 3)
			if err := j.close(); err != nil {
				t.Error(err)
			}
		})
	}
}
