package chaos

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall/chaos/internal/schemagen"
)

// Kind names what is done with one request.
type Kind string

// The kinds, each in the form of the request's protocol. Those down to Break
// answer with status 200 and differ in what they say; the others differ in how,
// or whether, they say it. Every kind takes Fault.Delay; every kind that answers
// takes Fault.ChunkDelay.
const (
	Right      Kind = "right"      // a right answer; what a Fault without a kind is
	Empty      Kind = "empty"      // an answer without a word
	Length     Kind = "length"     // half an answer, ended by the limit of tokens
	Filter     Kind = "filter"     // half an answer, ended by the content filter (Gemini: SAFETY; Anthropic: refusal)
	Refuse     Kind = "refuse"     // a refusal (OpenAI: message.refusal; Anthropic: stop_reason; Gemini: promptFeedback)
	Unfinished Kind = "unfinished" // a right answer that tells no end: a stream without its last events, a whole answer without a reason to stop
	Prose      Kind = "prose"      // an answer that is not JSON
	Fence      Kind = "fence"      // right JSON inside a Markdown fence
	Break      Kind = "break"      // JSON that breaks the request's schema in one place, Fault.At

	Status      Kind = "status"       // an error: Fault.Status, Fault.Error, Fault.Code
	StreamError Kind = "stream_error" // an error inside of a stream, after Fault.After events; its own status where none is streamed
	Reset       Kind = "reset"        // the connection is reset (TCP RST) before any header
	Hang        Kind = "hang"         // nothing, until the client goes or the server closes
	Slow        Kind = "slow"         // a right answer after Fault.Delay, default 2 s
	Drip        Kind = "drip"         // a right answer in pieces, Fault.ChunkDelay apart, default 200 ms
	Cut         Kind = "cut"          // a right answer that stops in the middle: Fault.After, Fault.End
	Comments    Kind = "comments"     // a right answer with what its reader must skip: comments and unknown fields between events, blank lines before JSON
	Garbage     Kind = "garbage"      // a right answer spoilt by bytes that are neither JSON nor an event
	Huge        Kind = "huge"         // an answer, or the error of Fault.Status, Error or Code, blown up to Fault.Size
	Redirect    Kind = "redirect"     // a redirect to a place that redirects to itself; Fault.Status, default 307
)

var kinds = []Kind{Right, Empty, Length, Filter, Refuse, Unfinished, Prose, Fence, Break,
	Status, StreamError, Reset, Hang, Slow, Drip, Cut, Comments, Garbage, Huge, Redirect}

// Kinds returns all kinds, in the order above.
func Kinds() []Kind { return slices.Clone(kinds) }

// What Slow, Drip and Huge are where the Fault does not say.
const (
	defaultSlow = 2 * time.Second
	defaultDrip = 200 * time.Millisecond
	defaultSize = 100 << 20
)

// End says how a Cut ends.
type End string

const (
	// Abrupt closes the connection: a stream lacks the end of its transfer
	// coding, a whole answer is shorter than its Content-Length. The default.
	Abrupt End = "abrupt"
	// Clean ends as if all were well: a stream without its last events
	// (finish_reason and [DONE], message_stop, response.completed, ...), as a
	// server sends whose model process was killed; a whole answer whose JSON
	// stops half-way.
	Clean End = "clean"
)

