// Package chaos is a provider that fails on purpose: an HTTP server that speaks
// the protocols of OpenAI (chat completions and responses), Anthropic (messages)
// and Gemini (generateContent), streams included, and follows a Plan of errors,
// delays, broken connections and wrong answers, as the real ones give.
//
// Without a plan it answers rightly. It invents an answer that fits the
// request's JSON Schema, or calls the tool that must be called with arguments
// that fit its schema; without a schema it invents a short text that says so.
// Where the user complains about an answer, the next one is as the complaint
// asks. No model is needed, and the same seed gives the same answers to the same
// requests.
//
//	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{
//		{Kind: chaos.Status, Error: "rate_limit", RetryAfter: "1"},
//		{Kind: chaos.Break, At: new("/items/0/price")},
//	}}})
//	...
//	server := httptest.NewServer(s)
//
// One plan serves every protocol: a fault takes the form of the request that it
// meets. "overloaded" is a 503 with OpenAI's error object, Anthropic's 529, and
// Gemini's UNAVAILABLE; "length" is finish_reason length, stop_reason max_tokens
// and finishReason MAX_TOKENS. See Kind for what can be done with a request, and
// ErrorNames, Errors and Codes for the errors.
//
// It serves, to any key:
//
//	POST /v1/chat/completions, /v1/responses, /v1/messages
//	POST /v1beta/models/{model}:generateContent, :streamGenerateContent?alt=sse
//	POST /openai/deployments/{model}/chat/completions?api-version=...   (Azure)
//	GET  /v1/models
//
// OpenAI's paths are served without /v1, too, and below /openai and /api.
// Requests that the provider would refuse get its error and take no step of the
// plan.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"llmcall/internal/protocol"
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
	Query  url.Values  // the value of key is replaced by REDACTED
	Header http.Header // the values of keys and cookies are replaced by REDACTED
	Body   []byte

	// Protocol is the one of the path; empty where the path leads nowhere.
	Protocol Protocol
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
	// Limit is the limit of the plan's that refused it: "requests", "tokens" or
	// "concurrent". Empty: none did.
	Limit string
}

// Server is the provider. It is an http.Handler, for net/http/httptest and for
// Serve.
type Server struct {
	plan      *Plan
	seed      uint64
	onRequest func(Recorded)
	limiter   *limiter // nil without limits
	slots     *slots   // nil without a limit of them
	tally     tally

	closing context.Context // ends with Close
	close   context.CancelFunc

	mu       sync.Mutex
	recorded []*Recorded
	bytes    int // of all that is in recorded
	number   int // of the last request
	steps    int // of the plan that were taken
	ids      int // never reset: identifiers stay unique
}

// The requests that are remembered: the last, with so many bytes in all.
const (
	maxRecorded      = 10_000
	maxRecordedBytes = 64 << 20
)

// maxBody is the largest request that is read.
const maxBody = 64 << 20

