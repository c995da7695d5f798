package chaos

import (
	"cmp"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"

	"llmcall/internal/protocol"
)

// statusReply sends the error of a fault.
func statusReply(req *request, f Fault, id protocol.IDs, now time.Time) reply {
	return errorReply(req, errorOf(req.face, f), f, id, now)
}

// errorReply sends an error of the provider, with the fault's headers and body.
func errorReply(req *request, e apiError, f Fault, id protocol.IDs, now time.Time) reply {
	e = e.worded(req.Model, f)
	r := reply{delay: f.Delay, status: e.status, header: http.Header{}}
	if e.proxy {
		retryHeaders(r.header, e, f, now)
	} else {
		r.provider, r.account = req.face, req.account
		r.header = req.face.Header(id)
		maps.Copy(r.header, e.header)
		req.face.waits(r.header, e, f, now)
	}
	body, mediaType := bodyOf(req.face, e, id)
	if f.Body != nil {
		body, mediaType = []byte(*f.Body), typeOfBody(*f.Body)
	}
	r.pieces, r.send = [][]byte{body}, 1
	if line, ok := protocol.Compact(body); req.Stream && e.status == http.StatusOK && f.Body == nil && ok {
		// A stream that has begun can't change its status any more.
		mediaType = eventStream
		r.pieces = req.face.ErrorEvents(line, 0, &protocol.Turn{Request: req.Request, ID: id, Now: now})
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

// limitLeft returns the limit that an error says is used up, and for how long; ok is false
// if the error is not about a limit.
func (e apiError) limitLeft(f Fault) (which string, left time.Duration, ok bool) {
	return cmp.Or(e.limited, requestLimit), cmp.Or(f.ResetAfter, e.wait), e.limited != "" || f.ResetAfter > 0
}

// retryHeaders sets the headers that say when to retry.
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

// errorEvents returns the error of a stream that has sent n events.
func errorEvents(provider face, t *protocol.Turn, f Fault, n int) [][]byte {
	body, _ := bodyOf(provider, errorOf(provider, f).worded(t.Request.Model, f), t.ID)
	if f.Body != nil {
		body = []byte(*f.Body)
	}
	if line, ok := protocol.Compact(body); ok {
		return provider.ErrorEvents(line, n, t)
	}
	return [][]byte{body}
}

// refusalReply sends the error of a wrong request.
func refusalReply(provider face, r *protocol.Error, id protocol.IDs) reply {
	told := *r
	told.Status = r.HTTPStatus()
	told.Kind = provider.Kind(told.Status)
	rp := jsonReply(told.Status, provider.Header(id), provider.ErrorBody(&told, id))
	rp.provider = provider
	return rp
}

func jsonReply(status int, h http.Header, body []byte) reply {
	h.Set("Content-Type", "application/json")
	return reply{status: status, header: h, pieces: [][]byte{body}, send: 1}
}
