package chaos

import (
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall/chaos/internal/schemagen"
	"llmcall/internal/nearest"
	"llmcall/internal/yamlfile"
)

// Kind is a kind of fault.
type Kind string

// The kinds, each in the form of the request's protocol. Those up to Break answer with
// status 200 and differ in what the answer says. The others differ in how it is sent, or
// whether it is. [Fault.Delay] works with every kind, [Fault.ChunkDelay] with every kind
// that answers.
const (
	Right      Kind = "right"      // a correct answer; the default
	Empty      Kind = "empty"      // an answer without text
	Length     Kind = "length"     // half an answer, ended by the token limit
	Filter     Kind = "filter"     // half an answer, ended by the content filter (Gemini: SAFETY; Anthropic: refusal)
	Refuse     Kind = "refuse"     // a refusal (OpenAI: message.refusal; Anthropic: stop_reason; Gemini: promptFeedback)
	Unfinished Kind = "unfinished" // a correct answer without an end: a stream without its last events, a whole answer without a reason to stop
	Prose      Kind = "prose"      // an answer that is not JSON
	Fence      Kind = "fence"      // correct JSON in a Markdown fence
	Break      Kind = "break"      // JSON that violates the request's schema in one place, [Fault.At]

	Status      Kind = "status"       // an error: [Fault.Status], [Fault.Error], [Fault.Code]
	StreamError Kind = "stream_error" // an error in a stream, after [Fault.After] events; without a stream, an error with its status
	Reset       Kind = "reset"        // the connection is reset (TCP RST) before any header
	Hang        Kind = "hang"         // no response until the client goes away or the server closes
	Slow        Kind = "slow"         // a correct answer after [Fault.Delay], default 2 s
	Drip        Kind = "drip"         // a correct answer in pieces, [Fault.ChunkDelay] apart, default 200 ms
	Cut         Kind = "cut"          // a correct answer that breaks off: [Fault.After], [Fault.End]
	Comments    Kind = "comments"     // a correct answer with what a client must skip: comments and unknown fields between events, blank lines before JSON
	Garbage     Kind = "garbage"      // a correct answer corrupted by bytes that are neither JSON nor an event
	Huge        Kind = "huge"         // an answer, or the error of [Fault.Status], Error or Code, padded to [Fault.Size]
	Redirect    Kind = "redirect"     // a redirect to a path that redirects to itself, with [Fault.Status], default 307
)

var kinds = []Kind{Right, Empty, Length, Filter, Refuse, Unfinished, Prose, Fence, Break,
	Status, StreamError, Reset, Hang, Slow, Drip, Cut, Comments, Garbage, Huge, Redirect}

// Kinds returns all kinds, in the order of their declaration.
func Kinds() []Kind { return slices.Clone(kinds) }

// The defaults of [Slow], [Drip] and [Huge].
const (
	defaultSlow = 2 * time.Second
	defaultDrip = 200 * time.Millisecond
	defaultSize = 100 << 20
)

// End is how a [Cut] ends. Default [Abrupt].
type End string

// The ends of a [Cut].
const (
	// Abrupt closes the connection: a stream lacks the end of its transfer coding, and
	// a whole answer is shorter than its Content-Length.
	Abrupt End = "abrupt"
	// Clean ends the response normally: a stream lacks its last events (finish_reason
	// and [DONE], message_stop, response.completed, ...), as when a server's model
	// process was killed; a whole answer is half of its JSON.
	Clean End = "clean"
)

