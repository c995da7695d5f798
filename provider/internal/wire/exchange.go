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
	"llmcall/internal/asis"
	"llmcall/pace"
)

const (
	// MaxAnswer is the maximum size of an answer in bytes, streams included. A longer
	// one is an error.
	MaxAnswer = 64 << 20
	// MaxProblem is how many bytes of the body of an error are read; the rest is
	// left unread.
	MaxProblem = 1 << 20
	// problemTime is how long reading the body of an error may take. A failing
	// server may never send its end, and the status says the most.
	problemTime = 5 * time.Second
)

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", MaxAnswer>>20)

// Exchange is one request and its response, as they were before an SDK processed
// them: SDKs replace a body that is not JSON with their parser's error, and a
// response that arrived just before the context ended with the context's error.
type Exchange struct {
	Endpoint *Endpoint
	// Stream leaves the body of a success to the SDK, which reads it as it arrives.
	// Default false: the whole body is read into Body.
	Stream bool
	// Speaks is the protocol, [Chat] or another: an [asis.Exchange] in it gets the answer as
	// it came.
	Speaks string
	// Structured says that the answer is to be JSON.
	Structured bool
	// Explain returns the SDK's error for an error within a success. Default nil: none.
	Explain func(part []byte) error

	Sent     bool // the request was built and given to the HTTP client
	Whole    bool // a response arrived, with all of its body that is needed
	At       time.Time
	Status   int
	Body     []byte // of an error without the key: the SDK keeps it
	Request  *http.Request
	Response *http.Response

	own     *asis.Exchange // nil if nothing is handed on as it came
	problem []byte         // the body of an error as it came
	sound   bool           // Body is JSON
	clean   bool           // there is no error in Body
	failed  bool           // there was an error within the success
	whole   bool           // nobody sees the answer before its end
}

// Record sends the request by next and records the exchange. It is a middleware
// for the SDKs of OpenAI and Anthropic. For an SDK without middleware, the
// transport of its HTTP client calls it, with the method Do of the client that
// sends.
//
// What the header says about the provider's limits is reported to the call to
// which the request's context belongs: by [endpoint.Accepted] with an answer that
// has arrived whole, and by [endpoint.Told] with a stream or a refusal, whose
// outcome is reported later.
func (x *Exchange) Record(request *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	x.Sent, x.Whole = true, false
	response, err := next(request)
	if err != nil {
		return response, err
	}
	x.At, x.Status, x.Request, x.Response = time.Now(), response.StatusCode, request, response
	x.arrived()
	switch {
	case x.Status < 200:
		// Switching Protocols: the context would not end reading the body.
	case x.Succeeded() && x.Stream:
		endpoint.Told(request.Context(), x.told())
		x.Whole = true
		response.Body = &bounded{response.Body, MaxAnswer}
		return response, nil
	case x.Succeeded():
		err = x.readAnswer(request.Context())
	default:
		endpoint.Told(request.Context(), x.told())
		x.problem = readProblem(response.Body)
		x.Body = []byte(x.Endpoint.Hide(string(x.problem)))
		if x.own != nil {
			x.own.Problem = x.Body
		}
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

// readAnswer reads the body of a success. It is an answer only if it is whole and
// contains no error: a busy server may send the header and blank lines long before
// it knows the outcome (https://api-docs.deepseek.com/quick_start/rate_limit), and
// OpenRouter sends a failure of the server that it asked with a status of 200.
func (x *Exchange) readAnswer(ctx context.Context) (err error) {
	if x.Body, err = readAll(x.Response, MaxAnswer); err == nil && x.answered() {
		endpoint.Accepted(ctx, x.told())
	} else {
		endpoint.Told(ctx, x.told())
	}
	return err
}

// answered reports whether the body may be an answer, that is JSON without an
// error in it, or a stream.
func (x *Exchange) answered() bool {
	_, failed := classify.ReadError(x.reply(x.Body))
	x.sound, x.clean = json.Valid(x.Body), !failed
	return x.clean && (x.sound || isStream(x.Body))
}

// Decode reads a whole answer, as [json.Unmarshal] does. What is known to be JSON is not
// checked again.
func (x *Exchange) Decode(body []byte, answer json.Unmarshaler) error {
	if x.Sound(body) {
		return answer.UnmarshalJSON(bytes.TrimSpace(body))
	}
	return json.Unmarshal(body, answer)
}

// Sound reports whether a part of the answer is known to be JSON.
func (x *Exchange) Sound(part []byte) bool { return x.sound && x.isBody(part) }

// isBody reports whether a part of the answer is all of it.
func (x *Exchange) isBody(part []byte) bool {
	return len(part) == len(x.Body) && len(part) > 0 && &part[0] == &x.Body[0]
}

// Succeeded reports whether the status is from 200 to 299.
func (x *Exchange) Succeeded() bool { return x.Status >= 200 && x.Status <= 299 }

// readProblem returns the body of an error, or the part of it that arrived before
// it broke or reached the limit of time or size.
func readProblem(body io.ReadCloser) []byte {
	late := time.AfterFunc(problemTime, func() { body.Close() }) // ends a Read in progress
	defer late.Stop()
	problem, _ := io.ReadAll(io.LimitReader(body, MaxProblem))
	return problem
}

// bounded is a body that fails after a number of bytes, because its reader would
// keep an endless one in memory.
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

// readAll reads a body, in one piece of memory if its length is told and likely.
func readAll(response *http.Response, limit int64) ([]byte, error) {
	var text []byte
	var err error
	if told := response.ContentLength; told > 0 && told <= likelyAnswer {
		body := bytes.NewBuffer(make([]byte, 0, told+bytes.MinRead))
		_, err = body.ReadFrom(response.Body)
		text = body.Bytes()
	} else { // a buffer that doubles would take twice as much for a large one
		text, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	}
	if err == nil && int64(len(text)) > limit {
		err = errTooLong
	}
	return text, err
}

// likelyAnswer is how much memory is taken for an answer whose length is told, before it has
// come.
const likelyAnswer = 64 << 10

// StayHome returns a copy of c that follows a redirect only if the request keeps
// its method, scheme and host, and c's own CheckRedirect agrees; any other
// redirect is returned with its status. net/http would send the prompt to another
// host, with every key that is not in the header Authorization (X-Api-Key,
// X-Goog-Api-Key, Api-Key), and at a 301, 302 or 303 would turn a POST into a GET
// without a body.
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

// secretHeaders are the headers with keys and cookies, which an error must not
// keep.
var secretHeaders = []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization"}

// withoutSecrets returns the request as an error may keep it: without its body,
// which has the prompt, and without keys and cookies.
func withoutSecrets(request *http.Request) *http.Request {
	header := request.Header.Clone()
	for _, name := range secretHeaders {
		header.Del(name)
	}
	address := *request.URL
	address.User, address.RawQuery = nil, "" // may contain a key, for example with Gemini's API
	return &http.Request{
		Method: request.Method, URL: &address, Host: request.Host, Header: header,
		Proto: request.Proto, ProtoMajor: request.ProtoMajor, ProtoMinor: request.ProtoMinor,
	}
}

// elsewhere returns the target of a redirect that was not followed, without the
// parts of an address that may be secret; "" if it is unknown.
func (x *Exchange) elsewhere() string {
	to, err := x.Response.Location()
	if err != nil {
		return ""
	}
	to.User, to.RawQuery, to.Fragment = nil, "", ""
	return to.String()
}
