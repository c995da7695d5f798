package chaos

import (
	"cmp"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"
)

// statusReply sends the provider's error that a fault means.
func statusReply(req *request, f Fault, id ids, now time.Time) reply {
	return errorReply(req, errorOf(req.face, f), f, id, now)
}

// errorReply sends an error of the provider's, as a fault has it.
func errorReply(req *request, e apiError, f Fault, id ids, now time.Time) reply {
	e = e.worded(req.model, f)
	r := reply{delay: f.Delay, status: e.status, header: http.Header{}}
	if e.proxy {
		retryHeaders(r.header, e, f, now)
	} else {
		r.provider, r.account = req.face, req.account
		r.header = req.face.header(id, now)
		maps.Copy(r.header, e.header)
		req.face.waits(r.header, e, f, now)
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

// limitLeft returns the limit that an error says is used up, and for how long; ok
// is false if it says nothing of one.
func (e apiError) limitLeft(f Fault) (which string, left time.Duration, ok bool) {
	return cmp.Or(e.limited, requestLimit), cmp.Or(f.ResetAfter, e.wait), e.limited != "" || f.ResetAfter > 0
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
	body, _ := bodyOf(t.req.face, errorOf(t.req.face, f).worded(t.req.model, f), t.id)
	if f.Body != nil {
		body = []byte(*f.Body)
	}
	if line, ok := compact(body); ok {
		return t.req.face.errorEvents(line, n, t)
	}
	return [][]byte{body}
}

// refusalReply sends an error of the request's.
func refusalReply(face face, r *refusal, id ids, now time.Time) reply {
	e := plainError(face, r.httpStatus(), r)
	rp := jsonReply(e.status, face.header(id, now), face.errorBody(e, id))
	rp.provider = face
	return rp
}

func (r *refusal) httpStatus() int { return cmp.Or(r.status, http.StatusBadRequest) }

func jsonReply(status int, h http.Header, body []byte) reply {
	h.Set("Content-Type", "application/json")
	return reply{status: status, header: h, pieces: [][]byte{body}, send: 1}
}
