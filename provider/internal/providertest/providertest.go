// Package providertest is the contract of the adapters: what each of them does,
// whatever its provider's protocol. An [Adapter] describes an adapter and the
// texts that its provider sends; the adapter's tests pass it to [Run].
//
// What only one protocol has, such as the blocks of Anthropic's streams, is tested
// in that adapter's package. If one adapter tolerates a fault of a server, all
// should, so the test of a new tolerance belongs here.
package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall/failure"
	"llmcall/llm"
)

// Key is an API key that is recognized wherever it leaks.
const Key = "sk-RECOGNISABLE-0123456789"

// prompt is a request whose text is recognized wherever it leaks.
var prompt = llm.Prompt("the prompt")

// Adapter is an adapter under test, and what its provider sends.
type Adapter struct {
	Provider string // the provider in errors and full names: "openai-responses"
	Model    string // the model, as the provider calls it
	// New makes a model. If the constructor returned an error, New returns it, and
	// as the model what the constructor returned with it; see [Opened].
	New func(model string, opts Options) (llm.Streamer, error)
	// Prefix is the start of the errors of New. Default: Provider.
	Prefix string

	KeyVariable, BaseURLVariable string
	// Foreign are variables that only the SDK would read, with values that are
	// recognized if it does.
	Foreign map[string]string
	// ForeignHeaders are the headers that Foreign would set.
	ForeignHeaders []string

	Base          string // the path of a base URL: "/v1"
	Path          string // the path of a request without a stream, including Base
	Authorization string // the header with the key
	Scheme        string // the text before the key in that header: "Bearer "
	RequestID     string // the header with the request's ID in a response

	Hello  string       // a whole answer to a greeting
	Answer llm.Response // the meaning of Hello, without the request's ID
	// Begin, Text and End return the events of a stream, each with its empty line:
	// those before the first piece of text, those of one piece, and those after the
	// last.
	Begin, End string
	Text       func(piece string) string

	Refusals  []Refusal  // responses with other statuses
	Failures  []Failure  // bodies with a status of 200 that are not answers
	Interrupt []Failure  // events, with their empty line, that interrupt a stream
	Requests  []Rejected // requests that this protocol can't express, besides those that none can
	// RewritesSchemas says that the schema of an answer is not sent as it is.
	RewritesSchemas bool
	NoStop          bool   // the API has no stop sequences
	InvalidUTF8     string // the body of a request with texts that are not valid UTF-8
	Loose           Loose

	// SDK returns the content of the SDK's error within err; ok is false if there is
	// none.
	SDK func(err error) (told SDKError, ok bool)
}

// Options are the options that all adapters have.
type Options struct {
	APIKey, BaseURL, Name string
	HTTPClient            *http.Client
}

// Refusal is a response that is not a success, and the error that it becomes. It
// is an alias, like [Failure] and [Rejected], because go vet requires the fields of
// another package's struct to be named, and tables read better without.
type Refusal = struct {
	Status  int
	Body    string
	Headers []string // alternating names and values
	Want    failure.Error
}

// Failure is a text that is not an answer, in a response with the status of a
// success, and the error that it becomes.
type Failure = struct {
	Text    string
	Kind    failure.Kind
	Code    string
	Message string // "" is not compared
}

// Rejected is a request that is not sent, and a part of its error.
type Rejected = struct {
	Want    string
	Request *llm.Request
}

// SDKError is the content of an SDK's error.
type SDKError struct {
	Status            int
	Request, Response string // as the SDK dumps them; "" if it does not keep them
	Printed           string // everything else that can be printed
}

// Opened converts the results of an adapter's constructor for [Adapter.New]: it
// turns a nil pointer into a nil [llm.Streamer].
func Opened[M interface {
	comparable
	llm.Streamer
}](m M, err error) (llm.Streamer, error) {
	if m == *new(M) {
		return nil, err
	}
	return m, err
}

