// Package chaos is a provider that fails on purpose, for tests: an HTTP server that
// speaks the protocols of OpenAI (chat completions and responses), Anthropic
// (messages) and Gemini (generateContent), streams included, and causes errors,
// delays, broken connections and wrong answers as the real providers do.
//
// A [Fault] is what the [Server] does with one request. A [Plan] gives each request
// its fault: [Plan.Steps] in order, or [Plan.Weights] at random. [Limits] are the
// plan's limits on requests and tokens per minute, and on concurrent requests; a
// request over a limit is refused before the plan is asked. A request that is wrong
// gets the provider's error, and neither takes a step of the plan nor counts toward a
// limit.
//
// Without a plan the server answers correctly, and no model is needed. It invents an
// answer that fits the request's JSON Schema, or calls the tool that must be called
// with arguments that fit its schema; without a schema it invents a short text that
// says so. If the user's last message complains about an answer, the next answer does
// what the complaint asks. The same seed gives the same answers to the same requests.
//
//	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{
//		{Kind: chaos.Status, Error: "rate_limit", RetryAfter: "1"},
//		{Kind: chaos.Break, At: new("/items/0/price")},
//	}}})
//	...
//	server := httptest.NewServer(s)
//
// The same plan works for every protocol: a fault takes the form of the request's
// protocol. "overloaded" is a 503 with OpenAI's error object, Anthropic's 529, and
// Gemini's UNAVAILABLE; "length" is finish_reason length, stop_reason max_tokens and
// finishReason MAX_TOKENS. See [Kind] for the kinds of faults, and [ErrorNames],
// [Errors] and [Codes] for the errors.
//
// The server accepts any key, and serves:
//
//	POST /v1/chat/completions, /v1/responses, /v1/messages
//	POST /v1beta/models/{model}:generateContent, :streamGenerateContent?alt=sse
//	POST /openai/deployments/{model}/chat/completions?api-version=...   (Azure)
//	POST /v1/embeddings, /v1beta/models/{model}:embedContent, :batchEmbedContents
//	POST /v1/responses/input_tokens, /v1/messages/count_tokens, /v1beta/models/{model}:countTokens
//	GET  /v1/models, /v1/models/{model}, /v1beta/models, /v1beta/models/{model}
//	GET  /v1/responses/{id}, DELETE /v1/responses/{id}, POST /v1/responses/{id}/cancel
//
// OpenAI's paths also work without /v1, and below /openai, /api and /v1beta. The list of
// models has the form of the client's protocol. Embeddings are invented, and follow the
// plan and its limits like answers; of requests for more than 65,536 numbers two are served
// at a time, since one may take 700 MB; [Fault.Delay] and [Plan.AnswerTime] are before it. The other requests that are not for an answer do not
// take a step of the plan.
//
// If a request offers tools and leaves it to the model whether to call one, half of the
// answers call one, as the seed decides; [Fault.Tool] can decide it instead. Once a tool's
// results are in the conversation, the answer is a text.
//
// Responses are kept for previous_response_id, and conversations for Anthropic's threads:
// the last 1,000 of both together, or fewer if they are larger than 32 MiB. A response in
// the background is complete after [Fault.Delay] or [Plan.AnswerTime].
package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"llmcall/chaos/internal/practice"
	"llmcall/internal/limiter"
	"llmcall/internal/protocol"
)

// Config configures a [Server]. The zero value answers every request correctly.
type Config struct {
	// Plan says which requests fail, and how. Default nil: none.
	Plan *Plan
	// Seed determines the invented answers and the draws of [Plan.Weights]. Default 0:
	// that of the plan.
	Seed uint64
	// OnRequest is called for each request once its fault is known, and before the
	// response, so that a request that hangs is seen at once. Several goroutines may
	// call it at once, and it may call the Server. Default nil: none.
	OnRequest func(Recorded)
}

// Recorded is a request that the [Server] received. It must not be changed.
type Recorded struct {
	Number int         // from 1, in the order of [Server.Requests]
	Time   time.Time   // when it arrived
	Method string      // the HTTP method
	Path   string      // without the query
	Query  url.Values  // with keys replaced by REDACTED
	Header http.Header // with keys and cookies replaced by REDACTED
	Body   []byte      // the whole body, of at most 64 MiB

	Protocol Protocol  // of the path; "" for an unknown path
	Model    string    // "" if the request could not be read, as Stream and Messages
	Stream   bool      // the client wants a stream
	Messages []Message // the conversation

	// Fault is what the server did with it, with its defaults filled in. Without a plan
	// its Kind is [Right]. It is the zero value if the request did not take a step of
	// the plan.
	Fault Fault
	// Status is the HTTP status that was sent, or 0 if none was.
	Status int
	// Refusal says why the request was refused. It is "" if the plan was followed.
	Refusal string
	// Limit is the limit in [Plan.Limits] that refused it: "requests", "tokens" or
	// "concurrent"; else "".
	Limit string
}

