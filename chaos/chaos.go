// Package chaos is a provider that fails on purpose: an HTTP server that speaks
// OpenAI's chat-completions protocol, streams included, and follows a Plan of
// errors, delays, broken connections and wrong answers, as the real ones give.
//
// Without a plan it answers rightly. It invents an answer that fits the
// request's JSON Schema (response_format, or the parameters of a tool that must
// be called); without a schema it invents a short text that says so. Where the
// user complains about an answer, the next one is as the complaint asks. No
// model is needed, and the same seed gives the same answers to the same
// requests.
//
//	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{
//		{Kind: chaos.Status, Status: 429, RetryAfter: "1"},
//		{Kind: chaos.Break, At: new("/items/0/price")},
//	}}})
//	...
//	server := httptest.NewServer(s)
//
// It serves POST /v1/chat/completions and GET /v1/models, with and without /v1,
// to any key. Requests that OpenAI would refuse get its error and take no step
// of the plan.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is what a Server does. Its zero value answers every request rightly.
type Config struct {
	// Plan says which requests fail, and how. Default: none.
	Plan *Plan
	// Seed decides what is invented and what is drawn. Default: the plan's.
	Seed uint64
	// OnRequest is called for each request when it is decided how it is
	// answered, and before it is: a request that hangs is seen at once. It may
	// be called from several goroutines at once, and may call the Server.
	OnRequest func(Recorded)
}

// Recorded is a request that the Server got. What its fields point to must not
// be changed.
type Recorded struct {
	Number int       // from 1
	Time   time.Time // of its arrival
	Method string
	Path   string      // without the query
	Header http.Header // the values of keys and cookies are replaced by REDACTED
	Body   []byte

	Model    string
	Stream   bool
	Messages []Message

	// Fault is what was done with it: Right without a plan. Its Kind is empty
	// where the plan had no part, as with requests that are refused.
	Fault Fault
	// Status is the HTTP status that was sent; 0 for none.
	Status int
	// Refusal says why a request was refused that the plan meant to answer.
	Refusal string
}

// Server is the provider. It is an http.Handler, for net/http/httptest and for
// Serve.
type Server struct {
	plan      *Plan
	seed      uint64
	onRequest func(Recorded)

	closed chan struct{}
	close  sync.Once

	mu       sync.Mutex
	recorded []*Recorded
	bytes    int // of the bodies in recorded
	number   int // of the last request
	steps    int // of the plan that were taken
	ids      int // never reset: identifiers stay unique
}

// The requests that are remembered: the last, with bodies of so many bytes.
const (
	maxRecorded      = 10_000
	maxRecordedBytes = 64 << 20
)

// maxBody is the largest request that is read.
const maxBody = 64 << 20

// New makes a Server. A plan that can't be followed is an error that names the
// fault, the field, what it got and what it takes.
func New(cfg Config) (*Server, error) {
	s := &Server{seed: cfg.Seed, onRequest: cfg.OnRequest, closed: make(chan struct{})}
	if cfg.Plan != nil {
		if field, i, wrong := cfg.Plan.check(); wrong != nil {
			return nil, fmt.Errorf("chaos: plan: %w", &located{0, path(field, i), wrong})
		}
		plan := *cfg.Plan
		plan.Steps, plan.Weights = slices.Clone(plan.Steps), slices.Clone(plan.Weights)
		s.plan = &plan
		if cfg.Seed == 0 {
			s.seed = plan.Seed
		}
	}
	return s, nil
}

// Requests returns the requests so far, in the order in which they came: all of
// them, unless there were more than 10,000 or more than 64 MB.
func (s *Server) Requests() []Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Recorded, len(s.recorded))
	for i, r := range s.recorded {
		out[i] = *r
	}
	return out
}

// Reset forgets the requests so far, and begins the plan again.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recorded, s.bytes, s.number, s.steps = nil, 0, 0, 0
}

// Close ends every wait, so that requests that hang or are slow end at once
// with a closed connection, and later ones that would. httptest.Server.Close
// waits for them: call this one first. Serve needs no Close.
func (s *Server) Close() {
	s.close.Do(func() { close(s.closed) })
}

// ServeHTTP answers one request. It panics with http.ErrAbortHandler where the
// connection is to be closed, as net/http wants it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &Recorded{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Header: redacted(r.Header)}
	var err error
	rec.Body, err = readBody(w, r)
	reply := s.decide(r.Context(), rec, err)
	if s.onRequest != nil {
		s.onRequest(*rec)
	}
	s.deliver(w, r, reply)
}

