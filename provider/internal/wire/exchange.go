package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/pace"
)

const (
	// MaxAnswer is how many bytes of a body are read that is an answer, streams
	// included. A longer one is an error.
	MaxAnswer = 64 << 20
	// MaxProblem is how many bytes are kept of a body that tells of an error; the
	// rest is left unread.
	MaxProblem = 1 << 20
	// problemTime is how long such a body is waited for. Servers that fail send a
	// status, and may never send its body's end; the status tells the most.
	problemTime = 5 * time.Second
)

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", MaxAnswer>>20)

// Exchange is one request and its response, kept apart from what an SDK turns
// them into: SDKs replace a body that is not JSON by their parser's error, and
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
//
// What the header says of the provider's limits goes to the call that the
// request's context belongs to: by [endpoint.Accepted] with an answer, which
// has come whole, and by [endpoint.Told] with a stream or a refusal, of which
// there is more to come.
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
		endpoint.Told(request.Context(), x.told())
		x.Whole = true
		response.Body = &bounded{response.Body, MaxAnswer}
		return response, nil
	case x.Succeeded():
		err = x.readAnswer(request.Context())
	default:
		endpoint.Told(request.Context(), x.told())
		x.Body = []byte(x.Endpoint.Hide(string(readProblem(response.Body))))
	}
	response.Body.Close()
	if err != nil {
		return nil, err
	}
	x.Whole = true
	response.Body = io.NopCloser(bytes.NewReader(x.Body))
	return response, nil
}

func (x *Exchange) told() *pace.Told {
	return classify.Told(x.Endpoint.Protocol, x.Response.Header, x.At)
}

// readAnswer reads the body of a success. That is an answer only when it is
// whole and holds no error: a server that is busy may send the header, and blank
// lines, long before it knows what follows
// (https://api-docs.deepseek.com/quick_start/rate_limit), and OpenRouter sends
// the failure of the server it asks with a status of 200.
func (x *Exchange) readAnswer(ctx context.Context) (err error) {
	if x.Body, err = readAll(x.Response.Body, MaxAnswer); err == nil && x.answered() {
		endpoint.Accepted(ctx, x.told())
	} else {
		endpoint.Told(ctx, x.told())
	}
	return err
}

// answered reports whether the body may be an answer: JSON without an error in
// it.
func (x *Exchange) answered() bool {
	_, failed := classify.ReadError(x.reply(x.Body))
	return !failed && json.Valid(x.Body)
}

// Succeeded reports whether the status is that of a success.
func (x *Exchange) Succeeded() bool { return x.Status >= 200 && x.Status <= 299 }

// readProblem returns what has come of a body that tells of an error, when it
// ends, however it ends, or when its time or its bytes are used up.
func readProblem(body io.ReadCloser) []byte {
	late := time.AfterFunc(problemTime, func() { body.Close() }) // which ends the Read that is under way
	defer late.Stop()
	problem, _ := io.ReadAll(io.LimitReader(body, MaxProblem))
	return problem
}

// bounded is a body that fails after so many bytes: a stream without end would
// be held in memory by its reader.
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
// stays what it is, where it is. net/http itself would send the prompt to another
// host, and every key that is not in the header Authorization with it (X-Api-Key,
// X-Goog-Api-Key, Api-Key), and would turn a POST into a GET without a body at a
// 301, 302 or 303. What is not followed is returned with its status. c itself is
// not changed; its own CheckRedirect is asked about what would be followed.
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

// secretHeaders are the headers of a request that must not be kept in an error:
// the key, the cookies that net/http added.
var secretHeaders = []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization"}

// withoutSecrets returns the head of the request without what must not be kept
// in an error: the key, the cookies that net/http added, and the prompt.
func withoutSecrets(request *http.Request) *http.Request {
	header := request.Header.Clone()
	for _, name := range secretHeaders {
		header.Del(name)
	}
	address := *request.URL
	address.User, address.RawQuery = nil, "" // where a key may be, of Gemini's API for one
	return &http.Request{
		Method: request.Method, URL: &address, Host: request.Host, Header: header,
		Proto: request.Proto, ProtoMajor: request.ProtoMajor, ProtoMinor: request.ProtoMinor,
	}
}

// elsewhere returns where a redirect that was not followed leads, without the
// parts of an address that may be secret; "" if that is unknown.
func (x *Exchange) elsewhere() string {
	to, err := x.Response.Location()
	if err != nil {
		return ""
	}
	to.User, to.RawQuery, to.Fragment = nil, "", ""
	return to.String()
}
