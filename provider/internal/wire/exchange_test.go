package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/pace"
)

// body is one that counts how often it is closed.
type body struct {
	io.Reader
	closed int
}

func (b *body) Close() error {
	b.closed++
	return nil
}

// recorded makes an exchange whose response has this status, header and body.
func recorded(t *testing.T, stream bool, status int, header http.Header, content io.ReadCloser) (*Exchange, *heard, *http.Response, error) {
	t.Helper()
	ctx, call := listening(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.com/v1/x", strings.NewReader("the prompt"))
	if err != nil {
		t.Fatal(err)
	}
	x := &Exchange{Endpoint: made(t), Stream: stream}
	response, err := x.Record(request, func(sent *http.Request) (*http.Response, error) {
		if sent != request {
			t.Error("another request was sent")
		}
		if !x.Sent || x.Whole {
			t.Errorf("before the response: Sent %v, Whole %v", x.Sent, x.Whole)
		}
		return &http.Response{StatusCode: status, Header: header, Body: content}, nil
	})
	return x, call, response, err
}

// What is told of the limits comes once, with an answer as accepted, else as
// told alone.
func TestRecord(t *testing.T) {
	limits := &pace.Told{Wait: 7 * time.Second, HasWait: true}
	broken := errors.New("broken")
	for _, step := range []struct {
		name           string
		stream         bool
		status         int
		body           io.Reader
		accepted, told bool
		kept           string // in Body, and to read for the SDK
		closed         bool
		err            error
	}{
		{"an answer", false, 200, strings.NewReader(`{"choices":[]}`), true, false, `{"choices":[]}`, true, nil},
		{"an answer, 201", false, 201, strings.NewReader(`{}`), true, false, `{}`, true, nil},
		{"an answer, 299", false, 299, strings.NewReader(`{}`), true, false, `{}`, true, nil},
		{"an answer after blank lines", false, 200, strings.NewReader("\n\n{}\n"), true, false, "\n\n{}\n", true, nil},
		{"no error in the answer", false, 200, strings.NewReader(`{"error":null}`), true, false, `{"error":null}`, true, nil},
		{"an error with status 200", false, 200, strings.NewReader(`{"error":{"code":502,"message":"m"}}`), false, true, `{"error":{"code":502,"message":"m"}}`, true, nil},
		{"a page with status 200", false, 200, strings.NewReader(`<html>`), false, true, `<html>`, true, nil},
		{"blank lines alone", false, 200, strings.NewReader("\n\n"), false, true, "\n\n", true, nil},
		{"an answer that breaks", false, 200, io.MultiReader(strings.NewReader(`{}`), brokenReader{broken}), false, true, "", true, broken},
		{"a stream", true, 200, strings.NewReader("data: {}"), false, true, "data: {}", false, nil},
		{"several answers to choose from", false, 300, strings.NewReader(`{}`), false, true, `{}`, true, nil},
		{"a refusal", false, 429, strings.NewReader(`{"error":"no"}`), false, true, `{"error":"no"}`, true, nil},
		{"a refusal of a stream", true, 503, strings.NewReader(`busy`), false, true, `busy`, true, nil},
		{"a refusal that breaks", false, 503, io.MultiReader(strings.NewReader(`bu`), brokenReader{broken}), false, true, `bu`, true, nil},
		{"a redirect", false, 307, strings.NewReader(`there`), false, true, `there`, true, nil},
		{"a refusal that quotes the key", false, 401, strings.NewReader(`bad: ` + secret), false, true, `bad: [key]`, true, nil},
		{"another protocol", false, 101, brokenReader{errors.New("is not to be read")}, false, false, "", true, nil},
	} {
		content := &body{Reader: step.body}
		x, call, response, err := recorded(t, step.stream, step.status, http.Header{"Retry-After": {"7"}}, content)
		if !errors.Is(err, step.err) || x.Whole != (step.err == nil) || x.Status != step.status || x.At.IsZero() || x.Request == nil {
			t.Errorf("%s: got %v, %+v", step.name, err, x)
		}
		if (len(call.accepted) == 1) != step.accepted || (len(call.told) == 1) != step.told || len(call.accepted)+len(call.told) > 1 {
			t.Errorf("%s: accepted %v, told %v", step.name, call.accepted, call.told)
		}
		for _, got := range append(call.accepted, call.told...) {
			if got == nil || got.Wait != limits.Wait || !got.HasWait {
				t.Errorf("%s: told %+v", step.name, got)
			}
		}
		if step.closed != (content.closed > 0) {
			t.Errorf("%s: closed %d times", step.name, content.closed)
		}
		if (response == nil) != (step.err != nil) {
			t.Errorf("%s: the response is %v", step.name, response)
		}
		if response == nil {
			continue
		}
		left, err := io.ReadAll(response.Body)
		if string(left) != step.kept || err != nil {
			t.Errorf("%s: the SDK reads %q, %v", step.name, left, err)
		}
		if !step.stream && string(x.Body) != step.kept {
			t.Errorf("%s: kept %q", step.name, x.Body)
		}
	}
}

// brokenReader is a body that breaks.
type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// An answer of a provider that says nothing of its limits is accepted all the
// same; of a refusal there is then nothing to tell.
func TestRecordWithoutLimits(t *testing.T) {
	_, call, _, _ := recorded(t, false, 200, http.Header{}, io.NopCloser(strings.NewReader("{}")))
	if len(call.accepted) != 1 || call.accepted[0] != nil || len(call.told) != 0 {
		t.Errorf("an answer: %+v", call)
	}
	_, call, _, _ = recorded(t, false, 500, http.Header{}, io.NopCloser(strings.NewReader("{}")))
	if len(call.accepted) != 0 || len(call.told) != 0 {
		t.Errorf("a refusal: %+v", call)
	}
}

func TestRecordOfARequestWithoutAResponse(t *testing.T) {
	refused := errors.New("refused")
	ctx, call := listening(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.com/v1/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	x := &Exchange{Endpoint: made(t), Whole: true} // of an earlier request
	response, err := x.Record(request, func(*http.Request) (*http.Response, error) { return nil, refused })
	if response != nil || err != refused || !x.Sent || x.Whole || len(call.accepted)+len(call.told) > 0 {
		t.Errorf("got %v, %v, %+v, %+v", response, err, x, call)
	}
}

// endless is a body without end, in spaces.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, spaces)
	e.read += n
	return n, nil
}

var spaces = bytes.Repeat([]byte(" "), 1<<20)

func TestBodiesAreBounded(t *testing.T) {
	long := func(n int64) io.Reader {
		return io.MultiReader(strings.NewReader("{}"), io.LimitReader(new(endless), n-2))
	}
	for limit, want := range map[int64]error{100: nil, 101: nil, 99: errTooLong, 0: errTooLong} {
		if got, err := readAll(&http.Response{Body: io.NopCloser(long(100)), ContentLength: 100}, limit); err != want || want == nil && len(got) != 100 {
			t.Errorf("100 bytes where %d are allowed: %d, %v", limit, len(got), err)
		}
	}
	if _, call, _, err := recorded(t, false, 200, nil, io.NopCloser(long(MaxAnswer+1))); !errors.Is(err, errTooLong) || len(call.accepted) > 0 {
		t.Errorf("too long an answer: %v", err)
	}
	_, _, response, err := recorded(t, true, 200, nil, io.NopCloser(new(endless)))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, response.Body); n != MaxAnswer || !errors.Is(err, errTooLong) {
		t.Errorf("an endless stream: %d bytes, %v", n, err)
	}
	source := new(endless)
	x, _, _, err := recorded(t, false, 500, nil, io.NopCloser(source))
	if err != nil || len(x.Body) != MaxProblem || source.read > 2*MaxProblem {
		t.Errorf("an endless error: %v, kept %d of %d bytes", err, len(x.Body), source.read)
	}
}

