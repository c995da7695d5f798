package gateway

import (
	"bytes"
	"net/http"
	"sync"
	"time"

	"llmcall"
	"llmcall/gateway/internal/front"
)

// silence is after how long without a byte a client is told that its answer is still
// awaited. Proxies end connections that are silent for 30 to 60 s.
const silence = 10 * time.Second

// outlet writes a stream to a client. Its methods may be called by several goroutines.
type outlet struct {
	asked   *asked
	w       http.ResponseWriter
	control *http.ResponseController
	stream  *front.Stream
	before  func(*llmcall.Trace) // sets the headers, before the first byte; of a call that has ended, those of its trace
	hold    bool                 // until the answer is valid

	mu      sync.Mutex
	trace   *llmcall.Trace // of the call, when it has ended
	begun   bool           // the status was sent
	raw     bool           // the events of the attempt are passed on as they come
	events  int            // of the attempt that came: a server may answer in one piece
	passed  bool           // a piece of an answer was sent
	kept    bytes.Buffer
	first   time.Time // when the first byte of an answer was sent
	err     error     // of a write: the client is gone, or too slow
	timer   *time.Timer
	stopped bool
}

func newOutlet(w http.ResponseWriter, a *asked, stream *front.Stream, hold bool, before func(*llmcall.Trace)) *outlet {
	o := &outlet{asked: a, w: w, control: http.NewResponseController(w), stream: stream, before: before, hold: hold}
	o.timer = time.AfterFunc(silence, o.alive)
	return o
}

// stop ends the signs of life.
func (o *outlet) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
	o.timer.Stop()
}

// alive sends a sign of life.
func (o *outlet) alive() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.stopped {
		o.write(o.stream.KeepAlive())
	}
}

// attempt is told that an attempt begins, and whether its events come in the client's
// protocol.
func (o *outlet) attempt(raw bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.passed {
		return
	}
	o.raw, o.events = raw, 0
	o.kept.Reset()
}

// event is called with each event of the provider, as it came.
func (o *outlet) event(name string, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.raw {
		return
	}
	o.asked.asItCame(&o.kept, name, data, o.events)
	o.events++
}

// grew is told that the answer has grown by the events so far.
func (o *outlet) grew() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.raw && o.events > 0 && !o.hold {
		o.passed = true
		o.flush()
	}
}

// flush sends the events that were kept.
func (o *outlet) flush() {
	if o.kept.Len() > 0 {
		o.write(o.kept.Bytes())
		o.kept.Reset()
	}
}

// piece sends a piece that was translated.
func (o *outlet) piece(text []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(text) > 0 {
		o.passed = true
		o.write(text)
	}
}

// passesRaw reports whether the events of the attempt are passed on as they came.
func (o *outlet) passesRaw() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.raw && o.events > 0
}

// sent returns how many events were passed on as they came.
func (o *outlet) sent() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.raw || !o.passed {
		return 0
	}
	return o.events
}

// content reports whether a part of an answer was sent.
func (o *outlet) content() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.passed
}

// end sends the events that were kept, as they came, and then text. trace is that of an
// answer.
func (o *outlet) end(raw bool, text []byte, trace *llmcall.Trace) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trace = trace
	if raw {
		o.flush()
	}
	o.write(text)
}

// started reports whether the status was sent.
func (o *outlet) started() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.begun
}

// write sends bytes. The caller holds the lock.
func (o *outlet) write(text []byte) {
	if o.err != nil || len(text) == 0 {
		return
	}
	if !o.begun {
		o.begun = true
		o.before(o.trace)
		o.w.WriteHeader(http.StatusOK)
	}
	if o.passed && o.first.IsZero() {
		o.first = time.Now()
	}
	o.timer.Stop() // a write that waits for the client needs no sign of life after it
	if _, o.err = o.w.Write(text); o.err == nil {
		o.err = o.control.Flush()
	}
	if !o.stopped {
		o.timer.Reset(silence)
	}
}

// gone returns the error of a write.
func (o *outlet) gone() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// asItCame writes an event of the provider, after n others, for a client of the same
// protocol.
func (a *asked) asItCame(to *bytes.Buffer, name string, data []byte, n int) {
	switch a.protocol.Name() {
	case "openai":
	case "gemini":
		if a.array {
			if n == 0 {
				to.WriteByte('[')
			} else {
				to.WriteString(",\n")
			}
			to.Write(data)
			return
		}
	default:
		to.WriteString("event: " + name + "\n")
	}
	to.WriteString("data: ")
	to.Write(data)
	to.WriteString("\n\n")
}