// Fault is what the [Server] does with one request. The zero value is a correct answer.
// A field that has no effect with the Kind is an error, as the fields say.
type Fault struct {
	// Kind is the kind of fault. Default [Right].
	Kind Kind
	// Weight is the share of requests that get this fault, relative to the sum of all
	// weights. In [Plan.Weights] it must be above 0, elsewhere 0.
	Weight float64
	// Delay is the wait before the first byte, headers included. Default 0; for [Slow]
	// 2 s.
	Delay time.Duration
	// ChunkDelay is the wait between two pieces of an answer, streamed or not. Default
	// 0; for [Drip] 200 ms.
	ChunkDelay time.Duration

	// Answer is the answer's text. It can't be combined with [Empty] and [Break].
	// Default "": an invented one.
	Answer string
	// At is the place that [Break] makes invalid, as a JSON pointer (RFC 6901) into the
	// answer, such as /items/0/price. Default nil: a place that the seed chooses.
	At *string
	// After is the number of stream events before a [Cut] or a [StreamError]; 0 is right
	// after the headers. The last events, which say that the answer is complete, are
	// never sent. Default nil: half of the content. A whole answer is always cut in the
	// middle.
	After *int
	// End is how a [Cut] ends. Default [Abrupt].
	End End
	// Size is the least size of the body of [Huge], in bytes. The server never holds it
	// in memory. Default 0: 100 MiB.
	Size int
	// Finish replaces the reason to stop, with a word of the provider's (RECITATION,
	// MALFORMED_FUNCTION_CALL, pause_turn, ...). With [Refuse] it is Gemini's
	// promptFeedback.blockReason. In OpenAI's Responses it is
	// incomplete_details.reason, except "failed", which is a status and comes with an
	// error. Default "": the usual reason.
	Finish string
	// CachedTokens and ReasoningTokens are those of the answer's usage: how many of the
	// prompt's tokens were cached, at most all, and how many tokens of reasoning there
	// were in addition to the answer's. OpenAI's Responses then have a reasoning item
	// before the answer. Default 0.
	CachedTokens, ReasoningTokens int

	// Tool is the tool that the answer calls, of those that the request offers and leaves
	// to the model ("auto"): its name, or "any". With "none" it calls none. If tools have
	// been called for the question, the answer is a text all the same. A name that the
	// request does not offer is an error. Default "": half of the questions call a tool,
	// as the seed decides, unless the fault says what the answer is.
	Tool string

	// Status is the HTTP status of kind [Status], 200 to 599. Default 0: the usual one of
	// the error. A status below 400 (a stream that fails before its first event, a
	// gateway that always answers 200) needs Error, Code or Body. For [StreamError] it
	// selects the error, and is sent if the request is not for a stream; default 500 with
	// Body. For [Redirect] it is 301, 302, 303, 307 or 308; default 307.
	Status int
	// Error is what goes wrong, by a name that means the same for every provider
	// ("billing", "overloaded"); see [ErrorNames], and [Errors] for each provider's status.
	// Default "": the usual error of Status.
	Error string
	// Code selects an error by the provider's own code; see [Codes]. In another
	// provider's protocol it is the error that means the same there, with its status
	// there; a Status below 400 is kept. Default "": the usual error of Status.
	Code string
	// Body replaces the provider's error body. It may be empty. Default nil: the provider's.
	Body *string
	// Headers are added to the response of an error, or replace the server's. A name may
	// have several values; without any (nil, in a file []) the header is not sent. Default
	// nil: none.
	Headers http.Header
	// RetryAfter is the value of Retry-After, sent unchanged: "2", "1.5", "soon". Gemini
	// sends this wait and those of the next two fields as RetryInfo.retryDelay in the
	// body instead. Default "": not sent, except with rate limits, which say a wait: 1 s,
	// or minutes or hours for daily limits.
	RetryAfter string
	// RetryAfterDate is sent as Retry-After in the form of an HTTP date (RFC 9110,
	// section 10.2.3) this far from now, rounded up to whole seconds. It can't be
	// combined with RetryAfter. Default 0: not sent.
	RetryAfterDate time.Duration
	// RetryAfterMS is the value of retry-after-ms, the header of OpenAI and Azure in
	// milliseconds, sent unchanged. Default "": not sent.
	RetryAfterMS string
	// ResetAfter is the time until the limit resets, as the headers say it: a duration in
	// x-ratelimit-reset-requests or -tokens (OpenAI), a time in
	// anthropic-ratelimit-*-reset (RFC 3339, rounded up to whole seconds). Default 0: for
	// a rate limit, the wait of RetryAfter.
	ResetAfter time.Duration
}

