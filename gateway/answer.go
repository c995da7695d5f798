package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/gateway/internal/clients"
	"llmcall/gateway/internal/front"
	"llmcall/internal/body"
	"llmcall/internal/protocol"
	"llmcall/internal/say"
	"llmcall/llm"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// The headers of a gateway's answers, and of requests for more.
const (
	headerAttempts = "X-Llmcall-Attempts"
	headerModel    = "X-Llmcall-Model"
	headerCost     = "X-Llmcall-Cost"
	headerTraceID  = "X-Llmcall-Trace-Id"
	headerWarnings = "X-Llmcall-Warnings"
	headerError    = "X-Llmcall-Error"
	headerPractice = "X-Llmcall-Practice"
	headerLimit    = "X-Llmcall-Limit"
	headerTrace    = "X-Llmcall-Trace" // of a request: any value but "" and "0" asks for the whole trace
)

// maxWarnings is the size of the largest header of warnings.
const maxWarnings = 2 << 10

// asked is a request of a client on its way.
type asked struct {
	g        *Gateway
	w        http.ResponseWriter
	r        *http.Request
	protocol protocol.Protocol
	ids      protocol.IDs
	traceID  string
	route    string
	client   *clients.Client // nil if none are configured
	stream   bool
	array    bool // a stream of Gemini's in the form of a JSON array
	body     *body.Body
	raw      []byte       // of the body, as the client sent it
	base     *llm.Request // of the call
	used     llm.Usage
	first    time.Time // when the first byte of an answer was sent
	status   int
	code     string         // of the error
	limit    string         // which limit of the client has refused it
	trace    *llmcall.Trace // of a call without an answer
}

// answer asks, and writes what the client gets. The error says why there is no answer,
// and was not written.
func (a *asked) answer(ctx context.Context, r *served) *refusal {
	base := a.base
	x := &exchange{body: a.body, raw: a.raw, header: a.r.Header, base: base, plain: r.plain}
	able, loss := r.able(x)
	if loss != nil && a.protocol.Name() == "anthropic" && gjson.GetBytes(a.raw, "thread.type").Str == "continue" {
		return notKept()
	}
	if loss != nil {
		return &refusal{status: http.StatusBadRequest, code: "not_translatable", param: loss.Field, final: true,
			message: loss.Field + " can't be sent to any model of this route: " + loss.Problem}
	}
	ctx = withExchange(ctx, x)
	client, err := r.client(a.g, a.client, r.turn(base), able)
	if err != nil {
		return a.why(ctx, err)
	}
	if a.stream {
		return a.streamed(ctx, client, r, x)
	}
	result, err := client.Do(ctx, base)
	if err != nil {
		return a.why(ctx, err)
	}
	a.whole(result, x)
	return nil
}

// whole writes an answer in one piece.
func (a *asked) whole(result *llmcall.Result, x *exchange) {
	a.used = result.Usage
	a.tell(a.w.Header(), &result.Trace, result.Model)
	var text []byte
	var lost []string
	if own := x.asItCame(result.Response); own != nil && !changed(result) {
		text = own.Answer
		maps.Copy(a.w.Header(), own.Told)
	} else {
		text, lost = front.Whole(a.protocol, final(result, x), a.options())
	}
	if a.wantsTrace() {
		text = withTrace(text, &result.Trace)
	}
	warn(a.w.Header(), lost)
	a.w.Header().Set("Content-Type", "application/json")
	a.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	a.status = http.StatusOK
	a.first = time.Now()
	a.w.WriteHeader(http.StatusOK)
	_, _ = a.w.Write(text) // a client that is gone hears nothing
}

// changed reports whether the valid answer is not the text that the model wrote: a check
// has taken JSON out of what was around it, or repaired it.
func changed(result *llmcall.Result) bool { return result.Text != result.Response.Text() }