// decide records a request and says what is done with it.
func (s *Server) decide(ctx context.Context, rec *Recorded, readError error) reply {
	endpoint := strings.TrimPrefix(rec.Path, "/v1")
	takes := map[string]string{"/chat/completions": http.MethodPost, "/models": http.MethodGet}[endpoint]
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(readError, &tooLarge):
		message := fmt.Sprintf("The request is larger than %d bytes.", maxBody)
		return s.refuse(rec, http.StatusRequestEntityTooLarge, &refusal{message: message})
	case readError != nil:
		return s.refuse(rec, http.StatusBadRequest, &refusal{message: "The request could not be read: " + readError.Error()})
	case takes == "":
		return s.refuse(rec, http.StatusNotFound, &refusal{message: fmt.Sprintf("Invalid URL (%s %s)", rec.Method, rec.Path)})
	case takes != rec.Method:
		return s.refuse(rec, http.StatusMethodNotAllowed, &refusal{message: fmt.Sprintf("Not allowed to %s on %s.", rec.Method, rec.Path)})
	case endpoint == "/models":
		id, _ := s.record(rec, http.StatusOK, false)
		return refusalReply(http.StatusOK, modelList, id)
	}
	req, refusal := parseRequest(rec.Body)
	if refusal != nil {
		return s.refuse(rec, http.StatusBadRequest, refusal)
	}
	rec.Model, rec.Stream, rec.Messages = req.model, req.stream, req.messages
	id, f := s.record(rec, 0, true)
	rp, err := s.follow(ctx, req, f, id, rec)
	s.mu.Lock()
	defer s.mu.Unlock()
	rec.Status = rp.status
	if err != nil {
		rec.Refusal = err.Error()
	}
	return rp
}

// follow does what the plan says.
func (s *Server) follow(ctx context.Context, req *chatRequest, f Fault, id ids, rec *Recorded) (reply, error) {
	switch f.Kind {
	case Reset:
		return reply{delay: f.Delay, reset: true}, nil
	case Hang:
		return reply{delay: f.Delay, hang: true}, nil
	case Status:
		return statusReply(req.model, req.stream, f, id, rec.Time), nil
	}
	// What is invented depends on the request alone, and not on when it comes:
	// concurrent requests get what they would get alone.
	hash := fnv.New64a()
	_, _ = hash.Write(rec.Body) // never fails
	a, err := answerTo(ctx, req, f, rand.New(rand.NewPCG(s.seed, hash.Sum64())))
	if err != nil {
		rp := refusalReply(http.StatusBadRequest, refused(err), id)
		rp.delay = f.Delay
		return rp, err
	}
	return answerReply(req, a, f, id, rec.Time), nil
}

// refuse records a request that the plan has no part in, and answers it.
func (s *Server) refuse(rec *Recorded, status int, r *refusal) reply {
	rec.Refusal = r.message
	id, _ := s.record(rec, status, false)
	return refusalReply(status, refused(r), id)
}

// record numbers a request and keeps it; planned ones take a step of the plan.
func (s *Server) record(rec *Recorded, status int, planned bool) (ids, Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	s.ids++
	rec.Number, rec.Status = s.number, status
	if planned {
		rec.Fault = s.plan.fault(s.seed, s.steps)
		s.steps++
	}
	s.recorded = append(s.recorded, rec)
	s.bytes += len(rec.Body)
	for len(s.recorded) > maxRecorded || s.bytes > maxRecordedBytes && len(s.recorded) > 1 {
		s.bytes -= len(s.recorded[0].Body)
		s.recorded[0] = nil
		s.recorded = s.recorded[1:]
	}
	return ids{s.seed, s.ids}, rec.Fault
}

// deliver does what was decided.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, rp reply) {
	if !s.wait(r.Context(), rp.delay) {
		panic(http.ErrAbortHandler)
	}
	control := http.NewResponseController(w)
	switch {
	case rp.hang:
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
		panic(http.ErrAbortHandler)
	case rp.reset:
		reset(control)
		return
	}
	for name, values := range rp.header {
		w.Header()[name] = values
	}
	w.WriteHeader(rp.status)
	flush := len(rp.pieces) > 1 || rp.abrupt
	if flush {
		_ = control.Flush() // a client that is gone is no failure of the server's; so below
	}
	for i, piece := range rp.pieces[:rp.send] {
		if i > 0 && !s.wait(r.Context(), rp.pause) {
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(piece); err != nil {
			return
		}
		if flush {
			_ = control.Flush()
		}
	}
	if rp.abrupt {
		panic(http.ErrAbortHandler)
	}
}

// wait waits, and reports whether the client and the server are still there.
func (s *Server) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.closed:
	}
	return false
}

// reset closes the connection so that the client gets a TCP RST and not an
// orderly end: with a linger of 0 what is not sent yet is thrown away.
func reset(control *http.ResponseController) {
	conn, _, err := control.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 resets the stream for this
	}
	inner := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		inner = t.NetConn()
	}
	if t, ok := inner.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // fails only on a connection that is closed already
	}
	_ = inner.Close()
}

// readBody reads a request to its end: only then does the server notice that a
// client goes away. A body that trickles in is given up after a minute; the
// time must not run on, or it would end a request that hangs.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(time.Minute)) // not every ResponseWriter can; then there is no limit
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = control.SetReadDeadline(time.Time{})
	return body, err
}

// secrets are the headers whose values are not recorded.
var secrets = []string{"Authorization", "Proxy-Authorization", "Api-Key", "X-Api-Key", "Cookie"}

func redacted(h http.Header) http.Header {
	h = h.Clone()
	for _, name := range secrets {
		for i, value := range h[name] {
			h[name][i] = "REDACTED"
			if scheme, _, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "Bearer") {
				h[name][i] = "Bearer REDACTED"
			}
		}
	}
	return h
}

// modelList is the answer to GET /v1/models.
var modelList = []byte(`{"object":"list","data":[{"id":"practice","object":"model","created":1735689600,"owned_by":"llmcall"}]}`)
