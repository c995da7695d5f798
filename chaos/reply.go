package chaos

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// reply is all that is done with one request, decided before the first byte of
// it is done.
type reply struct {
	delay time.Duration // before all else
	reset bool
	hang  bool

	status int
	header http.Header
	pieces [][]byte      // of the body
	send   int           // how many of the pieces are sent
	pause  time.Duration // between two of them
	abrupt bool          // the connection is closed behind them

	fillAt, fill int // so many bytes are written at a place of the first piece
}

// ids makes the identifiers of a reply. n makes them unique, seed the same
// again.
type ids struct {
	seed uint64
	n    int
}

func (i ids) id(prefix string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	r := rand.New(rand.NewPCG(i.seed, uint64(i.n)))
	var b strings.Builder
	b.WriteString(prefix)
	for range 18 {
		b.WriteByte(digits[r.IntN(len(digits))])
	}
	return b.String() + fmt.Sprintf("%06d", i.n)
}

// answerReply sends an answer, streamed or whole.
func answerReply(t *turn, f Fault) reply {
	r := reply{delay: f.Delay, pause: f.ChunkDelay, status: http.StatusOK, header: t.req.face.header(t.id, t.now)}
	if t.req.stream {
		r.streamed(t, f)
	} else {
		r.whole(t, f)
	}
	return r
}

const eventStream = "text/event-stream; charset=utf-8"

func (r *reply) streamed(t *turn, f Fault) {
	r.header.Set("Content-Type", eventStream)
	r.header.Set("Cache-Control", "no-cache")
	events := t.req.face.events(t)
	last := slices.IndexFunc(events, func(e event) bool { return e.last })
	if last < 0 {
		last = len(events)
	}
	for _, e := range events {
		r.pieces = append(r.pieces, e.data)
	}
	r.send = len(r.pieces)
	half := halfContent(events[:last])
	if f.After != nil {
		half = min(*f.After, last)
	}
	switch f.Kind {
	case Unfinished:
		r.send = last
	case Cut:
		r.send, r.abrupt = half, f.End != Clean
	case StreamError:
		r.pieces = append(r.pieces[:half], errorEvents(t, f, half)...)
		r.send = len(r.pieces)
	case Comments:
		r.pieces = interleaved(r.pieces, skipped)
		r.send = len(r.pieces)
	case Garbage:
		r.pieces = slices.Insert(r.pieces, half, garbage...)
		r.send = len(r.pieces)
	case Huge:
		r.pad(f.Size)
	}
}