// Fault is what is done with one request. Its zero value is a right answer.
type Fault struct {
	// Kind is the kind of fault. Default Right.
	Kind Kind
	// Weight is the share of the requests that get this fault; in
	// Plan.Weights, where it must be above 0, and nowhere else.
	Weight float64
	// Delay is waited before the first byte, headers included. Default 0, for
	// Slow 2 s.
	Delay time.Duration
	// ChunkDelay is waited between two pieces of an answer, streamed or not.
	// Default 0, for Drip 200 ms.
	ChunkDelay time.Duration

	// Answer is the text to answer with, in place of an invented one. Not with
	// Empty and Break.
	Answer string
	// At is the place that Break breaks, a JSON pointer (RFC 6901) into the
	// answer, such as /items/0/price. Default: a place that the seed chooses.
	At *string
	// After is the number of stream events that come before a Cut or a
	// StreamError: 0 is right after the headers, before any content. Default:
	// so many that half of the content has come. The last events, which say that
	// the answer is complete, never come. A whole answer is always cut half-way.
	After *int
	// End says how a Cut ends. Default Abrupt.
	End End
	// Size is the least size of the body of Huge, in bytes. It is written piece
	// by piece and never held. Default 100 MiB.
	Size int
	// Finish is the reason to stop that the answer tells, in the provider's own
	// word (RECITATION, MALFORMED_FUNCTION_CALL, pause_turn, ...), in place of
	// the usual one; with Refuse it is Gemini's promptFeedback.blockReason. OpenAI's Responses tell it as incomplete_details.reason,
	// but for "failed", which is a status and comes with an error.
	Finish string
	// CachedTokens and ReasoningTokens are what the answer's usage tells of
	// them: so many of the prompt's tokens, at most all, and so many on top of
	// the answer's own. OpenAI's Responses have an item more for a model that
	// reasoned, before the answer's. Default 0.
	CachedTokens, ReasoningTokens int

	// Status is the HTTP status of kind Status, 200 to 599. Default: the one
	// that the error usually comes with. An error under a status below 400 (a
	// stream that fails before its first event, a gateway that answers 200 to
	// all) needs Error, Code or Body. For StreamError it chooses the error, and
	// is sent where the request is for no stream; default 500 beside Body.
	Status int
	// Error says what goes wrong, in a word that means the same for every
	// provider ("billing", "overloaded"), see ErrorNames; each has a status and
	// a body of its own for it, see Errors. Default: the usual error of Status.
	Error string
	// Code chooses an error by the provider's own code, see Codes. A request of
	// another provider's protocol gets the error that means the same there, with
	// the status that it has there; a Status below 400 is kept.
	Code string
	// Body is sent in place of the provider's error body. It may be empty.
	Body *string
	// Headers are added to the response of kind Status, or replace the
	// server's. A name may have several values.
	Headers http.Header
	// RetryAfter is sent as Retry-After just as it is: "2", "1.5", "soon".
	// Gemini gets this wait and those of the next two fields in its own form,
	// RetryInfo.retryDelay in the body, and no header. Default: not sent, but
	// for the rate limits of Anthropic and Gemini, which always tell a wait: 1 s,
	// or hours for daily ones.
	RetryAfter string
	// RetryAfterDate is sent as Retry-After in the form of an HTTP date (RFC
	// 9110, section 10.2.3) this far from now, rounded up to whole seconds, as
	// the form demands. Default: not sent.
	RetryAfterDate time.Duration
	// RetryAfterMS is sent as retry-after-ms, the form of OpenAI and Azure in
	// milliseconds, just as it is. Default: not sent.
	RetryAfterMS string
	// ResetAfter is how long a limit is told to stay used up: as a duration in
	// x-ratelimit-reset-requests or -tokens (OpenAI), as a time in
	// anthropic-ratelimit-*-reset (RFC 3339, rounded up to whole seconds).
	// Default: for an error that is a limit the wait of RetryAfter.
	ResetAfter time.Duration
}

// Plan says what is done with each answer that is asked for, in any protocol. It has
// either Steps or Weights, or none. The zero value answers each rightly.
type Plan struct {
	// Seed decides the draws of Weights and what is invented. Config.Seed goes
	// before it.
	Seed uint64
	// Steps answer one request each, in the order in which the requests come.
	// After the last, requests are answered rightly.
	Steps []Fault
	// Repeat begins again with the first step after the last.
	Repeat bool
	// Weights are drawn from, for each request again. The draw depends on the
	// seed and the request's number alone: the same seed and the same order of
	// requests give the same faults.
	Weights []Fault
	// AnswerTime is how long each answer takes from the moment that the request
	// is served: a whole answer comes after it, the pieces of a stream are spread
	// over it. A fault with a delay or a chunk delay has its own time instead,
	// and errors come at once. Default 0.
	AnswerTime time.Duration
	// Limits are what the provider allows, before all that Steps and Weights
	// say. Default: everything.
	Limits *Limits
}

func (p *Plan) answerTime() time.Duration {
	if p == nil {
		return 0
	}
	return p.AnswerTime
}

// fault returns what is done with the request number n for an answer, counted from 0.
func (p *Plan) fault(seed uint64, n int) Fault {
	switch {
	case p == nil:
		return Fault{Kind: Right}
	case len(p.Weights) > 0:
		return drawn(p.Weights, rand.New(rand.NewPCG(seed, uint64(n))).Float64())
	case n < len(p.Steps):
		return p.Steps[n].withDefaults()
	case p.Repeat:
		return p.Steps[n%len(p.Steps)].withDefaults()
	}
	return Fault{Kind: Right}
}

// drawn returns the fault at share x, in [0, 1), of all the weights.
func drawn(weights []Fault, x float64) Fault {
	var sum float64
	for _, f := range weights {
		sum += f.Weight
	}
	x *= sum
	for _, f := range weights {
		if x -= f.Weight; x < 0 {
			return f.withDefaults()
		}
	}
	return weights[len(weights)-1].withDefaults() // rounding kept x at 0
}