// final returns the answer as it is valid, and with the reason to stop that its provider
// told.
func final(result *llmcall.Result, x *exchange) *llm.Response {
	resp := *result.Response
	resp.Finish = x.finishOf(result.Response)
	if resp.Model == "" {
		resp.Model = result.Model
	}
	if changed(result) {
		parts := []llm.Part{llm.Text(result.Text)}
		for _, p := range resp.Message.Parts {
			if _, text := p.(llm.Text); !text {
				parts = append(parts, p)
			}
		}
		resp.Message.Parts = parts
	}
	return &resp
}

// streamed writes an answer as a stream. An error that it returns was not written; one
// after the first byte is the stream's own.
func (a *asked) streamed(ctx context.Context, client *llmcall.Client, r *served, x *exchange) *refusal {
	stream := front.NewStream(a.protocol, a.options())
	out := newOutlet(a.w, a, stream, r.held(), func(trace *llmcall.Trace) {
		h := a.w.Header()
		a.tell(h, trace, "")
		h.Set("Content-Type", "text/event-stream")
		if a.array {
			h.Set("Content-Type", "application/json")
		}
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no") // nginx would collect the events
		if trace == nil {
			for _, name := range []string{headerAttempts, headerModel, headerCost, headerWarnings} {
				h.Add("Trailer", name)
			}
		}
	})
	defer out.stop()
	defer func() {
		v := recover()
		switch {
		case v != nil && out.started():
			why := a.g.panicked(v)
			a.code = why.code
			out.end(false, a.failure(stream, out, why), nil)
		case v != nil:
			panic(v)
		}
	}()
	x.out = out
	a.status = http.StatusOK
	for piece, err := range client.Stream(ctx, x.base) {
		switch {
		case err != nil:
			out.stop()
			refused := a.why(ctx, err)
			if !out.started() {
				return refused
			}
			a.code, a.limit = refused.code, refused.limit
			out.end(false, a.failure(stream, out, refused), nil)
		case piece.Result != nil:
			result := piece.Result
			a.used = result.Usage
			raw := out.passesRaw() && (out.content() || !changed(result))
			var text []byte
			if raw && a.array {
				text = []byte("\n]")
			}
			if !raw {
				if !out.content() {
					text = a.pieces(stream, final(result, x))
				}
				text = append(text, stream.End(final(result, x))...)
			}
			if a.wantsTrace() {
				text = a.traced(text, &result.Trace)
			}
			warn(a.w.Header(), stream.Lost())
			out.end(raw, text, &result.Trace)
			a.tell(a.w.Header(), &result.Trace, result.Model)
		case out.hold || out.passesRaw() || piece.Restart:
		case piece.Part != nil:
			out.piece(stream.Part(piece.Part))
		case piece.Text != "":
			out.piece(stream.Text(piece.Text))
		}
		if out.gone() != nil {
			a.code = "client_left"
			break
		}
	}
	a.first = out.first
	return nil
}

// why says why a call has no answer.
func (a *asked) why(ctx context.Context, err error) *refusal {
	if e, ok := errors.AsType[*llmcall.Error](err); ok {
		a.used, a.trace = e.Usage, &e.Trace
	}
	if errors.Is(context.Cause(ctx), errDraining) {
		return shuttingDown()
	}
	if a.client != nil {
		if refused := a.client.Refused(err); refused != nil {
			return limited(refused)
		}
	}
	return explain(err, exchangeOf(ctx))
}

// failure writes an error within a stream. It is the stream's last event.
func (a *asked) failure(stream *front.Stream, out *outlet, why *refusal) []byte {
	if n := out.sent(); n > 0 {
		stream.After(n)
	}
	return stream.Error(why.inProtocol(a.protocol))
}

// tokens returns how many a request has used; less than 0 if that is not known, because the
// client has left before the provider told.
func (a *asked) tokens() int64 {
	used := a.used.InputTokens + a.used.OutputTokens
	if used == 0 && a.r.Context().Err() != nil {
		return -1
	}
	return used
}

