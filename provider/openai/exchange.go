package openai

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	maxAnswer  = 64 << 20 // bytes of a body that is an answer; a longer one is an error
	maxProblem = 1 << 20  // bytes of a body that tells of an error; the rest is left unread
)

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)

// exchange is one request with what came back, kept apart from what the SDK
// makes of it: the SDK replaces a body that is no JSON by its parser's error,
// and a response that came just before the context ended by the context's.
type exchange struct {
	hide     func(string) string // of the model
	sent     bool                // the SDK could build the request
	whole    bool                // a response came, with all of its body that matters
	at       time.Time
	status   int
	body     []byte
	request  *http.Request
	response *http.Response
}

// record is an SDK middleware.
func (x *exchange) record(request *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	x.sent = true
	response, err := next(request)
	if err != nil {
		return response, err
	}
	x.at, x.status, x.request, x.response = time.Now(), response.StatusCode, request, response
	switch {
	case x.status < 200:
		// Switching Protocols: a body that no context ends.
	case x.status <= 299:
		x.body, err = readAll(response.Body, maxAnswer)
	default:
		// What has come of the body, however it ends: the status tells the most.
		x.body, _ = io.ReadAll(io.LimitReader(response.Body, maxProblem))
		x.body = []byte(x.hide(string(x.body)))
	}
	response.Body.Close()
	if err != nil {
		return nil, err
	}
	x.whole = true
	response.Body = io.NopCloser(bytes.NewReader(x.body))
	return response, nil
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = errTooLong
	}
	return body, err
}

// stayHome returns a client like c that follows a redirect only if the request
// stays what it is, where it is. net/http itself would send the prompt, though
// not the key, to another host, and would turn a POST into a GET without a body
// at a 301, 302 or 303. What is not followed is returned with its status.
func stayHome(c *http.Client) *http.Client {
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
	for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
		header.Del(name)
	}
	return &http.Request{
		Method: request.Method, URL: request.URL, Host: request.Host, Header: header,
		Proto: request.Proto, ProtoMajor: request.ProtoMajor, ProtoMinor: request.ProtoMinor,
	}
}

// elsewhere returns where a redirect that was not followed leads, without the
// parts of an address that may be secret; "" if it doesn't say.
func (x *exchange) elsewhere() string {
	to, err := x.response.Location()
	if err != nil {
		return ""
	}
	to.User, to.RawQuery, to.Fragment = nil, "", ""
	return to.String()
}