// New makes a Server. A plan that can't be followed is an error that names the
// fault, the field, what it got and what it takes.
func New(cfg Config) (*Server, error) {
	s := &Server{seed: cfg.Seed, onRequest: cfg.OnRequest}
	s.closing, s.close = context.WithCancel(context.Background())
	if cfg.Plan != nil {
		if field, i, wrong := cfg.Plan.check(); wrong != nil {
			return nil, fmt.Errorf("chaos: plan: %w", &located{0, placeOf(field, i), wrong})
		}
		plan := *cfg.Plan
		plan.Steps, plan.Weights = slices.Clone(plan.Steps), slices.Clone(plan.Weights)
		s.plan = &plan
		if l := plan.Limits; l != nil {
			s.limiter = newLimiter(*l)
			if l.Concurrent > 0 {
				s.slots = &slots{concurrent: l.Concurrent, queue: l.Queue}
			}
		}
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

// Counts returns what has become of the requests so far.
func (s *Server) Counts() Counts { return s.tally.snapshot() }

// Reset forgets the requests so far and what they have used of the limits, and
// begins the plan again. Requests that are being served, or wait for a place,
// keep it and are counted on.
func (s *Server) Reset() {
	s.tally.reset()
	if s.limiter != nil {
		s.limiter.reset()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recorded, s.bytes, s.number, s.steps = nil, 0, 0, 0
}

// Close ends every wait, so that requests that hang or are slow end at once
// with a closed connection, and later ones that would. An answer that is going
// out has a second. httptest.Server.Close waits for them: call this one first.
// Serve needs no Close.
func (s *Server) Close() { s.close() }

// ServeHTTP answers one request. It panics with http.ErrAbortHandler where the
// connection is to be closed, as net/http wants it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := s.tally.arrive()
	defer v.end(failed) // however this function is left; after the request's own end it does nothing
	query := r.URL.Query()
	rec := &Recorded{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Query: withoutKey(query), Header: redacted(r.Header)}
	var err error
	rec.Body, err = readBody(w, r)
	rp := s.decide(r.Context(), rec, &protocol.Incoming{Path: rec.Path, Query: query, Header: r.Header, Body: rec.Body}, err, v)
	if s.onRequest != nil {
		s.onRequest(*rec)
	}
	s.deliver(w, r, rp, v)
}

// decide records a request and says what is done with it, after it has waited
// for a place.
func (s *Server) decide(ctx context.Context, rec *Recorded, call *protocol.Incoming, readError error, v *visit) reply {
	if rec.Path == redirectPath {
		s.record(rec, http.StatusTemporaryRedirect, nil)
		return redirectReply(http.StatusTemporaryRedirect, 0)
	}
	to, found := protocol.At(rec.Path)
	if found {
		rec.Protocol = Protocol(to.Protocol.Name())
	}
	if !found || to.Models { // the path does not tell which client asks
		to.Protocol = protocol.Likely(rec.Path, call.Header)
	}
	provider := faceOf(to.Protocol)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(readError, &tooLarge):
		message := fmt.Sprintf("The request is larger than %d bytes.", maxBody)
		return s.refuse(rec, provider, &protocol.Error{Status: http.StatusRequestEntityTooLarge, Message: message})
	case readError != nil:
		return s.refuse(rec, provider, &protocol.Error{Message: "The request could not be read: " + readError.Error()})
	case !found:
		return s.refuse(rec, provider, &protocol.Error{Status: http.StatusNotFound, Message: fmt.Sprintf("Invalid URL (%s %s)", rec.Method, rec.Path)})
	case to.Method != rec.Method:
		return s.refuse(rec, provider, &protocol.Error{Status: http.StatusMethodNotAllowed, Message: fmt.Sprintf("Not allowed to %s on %s.", rec.Method, rec.Path)})
	case to.Models:
		id, _ := s.record(rec, http.StatusOK, nil)
		rp := jsonReply(http.StatusOK, provider.Header(id), modelList)
		rp.provider, rp.ending = provider, answered
		return rp
	}
	read, refused := provider.Read(call)
	if refused != nil {
		return s.refuse(rec, provider, refused)
	}
	req := &request{Request: read, face: provider}
	rec.Model, rec.Stream, rec.Messages = req.Model, req.Stream, messagesOf(req.Messages)
	if rp, refused := s.limit(ctx, req, call, rec, v); refused {
		return rp
	}
	id, f := s.record(rec, 0, provider)
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
func (s *Server) follow(ctx context.Context, req *request, f Fault, id protocol.IDs, rec *Recorded) (reply, error) {
	switch {
	case f.Kind == Reset:
		return reply{delay: f.Delay, reset: true}, nil
	case f.Kind == Hang:
		return reply{delay: f.Delay, hang: true}, nil
	case f.Kind == Redirect:
		return redirectReply(f.Status, f.Delay), nil
	case f.errs() && !(f.Kind == StreamError && req.Stream):
		return statusReply(req, f, id, rec.Time), nil
	}
	// What is invented depends on the request alone, and not on when it comes:
	// concurrent requests get what they would get alone.
	hash := fnv.New64a()
	_, _ = hash.Write(rec.Body) // never fails
	a, err := answerTo(ctx, req, f, rand.New(rand.NewPCG(s.seed, hash.Sum64())))
	if err != nil {
		refused, ok := errors.AsType[*protocol.Error](err)
		if !ok {
			refused = &protocol.Error{Message: err.Error()}
		}
		rp := refusalReply(req.face, refused, id)
		rp.delay = f.Delay
		return rp, err
	}
	in := req.promptTokens()
	if s.limiter != nil && !req.answerReserved() {
		s.limiter.charge(req.account, int64(tokenCount(a.Text)+f.ReasoningTokens), time.Now())
	}
	use := protocol.Usage{In: in, Out: tokenCount(a.Text) + f.ReasoningTokens, Cached: min(f.CachedTokens, in), Reasoning: f.ReasoningTokens}
	turn := &protocol.Turn{Request: req.Request, Answer: a, ID: id, Now: rec.Time, Usage: use}
	return answerReply(req, turn, f, s.plan.answerTime()), nil
}

// refuse records a request that the plan has no part in, and answers it.
func (s *Server) refuse(rec *Recorded, provider face, r *protocol.Error) reply {
	rec.Refusal = r.Message
	id, _ := s.record(rec, r.HTTPStatus(), nil)
	return refusalReply(provider, r, id)
}

// record numbers a request and keeps it. One that is for an answer, in the form
// of a face, takes a step of the plan.
func (s *Server) record(rec *Recorded, status int, planned face) (protocol.IDs, Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	s.ids++
	rec.Number, rec.Status = s.number, status
	if planned != nil {
		rec.Fault = s.plan.fault(s.seed, s.steps).in(planned)
		s.steps++
	}
	s.recorded = append(s.recorded, rec)
	s.bytes += rec.size()
	for len(s.recorded) > maxRecorded || s.bytes > maxRecordedBytes && len(s.recorded) > 1 {
		s.bytes -= s.recorded[0].size()
		s.recorded[0] = nil
		s.recorded = s.recorded[1:]
	}
	return ids(s.seed, s.ids), rec.Fault
}

// size is about how many bytes a client has made the server remember.
func (r *Recorded) size() int {
	n := len(r.Body) + len(r.Path) + len(r.Model)
	for _, values := range []map[string][]string{r.Header, r.Query} {
		for name, all := range values {
			n += len(name)
			for _, value := range all {
				n += len(value)
			}
		}
	}
	for _, m := range r.Messages {
		n += len(m.Role) + len(m.Text)
	}
	return n
}

// readBody reads a request to its end: only then does the server notice that a
// client goes away. A body that trickles in is given up after a minute; the
// time must not run on, or it would end a request that hangs.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(time.Minute)) // not every ResponseWriter can; then there is no limit
	_ = control.SetWriteDeadline(time.Time{})                // that of the connection's last answer; "100 Continue" may go out
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = control.SetReadDeadline(time.Time{})
	return body, err
}

// secrets are the headers whose values are not recorded.
var secrets = []string{"Authorization", "Proxy-Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "Cookie"}

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

// withoutKey hides the key that Gemini's clients may put into the query.
func withoutKey(query url.Values) url.Values {
	out := url.Values{}
	for name, values := range query {
		out[name] = values
		if strings.EqualFold(name, "key") || strings.EqualFold(name, "api-key") {
			out[name] = []string{"REDACTED"}
		}
	}
	return out
}

// modelList is the answer to GET /v1/models.
var modelList = []byte(`{"object":"list","data":[{"id":"practice","object":"model","created":1735689600,"owned_by":"llmcall"}]}`)