// Plan gives each request for an answer, in any protocol, its [Fault]. It has Steps or
// Weights or neither, not both. The zero value answers all correctly. [ParsePlan] reads
// one from a file.
type Plan struct {
	// Seed determines the draws of Weights and the invented answers. [Config.Seed]
	// overrides it. Default 0.
	Seed uint64
	// Steps are the faults of the requests, in the order in which these arrive. After
	// the last step requests are answered correctly. Default nil: none.
	Steps []Fault
	// Repeat restarts with the first step after the last. Default false.
	Repeat bool
	// Weights are faults of which each request gets a random one. The draw depends only
	// on the seed and the request's number: the same seed and the same order of requests
	// give the same faults. Default nil: none.
	Weights []Fault
	// AnswerTime is how long each answer takes once the request is served: a whole answer
	// is sent at its end, the pieces of a stream are spread over it. It is ignored for
	// faults with a Delay or ChunkDelay, and for errors. Default 0.
	AnswerTime time.Duration
	// Limits are the provider's limits, which are checked before Steps and Weights.
	// Default nil: none.
	Limits *Limits
}

func (p *Plan) answerTime() time.Duration {
	if p == nil {
		return 0
	}
	return p.AnswerTime
}

// fault returns the fault of the nth request for an answer, counted from 0.
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

// drawn returns the fault at the fraction x, in [0, 1), of the sum of the weights.
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
	return weights[len(weights)-1].withDefaults() // x was rounded up to the sum
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

// errs reports whether the fault is an error, streamed or not.
func (f Fault) errs() bool {
	return f.Kind == Status || f.Kind == StreamError || f.Kind == Huge && (f.Status != 0 || f.Error != "" || f.Code != "")
}

// in returns the fault in a protocol, with the status that its error has there.
func (f Fault) in(provider face) Fault {
	if f.errs() {
		f.Status = errorOf(provider, f).status
	}
	return f
}

// answers reports whether a fault of this kind has an answer of the model.
func (k Kind) answers() bool { return !slices.Contains([]Kind{Status, Reset, Hang, Redirect}, k) }

// problem is an impossible field: what it got and must be, or what else is wrong with
// it.
type problem struct {
	field, got, takes, wrong string
}

// at returns the problem as the error of a file's field.
func (p problem) at(line int) *yamlfile.FieldError {
	return &yamlfile.FieldError{Line: line, Field: p.field, Got: p.got, Takes: p.takes, Wrong: p.wrong}
}

func impossible(field, got, takes string) *problem {
	return &problem{field: field, got: got, takes: takes}
}