// Server is the provider. It is an [http.Handler], for [net/http/httptest] and
// [Server.Serve].
type Server struct {
	plan      *Plan
	seed      uint64
	onRequest func(Recorded)
	limiter   *limiter.Limiter // nil without limits
	slots     *slots           // nil without a limit of them
	large     slots            // of requests for many vectors
	kept      keptAnswers
	tally     tally

	closing context.Context // ends with Close
	close   context.CancelFunc

	mu       sync.Mutex
	recorded []*Recorded
	bytes    int // the size of everything in recorded
	number   int // of the last request
	steps    int // how many of the plan have been taken
	ids      int // never reset: identifiers stay unique
}

// The limits on the recorded requests; beyond them the oldest are forgotten.
const (
	maxRecorded      = 10_000
	maxRecordedBytes = 64 << 20
)

// maxBody is the size of the largest request body that is read.
const maxBody = 64 << 20

// New returns a [Server]. The error of an impossible plan names the field, what it must
// be, and what it got.
func New(cfg Config) (*Server, error) {
	s := &Server{seed: cfg.Seed, onRequest: cfg.OnRequest, large: slots{concurrent: largeAtOnce, queue: math.MaxInt}}
	s.closing, s.close = context.WithCancel(context.Background())
	if cfg.Plan != nil {
		if field, i, wrong := cfg.Plan.check(); wrong != nil {
			return nil, fmt.Errorf("chaos: plan: %w", wrong.at(0).Within(strings.TrimSuffix(placeOf(field, i), ".")))
		}
		plan := *cfg.Plan
		plan.Steps, plan.Weights = slices.Clone(plan.Steps), slices.Clone(plan.Weights)
		s.plan = &plan
		if l := plan.Limits; l != nil {
			s.limiter = limiter.New(l.rates())
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

// Requests returns the requests so far, in order: the last 10,000, or fewer if they are
// larger than 64 MiB together.
func (s *Server) Requests() []Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Recorded, len(s.recorded))
	for i, r := range s.recorded {
		out[i] = *r
	}
	return out
}

// Counts returns the number of requests so far, by outcome.
func (s *Server) Counts() Counts { return s.tally.snapshot() }

// Reset forgets the requests so far, what they have used of the limits, and the answers
// that are kept, and restarts the plan. Requests that are being served or waiting are not
// interrupted, and stay in [Server.Counts].
func (s *Server) Reset() {
	s.tally.reset()
	if s.limiter != nil {
		s.limiter.Reset()
	}
	s.kept.reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recorded, s.bytes, s.number, s.steps = nil, 0, 0, 0
}

// Close ends all waits, so that requests that hang or are delayed, now or later, end at
// once with a closed connection. An answer that is being sent has one more second.
// httptest.Server.Close waits for all requests, so call this Close first.
// [Server.Serve] does not need it.
func (s *Server) Close() { s.close() }

// ServeHTTP answers one request. To close the connection it panics with
// [http.ErrAbortHandler], as net/http requires.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := s.tally.arrive()
	defer v.end(failed) // also after a panic; if the request has ended already, it does nothing
	query := r.URL.Query()
	rec := &Recorded{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Query: withoutKey(query), Header: redacted(r.Header)}
	var err error
	rec.Body, err = readBody(w, r)
	rp := s.decide(r.Context(), rec, &protocol.Incoming{Path: rec.Path, Query: query, Header: r.Header, Body: rec.Body, Kept: s.kept.get}, err, v)
	if s.onRequest != nil {
		s.onRequest(*rec)
	}
	s.deliver(w, r, rp, v)
}

