package fleet

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall/internal/servers"
)

// A tap is between a store and its clients, and keeps what goes through it.
type tap struct {
	net.Listener
	mu       sync.Mutex
	up, down bytes.Buffer
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				return
			}
			go p.pass(server, client, &p.up)
			go p.pass(client, server, &p.down)
		}
	}()
	return p
}

// pass copies until one side ends, and ends the other.
func (p *tap) pass(to, from net.Conn, kept *bytes.Buffer) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		kept.Write(buffer[:n])
		p.mu.Unlock()
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

var number = regexp.MustCompile(`[0-9]{10,19}`)

// dates returns the numbers in a text that are a time within a day of now: in seconds,
// milliseconds, microseconds or nanoseconds since 1970.
func dates(text string, now time.Time) (found []string) {
	for _, digits := range number.FindAllString(text, -1) {
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			continue
		}
		for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond, time.Nanosecond} {
			if at := time.Unix(0, 0).Add(time.Duration(n) * unit); n < 1<<62/int64(unit) && at.Sub(now).Abs() < 24*time.Hour {
				found = append(found, digits)
			}
		}
	}
	return found
}

// No process tells the store what time it is: what goes to it are differences, and numbers
// that the store has given out itself, by which it orders what it says. So the clock of a
// process can be wrong by any amount. (A process with a wrong clock can't be had here: Go does
// not ask the C library for the time, which is where faketime would change it, and a
// container's clock is that of its host. Package fleet has tests with wrong clocks of the
// store.)
func TestNoClockIsTrusted(t *testing.T) {
	store := servers.Redis(t)
	between := newTap(t, store.Addr)
	provider := newSource(t)
	const processes = 3
	c := hire(t, processes, job{
		Store: "redis://" + between.Addr().String() + "/0", Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8, Circuit: circuit,
	})
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	c.begin()
	time.Sleep(time.Second)
	outage(t, c, provider, 1500*time.Millisecond)
	c.dismiss()
	now := time.Now()
	between.mu.Lock()
	defer between.mu.Unlock()
	said, told := between.down.String(), between.up.String()
	if len(said) < 1000 || !strings.Contains(told, "probed") {
		t.Fatalf("nothing was shown: to the store went %q", told)
	}
	given := dates(said, now)
	for _, date := range dates(told, now) {
		if !slices.Contains(given, date) {
			t.Errorf("to the store went %s, which is a date and not one of its own", date)
		}
	}
	t.Logf("to the store went %d bytes, and no date; from it %d bytes, with %d of its own", len(told), len(said), len(given))
	if text := fmt.Sprint(store.Do("time")); len(dates(text, now)) == 0 {
		t.Errorf("no date was found in what TIME says: %q", text)
	}
}