// check returns what is wrong with the plan, and where: in field "steps" or "weights" at
// index i, in field "limits" (i is -1), or in the plan itself (field is "").
func (p *Plan) check() (field string, i int, wrong *problem) {
	switch {
	case len(p.Steps) > 0 && len(p.Weights) > 0:
		return "", 0, impossible("weights", "both", "unset if steps is set")
	case p.Repeat && len(p.Steps) == 0:
		return "", 0, impossible("repeat", "true", "false if steps is unset")
	case p.AnswerTime < 0:
		return "", 0, impossible("answer_time", p.AnswerTime.String(), takesTime)
	}
	if p.Limits != nil {
		if wrong := p.Limits.check(); wrong != nil {
			return "limits", -1, wrong
		}
	}
	for i, f := range p.Steps {
		if f.Weight != 0 {
			return "steps", i, impossible("weight", number(f.Weight), "unset in steps")
		}
		if wrong := f.check(); wrong != nil {
			return "steps", i, wrong
		}
	}
	var sum float64
	for i, f := range p.Weights {
		sum += f.Weight
		// The sum must be finite too, since a draw is a fraction of it.
		if !(f.Weight > 0) || math.IsInf(sum, 0) {
			return "weights", i, impossible("weight", number(f.Weight), "a number above 0 (the share of the requests that get this fault)")
		}
		if wrong := f.check(); wrong != nil {
			return "weights", i, wrong
		}
	}
	return "", 0, nil
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// check returns what is wrong with the fault. A field without effect is wrong too:
// whoever set it expects one.
func (f Fault) check() *problem {
	kind := f.Kind
	if kind == "" {
		kind = Right
	}
	if !slices.Contains(kinds, kind) {
		return impossible("kind", nearest.Shown(kind, kinds), "one of "+nearest.List(kind, kinds))
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"delay", f.Delay}, {"chunk_delay", f.ChunkDelay}, {"retry_after_date", f.RetryAfterDate}, {"reset_after", f.ResetAfter}} {
		if d.value < 0 {
			return impossible(d.field, d.value.String(), takesTime)
		}
	}
	for _, n := range []struct {
		field string
		value int
	}{{"size", f.Size}, {"cached_tokens", f.CachedTokens}, {"reasoning_tokens", f.ReasoningTokens}} {
		if n.value < 0 || n.value > maxCount {
			return impossible(n.field, strconv.Itoa(n.value), "a whole number from 0 to 1000000000000")
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
		{"tool", f.Tool != "", slices.DeleteFunc(slices.Clone(answering), func(k Kind) bool { return k == Empty || k == Refuse })},
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
			return impossible(u.field, "kind "+strconv.Quote(string(kind)), "unset unless kind is "+either(u.takes))
		}
	}
	if f.At != nil {
		if _, ok := schemagen.Tokens(*f.At); !ok {
			return impossible("at", strconv.Quote(*f.At), `a JSON pointer ("" or such as "/items/0/price")`)
		}
	}
	if f.After != nil && *f.After < 0 {
		return impossible("after", strconv.Itoa(*f.After), "a whole number of at least 0")
	}
	if ends := []End{Abrupt, Clean}; f.End != "" && !slices.Contains(ends, f.End) {
		return impossible("end", nearest.Shown(f.End, ends), either(ends))
	}
	if f.Finish != "" && !headerValue(f.Finish) {
		return impossible("finish", strconv.Quote(f.Finish), takesHeader)
	}
	if kind == Redirect && f.Status != 0 && !slices.Contains(redirects, f.Status) {
		return impossible("status", strconv.Itoa(f.Status), "301, 302, 303, 307 or 308 if kind is redirect")
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

const (
	takesTime   = "a time of at least 0"
	takesHeader = "a string without control characters"
)

// maxCount bounds sizes and counts.
const maxCount = 1_000_000_000_000

// redirects are the statuses that clients follow.
var redirects = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

// checkError returns what is wrong with the choice of an error.
func (f Fault) checkError() *problem {
	if f.Status == 0 && f.Error == "" && f.Code == "" && !(f.Kind == StreamError && f.Body != nil) {
		return impossible("status", "nothing", "an HTTP status from 200 to 599 unless error or code is set")
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return impossible("status", strconv.Itoa(f.Status), "an HTTP status from 200 to 599")
	}
	if f.Error != "" && !slices.Contains(ErrorNames(), f.Error) {
		return impossible("error", nearest.Shown(f.Error, ErrorNames()), "one of "+nearest.List(f.Error, ErrorNames()))
	}
	if f.Code != "" && !slices.Contains(Codes(), f.Code) {
		return impossible("code", nearest.Shown(f.Code, Codes()), "one of "+nearest.List(f.Code, Codes()))
	}
	if f.Error != "" && f.Code != "" {
		return impossible("code", "both", "unset if error is set")
	}
	if (f.Error != "" || f.Code != "") && f.Body != nil {
		return impossible("body", "both", "unset if error or code is set")
	}
	if f.Status != 0 && f.Status < 400 && f.Error == "" && f.Code == "" && f.Body == nil {
		return impossible("status", strconv.Itoa(f.Status), "at least 400 unless error, code or body is set")
	}
	return nil
}

// checkHeaders returns what is wrong with the fields that become headers.
func (f Fault) checkHeaders() *problem {
	if f.RetryAfter != "" && f.RetryAfterDate != 0 {
		return impossible("retry_after_date", "both", "unset if retry_after is set")
	}
	for _, h := range []struct{ field, value string }{{"retry_after", f.RetryAfter}, {"retry_after_ms", f.RetryAfterMS}} {
		if !headerValue(h.value) {
			return impossible(h.field, strconv.Quote(h.value), takesHeader)
		}
	}
	for name, values := range f.Headers {
		switch {
		case !headerName(name):
			return impossible("headers", "the name "+strconv.Quote(name), "names of letters, digits, hyphens and underscores")
		case slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Trailer"}, http.CanonicalHeaderKey(name)):
			return impossible("headers", strconv.Quote(name), "other than Content-Length, Transfer-Encoding and Trailer")
		case !slices.ContainsFunc(values, func(v string) bool { return !headerValue(v) }):
		default:
			return impossible("headers", "a control character in "+strconv.Quote(name), "without control characters")
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

// either returns "a, b or c".
func either[S ~string](names []S) string {
	last := len(names) - 1
	if last == 0 {
		return string(names[0])
	}
	return list(names[:last]) + " or " + string(names[last])
}

// list returns "a, b, c".
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