// decide records a request and returns what to do with it, once it has a slot.
func (s *Server) decide(ctx context.Context, rec *Recorded, call *protocol.Incoming, readError error, v *visit) reply {
	if rec.Path == redirectPath {
		s.record(rec, http.StatusTemporaryRedirect, nil)
		return redirectReply(http.StatusTemporaryRedirect, 0)
	}
	to, found := protocol.At(rec.Path)
	if found {
		rec.Protocol = Protocol(to.Protocol.Name())
	}
	if !found || to.Shared() { // the path does not say which client asks
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
	case !to.Allows(rec.Method):
		return s.refuse(rec, provider, &protocol.Error{Status: http.StatusMethodNotAllowed, Message: fmt.Sprintf("Not allowed to %s on %s.", rec.Method, rec.Path)})
	case to.For != protocol.Answers && to.For != protocol.Embeddings:
		return s.lookUp(rec, provider, to, call)
	}
	req, refused := readRequest(provider, to, call)
	if refused != nil {
		return s.refuse(rec, provider, refused)
	}
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

// follow returns the reply that the plan asks for.
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
	takes := s.plan.answerTime()
	if req.embedding != nil {
		build := func() reply { return wholeReply(req, req.vectors(), f, id, takes) }
		if len(req.embedding.Texts)*req.embedding.Dimensions <= largeVectors {
			return build(), nil
		}
		rp := wholeReply(req, nil, f, id, takes)
		rp.build = build
		return rp, nil
	}
	turn, err := s.turn(ctx, req, f, id, rec)
	if err != nil {
		refused, ok := errors.AsType[*protocol.Error](err)
		if !ok {
			refused = &protocol.Error{Message: err.Error()}
		}
		rp := refusalReply(req.face, refused, id)
		rp.delay = f.Delay
		return rp, err
	}
	ready := rec.Time
	if turn.Request.Background && !req.Stream {
		ready = ready.Add(cmp.Or(f.Delay, takes))
		f.Delay, takes = 0, 0
	}
	if keeper, ok := req.face.(protocol.Keeper); ok {
		if name, text := keeper.Keep(turn); name != "" {
			s.kept.add(name, keptAnswer{text, ready})
		}
	}
	if req.Stream {
		return streamReply(req, turn, f, takes), nil
	}
	return wholeReply(req, req.face.Whole(turn), f, id, takes), nil
}

// turn returns the answers to a request, as the fault wants them. They depend only on the
// request and not on its number, so that concurrent requests get the answers that they
// would get alone.
func (s *Server) turn(ctx context.Context, req *request, f Fault, id protocol.IDs, rec *Recorded) (*protocol.Turn, error) {
	hash := fnv.New64a()
	_, _ = hash.Write(rec.Body) // never fails
	// chance is a source of numbers for each purpose, so that one does not change another.
	chance := func(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, hash.Sum64()+purpose)) }
	const forChoices, forTools, forThoughts = 0, 1 << 32, 1 << 33
	answering, err := calling(req, f, chance(forTools))
	if err != nil {
		return nil, err
	}
	in := req.promptTokens()
	turn := &protocol.Turn{Request: answering.Request, ID: id, Now: rec.Time, Usage: protocol.Usage{In: in, Cached: min(f.CachedTokens, in), Reasoning: f.ReasoningTokens}, Plays: true}
	var answers []invented
	for i := range uint64(max(1, req.Choices)) {
		a, err := answerTo(ctx, answering, f, chance(forChoices+i))
		if err != nil {
			return nil, err
		}
		turn.Usage.Out += tokenCount(a.text)
		answers = append(answers, a)
	}
	thought := ""
	if (req.Thinks || req.Encrypted) && answers[0].finish != protocol.FinishRefusal {
		made := practice.Thought(chance(forThoughts))
		turn.Usage.Reasoning = cmp.Or(turn.Usage.Reasoning, tokenCount(made))
		if req.Thinks {
			thought = made
		}
	}
	turn.Answer = answers[0].parts(id, req.thoughts(thought, turn.Usage.Reasoning, id)...)
	for i, a := range answers[1:] {
		turn.More = append(turn.More, a.parts(func(prefix string) string { return id(prefix + strconv.Itoa(i+1)) }))
	}
	turn.Usage.Out += turn.Usage.Reasoning
	if s.limiter != nil && !req.answerReserved() {
		s.limiter.Charge(req.account, int64(turn.Usage.Out), time.Now())
	}
	return turn, nil
}

// refuse records a request that does not take a step of the plan, and refuses it.
func (s *Server) refuse(rec *Recorded, provider face, r *protocol.Error) reply {
	rec.Refusal = r.Message
	id, _ := s.record(rec, r.HTTPStatus(), nil)
	return refusalReply(provider, r, id)
}

// record numbers a request and keeps it. If planned is not nil, the request takes a step
// of the plan, and planned is the form of the fault.
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

// size is approximately the memory that a record takes, in bytes.
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

// readBody reads a request to its end: only then does net/http notice that a client goes
// away. A body that takes more than a minute is refused; the deadline is then removed,
// since it would end a request that hangs.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(time.Minute)) // without a limit if the ResponseWriter has none
	_ = control.SetWriteDeadline(time.Time{})                // that of the connection's last answer would forbid "100 Continue"
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = control.SetReadDeadline(time.Time{})
	return body, err
}

// secrets are the headers whose values are redacted.
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

// withoutKey redacts the key that Gemini's clients may send in the query.
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