// Run tests an adapter against the contract.
func Run(t *testing.T, a Adapter) {
	if a.Prefix == "" {
		a.Prefix = a.Provider
	}
	for _, clause := range []struct {
		name  string
		holds func(*testing.T, Adapter)
	}{
		{"the zero options read the environment", zeroOptionsReadTheEnvironment},
		{"options outrank the environment", optionsOutrankTheEnvironment},
		{"a key is not needed in a private network", keyIsNotNeededInPrivate},
		{"a model of another server has its name", nameOfAnotherServer},
		{"a printed model hides the key", printedModelHidesTheKey},
		{"New names what is wrong", newNamesWhatIsWrong},

		{"what the protocol can't express is not sent", whatCannotBeExpressedIsNotSent},
		{"a prompt of ten megabytes arrives whole", promptOfTenMegabytes},
		{"schemas keep their order and their numbers", schemasKeepTheirOrder},
		{"invalid UTF-8 is replaced", invalidUTF8IsReplaced},
		{"documents and recordings are sent or refused", mediaAreSentOrRefused},
		{"data URIs are what they hold", dataURIsAreWhatTheyHold},
		{"photos are sent upright", photosAreUpright},

		{"an answer", wholeAnswer},
		{"an answer needs no content type", answerNeedsNoContentType},
		{"every status is classified, and tried once", everyStatusIsClassified},
		{"Retry-After as a date counts from the response", retryAfterDate},
		{"a success without an answer is a failure", successWithoutAnAnswer},
		{"broken connections are transient, and tried once", brokenConnections},
		{"a status counts though its body is cut", statusCountsThoughBodyIsCut},
		{"a status counts though the context ends in its body", statusCountsThoughContextEnds},
		{"switching protocols does not hang", switchingProtocolsDoesNotHang},
		{"a refused connection is transient", refusedConnectionIsTransient},
		{"a context that ends ends the call", contextEndsTheCall},
		{"a context that ends after the answer loses nothing", contextEndsAfterTheAnswer},
		{"time limits of the client are not the caller's deadline", clientTimeouts},
		{"errors of the client's own", clientErrors},
		{"an untrusted certificate is not worth another attempt", untrustedCertificate},
		{"no context is an error", noContextIsAnError},
		{"an answer without end is an error", answerWithoutEnd},
		{"an error body without end is cut", errorBodyWithoutEnd},
		{"many calls at once", manyCallsAtOnce},

		{"tolerances", tolerances},

		{"redirects to other hosts are not followed", redirectsElsewhere},
		{"redirects at home are followed with the prompt", redirectsAtHome},
		{"redirects at home obey the client's own rule", redirectsObeyTheClient},
		{"redirects without end end", redirectsWithoutEnd},

		{"a stream", stream},
		{"a stream comes as it is sent", streamComesAsItIsSent},
		{"what is not an event is skipped", whatIsNotAnEventIsSkipped},
		{"a stream without an end was cut off", streamCutOff},
		{"a stream that breaks is transient", streamThatBreaks},
		{"a stream without events is transient", streamWithoutEvents},
		{"errors in a stream go by their code", errorsInAStream},
		{"a server that does not stream is understood", serverThatDoesNotStream},
		{"leaving the loop ends the request", leavingTheLoop},
		{"a context that ends ends the stream", contextEndsTheStream},
		{"a context that ends with the header ends the stream", contextEndsWithTheHeader},
		{"a time limit of the client ends the stream", clientTimeoutInAStream},
		{"a stream without end is an error", streamWithoutEnd},
	} {
		t.Run(clause.name, func(t *testing.T) { clause.holds(t, a) })
	}
}