// pieces writes a whole answer as the pieces of a stream.
func (a *asked) pieces(stream *front.Stream, resp *llm.Response) []byte {
	var b bytes.Buffer
	for _, p := range resp.Message.Parts {
		if text, ok := p.(llm.Text); ok {
			b.Write(stream.Text(string(text)))
		} else {
			b.Write(stream.Part(p))
		}
	}
	return b.Bytes()
}

func (a *asked) options() front.Options {
	return front.Options{IncludeUsage: a.body.IncludeUsage, Model: a.body.Model, Query: a.r.URL.Query(), ID: a.ids, Now: time.Now(), Body: a.raw}
}

func (a *asked) wantsTrace() bool {
	v := a.r.Header.Get(headerTrace)
	return v != "" && v != "0"
}

// withTrace adds the trace to an answer. Clients ignore a field that they don't know.
func withTrace(text []byte, trace *llmcall.Trace) []byte {
	with, err := sjson.SetRawBytes(text, "llmcall", inJSON(trace))
	if err != nil {
		return text
	}
	return with
}

// inJSON writes a trace with the names that the command's documents have.
func inJSON(trace *llmcall.Trace) []byte {
	told := struct {
		Attempts []llmcall.Attempt `json:"attempts"`
		Usage    llm.Usage         `json:"usage"`
		Cost     *llmcall.Cost     `json:"cost,omitempty"` // in dollars; left out if a price is not known
	}{trace.Attempts, trace.Usage, nil}
	if trace.Cost.Known() {
		told.Cost = &trace.Cost
	}
	text, _ := json.Marshal(told) // it can be written
	return text
}

// traced adds the trace to the end of a stream.
func (a *asked) traced(end []byte, trace *llmcall.Trace) []byte {
	told := inJSON(trace)
	switch {
	case a.array:
		return slices.Concat(bytes.TrimSuffix(end, []byte("\n]")), []byte(",\n{\"llmcall\":"), told, []byte("}\n]"))
	case a.protocol.Name() == "gemini": // for Google's SDK for Go, a comment is an error
		return slices.Concat(end, []byte("data: {\"llmcall\":"), told, []byte("}\n\n"))
	}
	return slices.Concat(end, []byte(": llmcall "), told, []byte("\n\n"))
}

// tell sets the headers that tell the story of a call.
func (a *asked) tell(h http.Header, trace *llmcall.Trace, model string) {
	h.Set(headerTraceID, a.traceID)
	if a.g.options.Practice {
		h.Set(headerPractice, "true")
	}
	if trace == nil {
		return
	}
	h.Set(headerAttempts, strconv.Itoa(len(trace.Attempts)))
	if n := len(trace.Attempts); model == "" && n > 0 {
		model = trace.Attempts[n-1].Model
	}
	if model != "" {
		h.Set(headerModel, inHeader(model))
	}
	if cost := trace.Cost; cost.Known() {
		h.Set(headerCost, cost.Dollars())
	}
	var notes []string
	for _, t := range trace.Attempts {
		for _, n := range t.Notes {
			if !slices.Contains(notes, n) {
				notes = append(notes, n)
			}
		}
	}
	warn(h, notes)
}

// warn adds to the header of warnings.
func warn(h http.Header, notes []string) {
	if len(notes) > 0 {
		h.Add(headerWarnings, say.Short(inHeader(strings.Join(notes, "; ")), maxWarnings))
	}
}

// inHeader returns a text that a header can have: visible ASCII.
func inHeader(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// longAnswer is the most tokens of an answer that a request is expected to use: many
// clients set a limit of a hundred thousand for an answer of a hundred. What it has used is
// known afterwards.
const longAnswer = 1000

// estimate returns about how many tokens a request will use.
func estimate(req *llm.Request) int64 {
	expected := *req
	expected.MaxTokens = min(expected.MaxTokens, longAnswer)
	return endpoint.Wanted(&expected)
}