func (f Fault) withDefaults() Fault {
	switch {
	case f.Kind == "":
		f.Kind = Right
	case f.Kind == Slow && f.Delay == 0:
		f.Delay = defaultSlow
	case f.Kind == Drip && f.ChunkDelay == 0:
		f.ChunkDelay = defaultDrip
	case f.Kind == Cut && f.End == "":
		f.End = Abrupt
	case f.Kind == Huge && f.Size == 0:
		f.Size = defaultSize
	case f.Kind == Redirect && f.Status == 0:
		f.Status = http.StatusTemporaryRedirect
	}
	return f
}

// errs reports whether the fault comes with an error, streamed or not.
func (f Fault) errs() bool {
	return f.Kind == Status || f.Kind == StreamError || f.Kind == Huge && (f.Status != 0 || f.Error != "" || f.Code != "")
}

// in says what the fault is in a protocol: the status is the one that its error
// has there.
func (f Fault) in(provider face) Fault {
	if f.errs() {
		f.Status = errorOf(provider, f).status
	}
	return f
}

// answers reports whether f comes with an answer of the model's.
func (k Kind) answers() bool { return !slices.Contains([]Kind{Status, Reset, Hang, Redirect}, k) }

// problem is a field that is wrong: what it got, and what it takes.
type problem struct {
	field, got, takes string
}

func (p problem) Error() string {
	return fmt.Sprintf("%s: got %s; takes %s", p.field, p.got, p.takes)
}

// check returns what is wrong with the plan, and where: field is "steps" or
// "weights" and i the index of a fault, or field is "limits" and i -1; field is
// empty for the plan itself.
func (p *Plan) check() (field string, i int, wrong *problem) {
	switch {
	case len(p.Steps) > 0 && len(p.Weights) > 0:
		return "", 0, &problem{"weights", "steps and weights", "one of the two"}
	case p.Repeat && len(p.Steps) == 0:
		return "", 0, &problem{"repeat", "true without steps", "true only beside steps"}
	case p.AnswerTime < 0:
		return "", 0, &problem{"answer_time", p.AnswerTime.String(), "a time that is not negative"}
	}
	if p.Limits != nil {
		if wrong := p.Limits.check(); wrong != nil {
			return "limits", -1, wrong
		}
	}
	for i, f := range p.Steps {
		if f.Weight != 0 {
			return "steps", i, &problem{"weight", number(f.Weight), "no value in a step, only under weights"}
		}
		if wrong := f.check(); wrong != nil {
			return "steps", i, wrong
		}
	}
	var sum float64
	for i, f := range p.Weights {
		sum += f.Weight
		// The sum must stay finite, too: a draw is a share of it.
		if !(f.Weight > 0) || math.IsInf(sum, 0) {
			return "weights", i, &problem{"weight", number(f.Weight), "a number above 0 (the share of the requests that get this fault)"}
		}
		if wrong := f.check(); wrong != nil {
			return "weights", i, wrong
		}
	}
	return "", 0, nil
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// check returns what is wrong with the fault. A field that its kind has no use
// for is wrong: who set it expects an effect.
func (f Fault) check() *problem {
	kind := f.Kind
	if kind == "" {
		kind = Right
	}
	if !slices.Contains(kinds, kind) {
		return &problem{"kind", strconv.Quote(string(kind)), oneOf(string(kind), kinds)}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"delay", f.Delay}, {"chunk_delay", f.ChunkDelay}, {"retry_after_date", f.RetryAfterDate}, {"reset_after", f.ResetAfter}} {
		if d.value < 0 {
			return &problem{d.field, d.value.String(), "a time that is not negative"}
		}
	}
	for _, n := range []struct {
		field string
		value int
	}{{"size", f.Size}, {"cached_tokens", f.CachedTokens}, {"reasoning_tokens", f.ReasoningTokens}} {
		if n.value < 0 || n.value > maxCount {
			return &problem{n.field, strconv.Itoa(n.value), "a number from 0 to a million million"}
		}
	}
	answering := slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool { return !k.answers() })
	erring := []Kind{Status, StreamError, Huge}
	for _, u := range []struct {
		field string
		set   bool
		takes []Kind
	}{
		{"chunk_delay", f.ChunkDelay != 0, answering},
		{"answer", f.Answer != "", slices.DeleteFunc(slices.Clone(answering), func(k Kind) bool { return k == Empty || k == Break })},
		{"at", f.At != nil, []Kind{Break}},
		{"after", f.After != nil, []Kind{Cut, StreamError}},
		{"end", f.End != "", []Kind{Cut}},
		{"size", f.Size != 0, []Kind{Huge}},
		{"finish", f.Finish != "", answering},
		{"cached_tokens", f.CachedTokens != 0, answering},
		{"reasoning_tokens", f.ReasoningTokens != 0, answering},
		{"status", f.Status != 0, append([]Kind{Redirect}, erring...)},
		{"error", f.Error != "", erring},
		{"code", f.Code != "", erring},
		{"body", f.Body != nil, []Kind{Status, StreamError}},
		{"headers", len(f.Headers) > 0, erring},
		{"retry_after", f.RetryAfter != "", erring},
		{"retry_after_date", f.RetryAfterDate != 0, erring},
		{"retry_after_ms", f.RetryAfterMS != "", erring},
		{"reset_after", f.ResetAfter != 0, erring},
	} {
		if u.set && !slices.Contains(u.takes, kind) {
			return &problem{u.field, fmt.Sprintf("a value beside kind %q", kind), "a value only beside kind " + list(u.takes)}
		}
	}
	if f.At != nil {
		if _, ok := schemagen.Tokens(*f.At); !ok {
			return &problem{"at", strconv.Quote(*f.At), `a JSON pointer: "" or such as /items/0/price`}
		}
	}
	if f.After != nil && *f.After < 0 {
		return &problem{"after", strconv.Itoa(*f.After), "a number of events, 0 or more"}
	}
	if f.End != "" && f.End != Abrupt && f.End != Clean {
		return &problem{"end", strconv.Quote(string(f.End)), list([]End{Abrupt, Clean})}
	}
	if f.Finish != "" && !headerValue(f.Finish) {
		return &problem{"finish", strconv.Quote(f.Finish), "text without control characters"}
	}
	if kind == Redirect && f.Status != 0 && !slices.Contains(redirects, f.Status) {
		return &problem{"status", strconv.Itoa(f.Status), "301, 302, 303, 307 or 308"}
	}
	f.Kind = kind
	if f.errs() {
		if wrong := f.checkError(); wrong != nil {
			return wrong
		}
		return f.checkHeaders()
	}
	return nil
}

