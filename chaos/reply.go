package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"llmcall/chaos/internal/schemagen"
	"llmcall/internal/limiter"
	"llmcall/internal/protocol"
)

// reply is everything that is done with one request, decided before the first byte is
// sent.
type reply struct {
	delay time.Duration // before everything else
	reset bool
	hang  bool
	gone  bool // the client went away, or the server closes

	// build makes the reply, after the delay, if it takes much memory; nil if this is it.
	build func() reply

	status int
	header http.Header
	pieces [][]byte      // of the body
	send   int           // how many of the pieces are sent
	pause  time.Duration // between two of them
	abrupt bool          // the connection is closed after them

	fillAt, fill int // fill bytes are inserted at an offset of the first piece

	provider face             // whose headers have the limits; nil if the reply is not from a provider
	account  *limiter.Account // whose limits are in the headers
	ending   ending           // if everything is sent
}

// ids makes the identifiers of a reply. n makes them unique, seed reproducible.
func ids(seed uint64, n int) protocol.IDs {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return func(prefix string) string {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		var b strings.Builder
		b.WriteString(prefix)
		for range 18 {
			b.WriteByte(digits[r.IntN(len(digits))])
		}
		return b.String() + fmt.Sprintf("%06d", n)
	}
}

// streamReply streams an answer, which takes the given time if the fault has no delays of
// its own.
func streamReply(req *request, t *protocol.Turn, f Fault, takes time.Duration) reply {
	r := newReply(req, f, t.ID)
	r.streamed(req.face, t, f)
	r.last(f, takes)
	return r
}

// wholeReply sends the body of an answer, likewise.
func wholeReply(req *request, body []byte, f Fault, id protocol.IDs, takes time.Duration) reply {
	r := newReply(req, f, id)
	r.whole(body, f)
	r.last(f, takes)
	return r
}

func newReply(req *request, f Fault, id protocol.IDs) reply {
	r := reply{delay: f.Delay, pause: f.ChunkDelay, status: http.StatusOK, header: req.face.Header(id), provider: req.face, account: req.account}
	if f.Kind != Cut && f.Kind != StreamError {
		r.ending = answered
	}
	return r
}

// last spreads the pieces of the answer over the time that it takes.
func (r *reply) last(f Fault, takes time.Duration) {
	if f.Delay == 0 && f.ChunkDelay == 0 {
		// A whole answer is one piece.
		r.pause = takes / time.Duration(max(1, len(r.pieces)))
		r.delay = r.pause
	}
}

const eventStream = "text/event-stream; charset=utf-8"

func (r *reply) streamed(provider face, t *protocol.Turn, f Fault) {
	r.header.Set("Content-Type", eventStream)
	r.header.Set("Cache-Control", "no-cache")
	events := provider.Events(t)
	last := slices.IndexFunc(events, func(e protocol.Event) bool { return e.Last })
	if last < 0 {
		last = len(events)
	}
	for _, e := range events {
		r.pieces = append(r.pieces, e.Data)
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
		r.pieces = append(r.pieces[:half], errorEvents(provider, t, f, half)...)
		r.send = len(r.pieces)
	case Comments:
		r.pieces = interleaved(r.pieces, skipped)
		r.send = len(r.pieces)
	case Garbage:
		r.pieces = slices.Insert(r.pieces, half, garbage, halfAnEvent(r.pieces[half]))
		r.send = len(r.pieces)
	case Huge:
		r.pad(f.Size)
	}
}

// halfContent is the number of events that have half of the content.
func halfContent(events []protocol.Event) int {
	var at []int
	for i, e := range events {
		if e.Content {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return len(events)
	}
	return at[(len(at)-1)/2] + 1
}

func (r *reply) whole(body []byte, f Fault) {
	switch f.Kind {
	case Comments:
		body = append([]byte("\n         \n\n"), body...) // as OpenRouter sends while it waits
	case Garbage:
		body = slices.Concat(garbage, body)
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

// redirectPath is the path that a [Redirect] leads to, and that redirects to itself.
const redirectPath = "/redirect"

// redirectReply sends the client to redirectPath.
func redirectReply(status int, delay time.Duration) reply {
	return reply{delay: delay, status: status, header: http.Header{"Location": {redirectPath}, "Content-Length": {"0"}}}
}

func split(body []byte, size int) [][]byte {
	var pieces [][]byte
	for len(body) > size {
		pieces, body = append(pieces, body[:size]), body[size:]
	}
	return append(pieces, body)
}

// httpDate returns a time for Retry-After, rounded up so that clients don't retry too
// early.
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
	text, err := schemagen.Encode(v)
	if err != nil {
		panic(err) // what is given here always marshals
	}
	return []byte(text)
}
