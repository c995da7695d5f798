package mcp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"llmcall/internal/say"
)

const (
	// grace is how long a command may take to end when its input was closed, and then
	// again when it was told to terminate.
	grace = 2 * time.Second
	// drain is how long its output is read after its end: a process of its own that has
	// left the group may hold it open.
	drain = time.Second
	// maxKept is how many bytes of its standard error are kept, and maxTold how many code
	// points an error has of them. The first is more, so that no half of a key is told.
	maxKept = 8 << 10
	maxTold = 2_000
)

// process is a server's command that runs.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *os.File
	stderr *tail
	over   chan struct{} // closed at its end
	ended  error         // what Wait says, then
}

// startProcess starts a server's command.
func startProcess(s *settings) (*process, error) {
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Env, cmd.Dir = s.env, s.dir
	cmd.WaitDelay = drain
	ownGroup(cmd)
	p := &process{cmd: cmd, stderr: &tail{}, over: make(chan struct{})}
	cmd.Stderr = p.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, written, err := os.Pipe() // of our own: that of the command is closed at its end, with what was not read
	if err != nil {
		_ = stdin.Close()
		return nil, err
	}
	cmd.Stdout = written
	p.stdin, p.stdout = stdin, stdout
	err = cmd.Start()
	_ = written.Close() // the command has its own
	if err != nil {
		return nil, errors.Join(err, stdout.Close())
	}
	go p.wait()
	return p, nil
}

// wait takes note of the end of the command, and ends what it has left in its group.
func (p *process) wait() {
	p.ended = p.cmd.Wait()
	killGroup(p.cmd.Process)
	close(p.over)
}

// end ends the command: at once, or as the protocol wants it
// (https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#shutdown).
func (p *process) end(atOnce bool) {
	_ = p.stdin.Close() // one that has ended has closed it
	if !atOnce && !p.endsWithin(grace) {
		terminateGroup(p.cmd.Process)
		p.endsWithin(grace)
	}
	killGroup(p.cmd.Process)
	<-p.over
	_ = p.stdout.Close() // lets go whoever reads it
}

func (p *process) endsWithin(limit time.Duration) bool {
	select {
	case <-p.over:
		return true
	case <-time.After(limit):
		return false
	}
}

// said is how the command ended, if it has, and what it wrote last.
func (p *process) said() string {
	var text string
	select {
	case <-p.over:
		text = "it has ended"
		if p.ended != nil {
			text += " (" + p.ended.Error() + ")"
		}
	default:
		text = "it runs"
	}
	if last := p.stderr.String(); last != "" {
		text += fmt.Sprintf("; its standard error ends with %q", last)
	}
	return text
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p[max(0, len(p)-maxKept):]...)
	t.kept = append(t.kept[:0], t.kept[max(0, len(t.kept)-maxKept):]...)
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "\uFFFD"))
}

// lastOf returns the end of a text.
func lastOf(text string, n int) string {
	if letters := []rune(text); len(letters) > n {
		return "…" + string(letters[len(letters)-n:])
	}
	return say.Short(text, n)
}