// The status tells the most: what of its body has not come after five seconds is
// not waited for. The limits are told before.
func TestBodiesOfErrorsThatStall(t *testing.T) {
	for _, step := range []struct {
		name   string
		serve  func(w *io.PipeWriter)
		took   time.Duration
		length int
	}{
		{"whole", func(w *io.PipeWriter) { io.WriteString(w, "busy"); w.Close() }, 0, 4},
		{"slow", func(w *io.PipeWriter) {
			io.WriteString(w, "bu")
			time.Sleep(4900 * time.Millisecond)
			io.WriteString(w, "sy")
			w.Close()
		}, 4900 * time.Millisecond, 4},
		{"nothing comes", func(w *io.PipeWriter) {}, 5 * time.Second, 0},
		{"a part comes", func(w *io.PipeWriter) { io.WriteString(w, "bus") }, 5 * time.Second, 3},
		{"it trickles", func(w *io.PipeWriter) {
			for {
				if _, err := io.WriteString(w, "b"); err != nil {
					return
				}
				time.Sleep(400 * time.Millisecond)
			}
		}, 5 * time.Second, 13},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			served := make(chan struct{})
			go func() {
				defer close(served)
				step.serve(w)
			}()
			start := time.Now()
			x, call, _, err := recorded(t, true, 503, http.Header{"Retry-After": {"7"}}, r)
			if took := time.Since(start); err != nil || !x.Whole || took != step.took || len(x.Body) != step.length || len(call.told) != 1 {
				t.Errorf("%s: %v after %v, %q", step.name, err, took, x.Body)
			}
			<-served
		})
	}
}