// halfContent is the number of events with which half of the content has come.
func halfContent(events []event) int {
	var at []int
	for i, e := range events {
		if e.content {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return len(events)
	}
	return at[(len(at)-1)/2] + 1
}

func (r *reply) whole(t *turn, f Fault) {
	body := t.req.face.whole(t)
	switch f.Kind {
	case Comments:
		body = append([]byte("\n         \n\n"), body...) // as OpenRouter sends while it waits
	case Garbage:
		body = append(slices.Concat(garbage...), body...)
	}
	length := len(body)
	if f.Kind == Cut {
		body = body[:length/2]
		if r.abrupt = f.End != Clean; !r.abrupt {
			length = len(body)
		}
	}
	r.header.Set("Content-Type", "application/json")
	r.header.Set("Content-Length", strconv.Itoa(length))
	r.pieces = [][]byte{body}
	if f.ChunkDelay > 0 {
		r.pieces = split(body, max(1, len(body)/10))
	}
	r.send = len(r.pieces)
	if f.Kind == Huge {
		r.pad(f.Size)
	}
}

// skipped are the lines that a reader of events must skip
// (html.spec.whatwg.org/multipage/server-sent-events.html), and that
// OpenRouter sends.
var skipped = [][]byte{[]byte(": OPENROUTER PROCESSING\n\n"), []byte(":\n\n"), []byte("retry: 3000\nunknown: field\n\n"), []byte("\n\n")}

// garbage is neither JSON nor an event.
var garbage = [][]byte{[]byte("\x00\xff}{ no event, no field, no JSON\n\n"), []byte("data: {\"half an ev\n\n")}

// interleaved puts pieces between those of a stream, each in its turn.
func interleaved(pieces, between [][]byte) [][]byte {
	var out [][]byte
	for i, piece := range pieces {
		out = append(out, between[i%len(between)], piece)
	}
	return out
}

// The member that makes a body huge: the rest of its JSON stays as it is.
const padBegin, padEnd = `"padding":"`, `",`

// pad makes the reply so large, inside of its first JSON object if it has one.
func (r *reply) pad(size int) {
	if len(r.pieces) == 0 {
		return
	}
	first := r.pieces[0]
	r.fillAt, r.fill = len(first), size
	if i := bytes.IndexByte(first, '{'); i >= 0 {
		r.pieces[0] = slices.Concat(first[:i+1], []byte(padBegin+padEnd), first[i+1:])
		r.fillAt = i + 1 + len(padBegin)
	}
	if r.header.Get("Content-Length") != "" {
		length := size
		for _, piece := range r.pieces {
			length += len(piece)
		}
		r.header.Set("Content-Length", strconv.Itoa(length))
	}
}

// redirectPath is where a Redirect leads to, and where that leads to.
const redirectPath = "/redirect"

// redirectReply sends the client to redirectPath.
func redirectReply(status int, delay time.Duration) reply {
	return reply{delay: delay, status: status, header: http.Header{"Location": {redirectPath}, "Content-Length": {"0"}}}
}

// chunkRunes is the size of a piece of a stream; a model's tokens are about
// half as long.
const chunkRunes = 8

func chunks(text string) []string {
	var parts []string
	for text != "" {
		part := firstRunes(text, chunkRunes)
		parts, text = append(parts, part), text[len(part):]
	}
	return parts
}

func split(body []byte, size int) [][]byte {
	var pieces [][]byte
	for len(body) > size {
		pieces, body = append(pieces, body[:size]), body[size:]
	}
	return append(pieces, body)
}

// statusReply sends an error of the provider's.
func statusReply(req *request, f Fault, id ids, now time.Time) reply {
	e := errorOf(req.face, f).worded(req.model, f)
	r := reply{delay: f.Delay, status: e.status, header: http.Header{}}
	if !e.proxy {
		r.header = req.face.header(id, now)
	}
	for name, values := range e.header {
		r.header[name] = values
	}
	if e.limited != "" || f.ResetAfter > 0 {
		req.face.limit(r.header, cmp.Or(e.limited, requestLimit), cmp.Or(f.ResetAfter, e.wait), now)
	}
	if req.face != (geminiFace{}) { // whose waits are in the body
		retryHeaders(r.header, e, f, now)
	}
	body, mediaType := bodyOf(req.face, e, id)
	if f.Body != nil {
		body, mediaType = []byte(*f.Body), typeOfBody(*f.Body)
	}
	r.pieces, r.send = [][]byte{body}, 1
	if line, ok := compact(body); req.stream && e.status == http.StatusOK && f.Body == nil && ok {
		// A stream that fails when it has begun can no longer change its status.
		mediaType = eventStream
		r.pieces = req.face.errorEvents(line, 0, &turn{req: req, id: id, now: now})
		r.send = len(r.pieces)
	}
	r.header.Set("Content-Type", mediaType)
	if f.Kind == Huge {
		r.pad(f.Size)
	}
	for name, values := range f.Headers {
		r.header[http.CanonicalHeaderKey(name)] = values
	}
	return r
}

// retryHeaders say when to come back.
func retryHeaders(h http.Header, e apiError, f Fault, now time.Time) {
	if e.retry && e.told == "" {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.wait.Seconds()))))
	}
	if f.RetryAfterMS != "" {
		h.Set("Retry-After-Ms", f.RetryAfterMS)
	}
	if f.RetryAfterDate > 0 {
		h.Set("Retry-After", httpDate(now.Add(f.RetryAfterDate)))
	}
	if f.RetryAfter != "" {
		h.Set("Retry-After", f.RetryAfter)
	}
}

// errorEvents is the error of a stream that has sent n events.
func errorEvents(t *turn, f Fault, n int) [][]byte {
	if f.Body != nil {
		return [][]byte{data([]byte(*f.Body))}
	}
	body, _ := bodyOf(t.req.face, errorOf(t.req.face, f).worded(t.req.model, f), t.id)
	if line, ok := compact(body); ok {
		return t.req.face.errorEvents(line, n, t)
	}
	return [][]byte{body}
}

// refusalReply sends an error of the request's.
func refusalReply(face face, r *refusal, id ids, now time.Time) reply {
	e := plainError(face, r.httpStatus(), r)
	return jsonReply(e.status, face.header(id, now), face.errorBody(e, id))
}

func (r *refusal) httpStatus() int { return cmp.Or(r.status, http.StatusBadRequest) }

func jsonReply(status int, h http.Header, body []byte) reply {
	h.Set("Content-Type", "application/json")
	return reply{status: status, header: h, pieces: [][]byte{body}, send: 1}
}

// httpDate writes a time for Retry-After, rounded up: rounded down it would
// bring clients back too early.
func httpDate(t time.Time) string {
	return roundedUp(t).Format(http.TimeFormat)
}

func roundedUp(t time.Time) time.Time { return t.Add(time.Second - 1).UTC().Truncate(time.Second) }

func typeOfBody(body string) string {
	switch {
	case json.Valid([]byte(body)):
		return "application/json"
	case strings.HasPrefix(strings.TrimSpace(body), "<"):
		return "text/html"
	case utf8.ValidString(body):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func marshal(v any) []byte {
	text, err := encode(v)
	if err != nil {
		panic(err) // what is given here always marshals
	}
	return []byte(text)
}
