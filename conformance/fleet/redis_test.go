package fleet

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// redis is a redis-server of a test.
type redis struct {
	t       *testing.T
	address string
	cmd     *exec.Cmd
	ended   chan struct{}
}

func newRedis(t *testing.T) *redis {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a redis-server and takes half a minute")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &redis{t: t, address: free.Addr().String()}
	free.Close()
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *redis) url() string { return "redis://" + r.address + "/0" }

// start starts it, empty.
func (r *redis) start() {
	r.t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		r.t.Skipf("%v: apt-get install redis-server", err)
	}
	_, port, _ := net.SplitHostPort(r.address)
	r.cmd = exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	r.cmd.Dir = r.t.TempDir()
	var log bytes.Buffer
	r.cmd.Stdout = &log
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	cmd := r.cmd
	go func() { _ = cmd.Wait(); close(ended) }()
	r.ended = ended
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", r.address); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("redis-server does not listen:\n%s", log.String())
		}
	}
}

func (r *redis) kill() {
	r.signal(syscall.SIGKILL)
	<-r.ended
}

func (r *redis) signal(s os.Signal) { _ = r.cmd.Process.Signal(s) }

// ask runs a command.
func (r *redis) ask(args ...string) string {
	r.t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{r.address}, DisableCache: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	text, err := c.Do(context.Background(), c.B().Arbitrary(args...).Build()).ToString()
	if err != nil {
		r.t.Fatal(args, err)
	}
	return text
}