// A body that came in time is closed once, and nothing waits for it any more.
func TestBodiesOfErrorsAreClosedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := &body{Reader: strings.NewReader("busy")}
		if _, _, _, err := recorded(t, false, 503, nil, content); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if content.closed != 1 {
			t.Errorf("closed %d times", content.closed)
		}
	})
}

// net/http ends the read that is under way when a body is closed.
func TestABodyThatStallsOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				there.Read(make([]byte, 4096))
				io.WriteString(there, "HTTP/1.1 529 Overloaded\r\nContent-Length: 100\r\n\r\n{\"err")
				io.Copy(io.Discard, there)
			}()
			return here, nil
		}}
		defer transport.CloseIdleConnections()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://llm.internal/v1", nil)
		if err != nil {
			t.Fatal(err)
		}
		x, start := &Exchange{Endpoint: made(t)}, time.Now()
		_, err = x.Record(request, (&http.Client{Transport: transport}).Do)
		if took := time.Since(start); err != nil || took != 5*time.Second || x.Status != 529 || string(x.Body) != `{"err` || !x.Whole {
			t.Errorf("%v after %v, %d %q", err, took, x.Status, x.Body)
		}
	})
}

// A redirect is followed where the request stays what it is and where it is; any
// other is returned with its status.
func TestStayHome(t *testing.T) {
	var other *httptest.Server
	var bodies []string
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Api-Key")+" "+string(sent))
		switch r.URL.Path {
		case "/home":
			http.Redirect(w, r, "/answer", http.StatusTemporaryRedirect)
		case "/get":
			http.Redirect(w, r, "/answer", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL+"/answer", http.StatusTemporaryRedirect)
		case "/tls":
			http.Redirect(w, r, strings.Replace("http://"+r.Host, "http:", "https:", 1)+"/answer", http.StatusPermanentRedirect)
		case "/shout":
			http.Redirect(w, r, strings.Replace("http://"+r.Host, "localhost", "LOCALHOST", 1)+"/answer", http.StatusTemporaryRedirect)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusTemporaryRedirect)
		default:
			io.WriteString(w, "answer")
		}
	}))
	defer home.Close()
	other = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	defer other.Close()
	base := strings.Replace(home.URL, "127.0.0.1", "localhost", 1)
	const sent = " the-key the prompt"
	for _, step := range []struct {
		method, path string
		status       int
		want         []string
	}{
		{"POST", "/home", 200, []string{"POST /home" + sent, "POST /answer" + sent}},
		{"POST", "/shout", 200, []string{"POST /shout" + sent, "POST /answer" + sent}},
		{"POST", "/get", 302, []string{"POST /get" + sent}}, // net/http would GET it
		{"POST", "/away", 307, []string{"POST /away" + sent}},
		{"POST", "/tls", 308, []string{"POST /tls" + sent}},
		{"GET", "/get", 200, []string{"GET /get" + sent, "GET /answer the-key "}},
		{"GET", "/away", 307, []string{"GET /away" + sent}},
	} {
		bodies = nil
		client := home.Client()
		if got := ask(t, StayHome(client), step.method, base+step.path); got != step.status || strings.Join(bodies, "|") != strings.Join(step.want, "|") {
			t.Errorf("%s %s: got %d, the server %q", step.method, step.path, got, bodies)
		}
		if client.CheckRedirect != nil {
			t.Error("the given client was changed")
		}
	}
	bodies = nil
	if got := ask(t, StayHome(home.Client()), "POST", base+"/round"); got != 307 || len(bodies) != 10 {
		t.Errorf("round and round: got %d after %d requests", got, len(bodies))
	}
	strict := *home.Client()
	strict.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if got := ask(t, StayHome(&strict), "POST", base+"/home"); got != 307 {
		t.Errorf("the client's own rule: got %d", got)
	}
}

