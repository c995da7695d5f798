package wire

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// MaxAnswer is how many bytes of a body are read that is an answer, streams
	// included. A longer one is an error.
	MaxAnswer = 64 << 20
	// MaxProblem is how many bytes are kept of a body that tells of an error; the
	// rest is left unread.
	MaxProblem = 1 << 20
)

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", MaxAnswer>>20)

// Exchange is one request with what came back, kept apart from what an SDK
// makes of it: SDKs replace a body that is no JSON by their parser's error, and
// a response that came just before the context ended by the context's.
type Exchange struct {
	Endpoint *Endpoint
	// Stream leaves the body of a success to the SDK, which reads it as it comes.
	// Default false: the body is read whole into Body.
	Stream bool

	Sent     bool // a request was built, and handed to the HTTP client
	Whole    bool // a response came, with all of its body that matters
	At       time.Time
	Status   int
	Body     []byte
	Request  *http.Request
	Response *http.Response
}

// Record sends the request by next. It is a middleware as the SDKs of OpenAI and
// Anthropic take it; for one that takes none, the transport of its HTTP client
// calls it, with the method Do of the client that sends.
func (x *Exchange) Record(request *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	x.Sent, x.Whole = true, false
	response, err := next(request)
	if err != nil {
		return response, err
	}
	x.At, x.Status, x.Request, x.Response = time.Now(), response.StatusCode, request, response
	switch {
	case x.Status < 200:
		// Switching Protocols: a body that no context ends.
	case x.Succeeded() && x.Stream:
		x.Whole = true
		response.Body = &bounded{response.Body, MaxAnswer}
		return response, nil
	case x.Succeeded():
		x.Body, err = readAll(response.Body, MaxAnswer)
	default:
		// What has come of the body, however it ends: the status tells the most.
		x.Body, _ = io.ReadAll(io.LimitReader(response.Body, MaxProblem))
		x.Body = []byte(x.Endpoint.Hide(string(x.Body)))
	}
	response.Body.Close()
	if err != nil {
		return nil, err
	}
	x.Whole = true
	response.Body = io.NopCloser(bytes.NewReader(x.Body))
	return response, nil
}

// Succeeded reports whether the status is that of a success.
func (x *Exchange) Succeeded() bool { return x.Status >= 200 && x.Status <= 299 }

// bounded is a body that fails behind so many bytes: a stream without end would
// be held in memory by whoever puts it together.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = errTooLong
	}
	return body, err
}

// StayHome returns a client like c that follows a redirect only if the request
// stays what it is, where it is. net/http itself would send the prompt, though
// not the key, to another host, and would turn a POST into a GET without a body
// at a 301, 302 or 303. What is not followed is returned with its status.
func StayHome(c *http.Client) *http.Client {
	home := *c
	home.CheckRedirect = func(request *http.Request, via []*http.Request) error {
		first := via[0]
		if len(via) >= 10 || request.Method != first.Method ||
			request.URL.Scheme != first.URL.Scheme || !strings.EqualFold(request.URL.Host, first.URL.Host) {
			return http.ErrUseLastResponse
		}
		if c.CheckRedirect != nil {
			return c.CheckRedirect(request, via)
		}
		return nil
	}
	return &home
}

// withoutSecrets returns the head of the request without what must not be kept
// in an error: the key, the cookies that net/http added, and the prompt.
func withoutSecrets(request *http.Request) *http.Request {
	header := request.Header.Clone()
	for _, name := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization"} {
		header.Del(name)
	}
	address := *request.URL
	address.RawQuery = "" // Gemini's key may stand in it
	return &http.Request{
		Method: request.Method, URL: &address, Host: request.Host, Header: header,
		Proto: request.Proto, ProtoMajor: request.ProtoMajor, ProtoMinor: request.ProtoMinor,
	}
}

// elsewhere returns where a redirect that was not followed leads, without the
// parts of an address that may be secret; "" if it doesn't say.
func (x *Exchange) elsewhere() string {
	to, err := x.Response.Location()
	if err != nil {
		return ""
	}
	to.User, to.RawQuery, to.Fragment = nil, "", ""
	return to.String()
}