// Server starts a provider that answers with handle.
func Server(t testing.TB, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

// model makes a model of a server.
func (a Adapter) model(t *testing.T, s *httptest.Server, change func(*Options)) llm.Streamer {
	t.Helper()
	opts := Options{APIKey: Key, BaseURL: s.URL + a.Base, HTTPClient: s.Client()}
	if change != nil {
		change(&opts)
	}
	m, err := a.New(a.Model, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// answeredBy makes a model of a server that answers with handle.
func (a Adapter) answeredBy(t *testing.T, handle http.HandlerFunc) llm.Streamer {
	t.Helper()
	return a.model(t, Server(t, handle), nil)
}

// withClient makes a model that sends its requests by a client.
func (a Adapter) withClient(t *testing.T, client *http.Client) llm.Streamer {
	t.Helper()
	return a.model(t, Server(t, nil), func(o *Options) { o.HTTPClient = client })
}

// Reply answers with a status, a body and headers.
func Reply(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// reply is [Reply] with the request's ID.
func (a Adapter) reply(status int, body string, headers ...string) http.HandlerFunc {
	return Reply(status, body, append([]string{a.RequestID, "req_1"}, headers...)...)
}

// Hijack lets handle write the response to the connection.
func Hijack(t testing.TB, handle func(*net.TCPConn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		handle(conn.(*net.TCPConn))
		conn.Close()
	}
}

// RoundTrip is a function that implements [http.RoundTripper].
type RoundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f RoundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Echo is a server that keeps the last request.
type Echo struct {
	*httptest.Server
	Handle  http.HandlerFunc // answers the requests
	Header  http.Header
	Address string // path and query
	Body    []byte // nil without a request
}

// NewEcho starts an [Echo] that answers with handle.
func NewEcho(t testing.TB, handle http.HandlerFunc) *Echo {
	e := &Echo{Handle: handle}
	e.Server = Server(t, func(w http.ResponseWriter, r *http.Request) {
		e.Body, _ = io.ReadAll(r.Body)
		e.Header, e.Address = r.Header, r.URL.String()
		e.Handle(w, r)
	})
	return e
}

// Sent makes a call, which must succeed, and returns the body that the server
// received.
func (e *Echo) Sent(t testing.TB, m llm.Model, request *llm.Request) string {
	t.Helper()
	if _, err := m.Complete(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	return string(e.Body)
}

// Same reports whether two JSON texts have the same value.
func Same(t testing.TB, a, b string) bool {
	t.Helper()
	var left, right any
	if err := json.Unmarshal([]byte(a), &left); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal([]byte(b), &right); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return reflect.DeepEqual(left, right)
}

// Streamed makes a call by Stream, and returns the joined chunks, those before an
// error included. It checks that the stream follows the rules of [llm.Streamer].
func Streamed(t testing.TB, ctx context.Context, m llm.Streamer, request *llm.Request) (*llm.Response, error) {
	t.Helper()
	var a llm.Assembly
	var failed error
	finished := false
	for chunk, err := range m.Stream(ctx, request) {
		switch {
		case failed != nil:
			t.Errorf("after the error came %+v, %v", chunk, err)
		case finished:
			t.Errorf("after the reason to stop came %+v, %v", chunk, err)
		case err != nil && !reflect.DeepEqual(chunk, llm.Chunk{}):
			t.Errorf("with the error came %+v", chunk)
		}
		failed, finished = err, chunk.Finish != llm.FinishNone
		a.Add(chunk)
	}
	return a.Response(), failed
}

// failed makes a call that must fail, whole and streamed, and checks that both
// errors say the same and do not leak. It returns the error of the whole call.
func (a Adapter) failed(t *testing.T, m llm.Streamer, ctx context.Context) *failure.Error {
	t.Helper()
	e, s := a.failedWhole(t, m, ctx), a.failedStream(t, m, ctx)
	if s.Kind != e.Kind || s.Status != e.Status || s.Code != e.Code || s.Status != 0 && s.Message != e.Message || s.RequestID != e.RequestID ||
		s.Told != e.Told || s.RetryAfter.Round(time.Minute) != e.RetryAfter.Round(time.Minute) || s.NoRetry != e.NoRetry {
		t.Errorf("streamed: %#v\nwhole:    %#v", s, e)
	}
	return e
}

func (a Adapter) failedWhole(t *testing.T, m llm.Model, ctx context.Context) *failure.Error {
	t.Helper()
	response, err := m.Complete(ctx, prompt)
	if response != nil && (len(response.Message.Parts) > 0 || response.Finish != llm.FinishNone || response.Usage == (llm.Usage{})) {
		t.Errorf("with the error came %+v", response)
	}
	return a.checked(t, err)
}

func (a Adapter) failedStream(t *testing.T, m llm.Streamer, ctx context.Context) *failure.Error {
	t.Helper()
	response, err := Streamed(t, ctx, m, prompt)
	if response.Finish != llm.FinishNone {
		t.Errorf("a stream that fails has the finish %q", response.Finish)
	}
	return a.checked(t, err)
}

// checked returns the *failure.Error that err must be, and checks that it does not
// leak.
func (a Adapter) checked(t *testing.T, err error) *failure.Error {
	t.Helper()
	e, ok := errors.AsType[*failure.Error](err)
	if !ok {
		t.Fatalf("got %v (%T)", err, err)
	}
	if e.Provider != a.Provider || e.Model != a.Provider+"/"+a.Model {
		t.Errorf("the error says that it is from %q, %q", e.Provider, e.Model)
	}
	SecretFree(t, err)
	if told, ok := a.SDK(err); ok {
		MustHide(t, "the SDK's error", told.Printed+told.Request+told.Response)
	}
	return e
}

// SecretFree checks that err does not leak, however it is printed.
func SecretFree(t testing.TB, err error) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%s", "%q", "%#v", "%x"} {
		MustHide(t, verb, fmt.Sprintf(verb, err))
		MustHide(t, "wrapped "+verb, fmt.Sprintf(verb, fmt.Errorf("call: %w", err)))
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		MustHide(t, fmt.Sprintf("%T", inner), fmt.Sprintf("%v %+v %#v", inner, inner, inner))
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", err)
	slog.New(slog.NewTextHandler(&log, nil)).Error("failed", "err", err)
	MustHide(t, "slog", log.String())
}

// MustHide fails the test if text contains the key or "the prompt".
func MustHide(t testing.TB, where, text string) {
	t.Helper()
	for _, secret := range []string{Key, fmt.Sprintf("%x", Key), "the prompt"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s: shows %q: %s", where, secret, text)
		}
	}
}