func ask(t *testing.T, client *http.Client, method, address string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader("the prompt"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", "the-key")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestClientStaysHome(t *testing.T) {
	given := &http.Client{Timeout: time.Minute}
	if c := Client(given); c == given || c.Timeout != time.Minute || c.CheckRedirect == nil {
		t.Errorf("got %+v", c)
	}
	shared := Client(nil)
	if shared.CheckRedirect == nil || shared.Transport != Client(nil).Transport {
		t.Errorf("got %+v", shared)
	}
	if transport, ok := shared.Transport.(*http.Transport); !ok || transport.ResponseHeaderTimeout != 10*time.Minute {
		t.Errorf("got %+v", shared.Transport)
	}
}

func TestRequestsAreKeptWithoutSecrets(t *testing.T) {
	headers := []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization"}
	for _, name := range headers {
		request := httptest.NewRequest(http.MethodPost, "https://me:"+secret+"@api.example.com/v1/x?key="+secret, strings.NewReader(secret))
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(secret)), nil }
		request.Header.Set(name, secret)
		request.Header.Set("X-Stainless-Lang", "go")
		kept := withoutSecrets(request)
		if kept.Body != nil || kept.GetBody != nil || kept.URL.String() != "https://api.example.com/v1/x" || kept.Method != http.MethodPost ||
			kept.Header.Get("X-Stainless-Lang") != "go" || len(kept.Header) != 1 || kept.Host != "api.example.com" {
			t.Errorf("%s: kept %+v", name, kept)
		}
		if request.Header.Get(name) != secret || request.URL.RawQuery == "" {
			t.Errorf("%s: the request itself was changed", name)
		}
		var written bytes.Buffer
		if err := kept.Write(&written); err != nil || strings.Contains(written.String(), secret) {
			t.Errorf("%s: %v, %s", name, err, &written)
		}
	}
}

func TestResponsesAreKeptWithoutSecrets(t *testing.T) {
	x, _, _, err := recorded(t, false, 401, http.Header{
		"X-Request-Id": {"req_1", secret}, "Set-Cookie": {"session=1"}, "Content-Length": {"9999"},
	}, io.NopCloser(strings.NewReader("bad: "+secret)))
	if err != nil {
		t.Fatal(err)
	}
	x.Request.Header.Set("Authorization", "Bearer "+secret)
	x.Response.ContentLength = 9999
	kept := x.KeptResponse()
	if got := kept.Header["X-Request-Id"]; len(got) != 2 || got[0] != "req_1" || got[1] != "[key]" {
		t.Errorf("headers %v", kept.Header)
	}
	if kept.Header.Get("Set-Cookie") != "" || kept.Request.Header.Get("Authorization") != "" || kept.Request.Body != nil {
		t.Errorf("kept %v, %v", kept.Header, kept.Request)
	}
	if left, err := io.ReadAll(kept.Body); string(left) != "bad: [key]" || err != nil || kept.ContentLength != int64(len(left)) {
		t.Errorf("body %q (%d), %v", left, kept.ContentLength, err)
	}
	if x.Response.Header["X-Request-Id"][1] != secret || x.RequestID("X-Request-Id") != "req_1" {
		t.Error("the response itself was changed")
	}
}

func TestWhereARedirectLeadsHasNoSecrets(t *testing.T) {
	for location, want := range map[string]string{
		"https://me:word@elsewhere.example.com/v2?token=1#here": "https://elsewhere.example.com/v2",
		"/v2":    "https://api.example.com/v2",
		"":       "",
		":::bad": "",
	} {
		x, _, _, err := recorded(t, false, 307, http.Header{"Location": {location}}, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		x.Response.Request = &http.Request{URL: &url.URL{Scheme: "https", Host: "api.example.com", Path: "/v1"}}
		if location == "" {
			x.Response.Header.Del("Location")
		}
		if got := x.elsewhere(); got != want {
			t.Errorf("%q: got %q, want %q", location, got, want)
		}
	}
}