// maxCount bounds sizes and counts.
const maxCount = 1_000_000_000_000

// redirects are the statuses that a client follows.
var redirects = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

// checkError returns what is wrong with the choice of an error.
func (f Fault) checkError() *problem {
	if f.Status == 0 && f.Error == "" && f.Code == "" && !(f.Kind == StreamError && f.Body != nil) {
		return &problem{"status", "nothing", "an HTTP status, 200 to 599, or leave it to error or code"}
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return &problem{"status", strconv.Itoa(f.Status), "an HTTP status, 200 to 599"}
	}
	if f.Error != "" && !slices.Contains(ErrorNames(), f.Error) {
		return &problem{"error", strconv.Quote(f.Error), oneOf(f.Error, ErrorNames())}
	}
	if f.Code != "" && !slices.Contains(Codes(), f.Code) {
		return &problem{"code", strconv.Quote(f.Code), oneOf(f.Code, Codes())}
	}
	if f.Error != "" && f.Code != "" {
		return &problem{"code", "a value beside error", "one of the two"}
	}
	if (f.Error != "" || f.Code != "") && f.Body != nil {
		return &problem{"body", "a value beside error or code", "one of the two"}
	}
	if f.Status != 0 && f.Status < 400 && f.Error == "" && f.Code == "" && f.Body == nil {
		return &problem{"status", strconv.Itoa(f.Status), "a status below 400 only with error, code or body"}
	}
	return nil
}

// checkHeaders returns what is wrong with what goes into the headers.
func (f Fault) checkHeaders() *problem {
	if f.RetryAfter != "" && f.RetryAfterDate != 0 {
		return &problem{"retry_after_date", "a value beside retry_after", "one of the two"}
	}
	for _, h := range []struct{ field, value string }{{"retry_after", f.RetryAfter}, {"retry_after_ms", f.RetryAfterMS}} {
		if !headerValue(h.value) {
			return &problem{h.field, strconv.Quote(h.value), "text without control characters"}
		}
	}
	for name, values := range f.Headers {
		switch {
		case !headerName(name):
			return &problem{"headers", strconv.Quote(name), "names of letters, digits and hyphens"}
		case slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Trailer"}, http.CanonicalHeaderKey(name)):
			return &problem{"headers", strconv.Quote(name), "any header but those that frame the response"}
		case !slices.ContainsFunc(values, func(v string) bool { return !headerValue(v) }):
		default:
			return &problem{"headers", strconv.Quote(name) + " with a control character", "text without control characters"}
		}
	}
	return nil
}

func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// list writes "a, b, c".
func list[S ~string](names []S) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}
