package soak_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmcall/chaos"
)

// provider is a chaos server on loopback that knows its open connections.
type provider struct {
	*chaos.Server
	url    string
	open   atomic.Int64 // connections
	most   atomic.Int64
	server *http.Server
	served chan struct{}
}

func newProvider(t *testing.T, cfg chaos.Config) *provider {
	t.Helper()
	s, err := chaos.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{Server: s, url: "http://" + listener.Addr().String() + "/v1", served: make(chan struct{})}
	p.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ConnState: p.count}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(listener) // always http.ErrServerClosed
	}()
	return p
}

func (p *provider) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		raise(&p.most, p.open.Add(1))
	case http.StateClosed, http.StateHijacked: // those that are reset are hijacked
		p.open.Add(-1)
	}
}

// stop ends the server in order; what does not end is an error.
func (p *provider) stop() error {
	p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := p.server.Shutdown(ctx)
	if err != nil {
		_ = p.server.Close()
	}
	<-p.served
	return err
}

func raise(most *atomic.Int64, n int64) {
	for {
		if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
			return
		}
	}
}

// bodies is a RoundTripper that knows which responses' bodies are not closed,
// and how many requests were sent.
type bodies struct {
	http.RoundTripper
	open, sent atomic.Int64
}

func (b *bodies) RoundTrip(r *http.Request) (*http.Response, error) {
	b.sent.Add(1)
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		b.open.Add(1)
		response.Body = &body{ReadCloser: response.Body, open: &b.open}
	}
	return response, err
}

type body struct {
	io.ReadCloser
	open *atomic.Int64
	once sync.Once
}

func (b *body) Close() error {
	b.once.Do(func() { b.open.Add(-1) })
	return b.ReadCloser.Close()
}

// process is watched while the calls are made.
type process struct {
	peak  int64         // bytes of the heap
	stall time.Duration // the longest that it stood still: the machine had others to serve
	quit  chan struct{}
	done  chan struct{}
}

func watchProcess() *process {
	p := &process{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		const pause = 20 * time.Millisecond
		timer := time.NewTimer(pause)
		defer timer.Stop()
		for last := time.Now(); ; last = time.Now() {
			p.peak = max(p.peak, read("/memory/classes/heap/objects:bytes"))
			timer.Reset(pause)
			select {
			case <-timer.C:
				p.stall = max(p.stall, time.Since(last)-pause)
			case <-p.quit:
				return
			}
		}
	}()
	return p
}

func (p *process) stop() {
	close(p.quit)
	<-p.done
}

// live returns the bytes that are in use, once all that is not has gone.
func live() int64 {
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go
	return read("/gc/heap/live:bytes")
}

func read(name string) int64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// settles waits for something that may take a moment to become true.
func settles(is func() bool) bool {
	for range 500 {
		if is() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return is()
}
