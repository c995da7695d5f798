package wire

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/tidwall/gjson"

	"llmcall/failure"
	"llmcall/internal/asis"
	"llmcall/llm"
)

// The protocols, as [Exchange.Speaks] and the adapters' method Protocol name them.
const (
	Chat      = "openai"
	Responses = "openai-responses"
	Messages  = "anthropic"
	Gemini    = "gemini"
)

// passed are the headers of a client that choose a form of its protocol.
var passed = map[string][]string{
	Chat:      {"Openai-Beta"},
	Responses: {"Openai-Beta"},
	Messages:  {"Anthropic-Beta", "Anthropic-Version"},
}

// Direct sends the body of an [asis.Exchange] to a model, without an SDK: what is sent is
// what the client wrote, and is not encoded again. What comes back is read as every answer.
type Direct struct {
	Endpoint *Endpoint
	Protocol string // Chat, …
	Client   *http.Client
	// Whole and Streamed are the addresses. Default of Streamed: Whole.
	Whole, Streamed *url.URL
	Sign            func(http.Header) // sets the key; a function, so that no %+v prints it
	Lacks           *Lacks            // remembers whether a stream may be asked for its usage
	// Clean returns the SDK's error for a refusal, as for [Exchange.Failed].
	Clean func(*Exchange, error) error
	// Explain is for [Exchange.Explain]. Default nil: nothing.
	Explain func(*Exchange) func(part []byte) error
}

// At returns the address of a method of the endpoint.
func (e *Endpoint) At(path ...string) *url.URL {
	base := *e.Base
	if base.Path == "" {
		base.Path = "/" // without it JoinPath returns a path without a slash, which can't be asked
	}
	return base.JoinPath(path...)
}

// Takes returns the exchange of a request if its body is to be sent to this model, or nil.
func (d *Direct) Takes(ctx context.Context) *asis.Exchange {
	if own := asis.From(ctx); own != nil && own.Body != nil && own.Protocol == d.Protocol {
		return own
	}
	return nil
}

// Complete sends the body and reads the answer. req is the request that the body is.
func (d *Direct) Complete(ctx context.Context, own *asis.Exchange, req *llm.Request, dialect Dialect) (*llm.Response, error) {
	x, err := d.send(ctx, own, req, false)
	if err != nil {
		return nil, err
	}
	return x.Answer(dialect)
}

// Stream sends the body and yields the answer as it arrives. req is the request that the body
// is.
func (d *Direct) Stream(ctx context.Context, own *asis.Exchange, req *llm.Request, dialect Dialect) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		x, err := d.send(ctx, own, req, true)
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		x.Relay(ctx, dialect, yield)
	}
}

// send sends the body, and sends it again without what was added to it if the server refuses
// that. Whatever else it refuses is the client's affair.
func (d *Direct) send(ctx context.Context, own *asis.Exchange, req *llm.Request, stream bool) (x *Exchange, err error) {
	own.Reset()
	steps := d.Lacks.For(nil)
	err = steps.Send(ctx, d.Endpoint, func() (Try, error) {
		change := asis.Change{
			Model: d.model(), Named: d.Protocol == Gemini, Streams: d.Protocol != Gemini, Stream: stream,
			Usage: d.Protocol == Chat && stream && !steps.Without(StreamUsage),
		}
		pieces, added, err := change.Apply(own.Body)
		if err != nil {
			return Try{}, err
		}
		var try Try
		if added {
			try.Asked = StreamUsage
		}
		try.Send = func() error {
			x = &Exchange{Endpoint: d.Endpoint, Speaks: d.Protocol, Stream: stream, Structured: req != nil && req.Schema != nil}
			if d.Explain != nil {
				x.Explain = d.Explain(x)
			}
			request := d.request(ctx, own, pieces, stream)
			own.Sent, own.Added = true, added
			response, err := x.Record(request, d.Client.Do)
			if err == nil && !x.Whole {
				response.Body.Close() // of a status below 200
			}
			return x.Failed(ctx, err, d.Clean)
		}
		return try, nil
	})
	return x, err
}

// model returns the model's name as the body has it.
func (d *Direct) model() []byte {
	name, _ := json.Marshal(d.Endpoint.Model) // can't fail for a string
	return name
}

// request returns the request with a body in pieces.
func (d *Direct) request(ctx context.Context, own *asis.Exchange, pieces [][]byte, stream bool) *http.Request {
	header := make(http.Header, 8)
	header["Content-Type"] = []string{"application/json"}
	header["User-Agent"] = []string{"llmcall"}
	address := d.Whole
	if stream {
		address = cmp.Or(d.Streamed, d.Whole)
		header["Accept"] = []string{"text/event-stream"}
	} else {
		header["Accept"] = []string{"application/json"}
	}
	if d.Protocol == Messages {
		header["Anthropic-Version"] = []string{"2023-06-01"}
	}
	for _, name := range passed[d.Protocol] {
		if values := own.Header.Values(name); len(values) > 0 {
			header[name] = values
		}
	}
	d.Sign(header)
	to := *address
	request := &http.Request{
		Method: http.MethodPost, URL: &to, Host: to.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		GetBody: func() (io.ReadCloser, error) { return bodyOf(pieces), nil },
	}
	for _, piece := range pieces {
		request.ContentLength += int64(len(piece))
	}
	request.Body, _ = request.GetBody() // can't fail
	return request.WithContext(ctx)
}

// joined is the size of the largest body that is copied into one piece.
const joined = 64 << 10

// bodyOf returns a reader of pieces. net/http sends a body that it knows to be in memory
// together with the header, and any other one after it: two packets, and two turns of the
// server.
func bodyOf(pieces [][]byte) io.ReadCloser {
	size := 0
	for _, piece := range pieces {
		size += len(piece)
	}
	if size <= joined {
		return io.NopCloser(bytes.NewReader(bytes.Join(pieces, nil)))
	}
	rest := net.Buffers(slices.Clone(pieces)) // reading shortens it
	return io.NopCloser(&rest)
}

// told are the headers of a response that are handed on: what its provider calls it.
var told = []string{"X-Request-Id", "Request-Id"}

// arrived reports a response to the exchange of the request.
func (x *Exchange) arrived() {
	if x.own = asis.From(x.Request.Context()); x.own == nil || x.own.Protocol != x.Speaks {
		x.own = nil
		return
	}
	x.own.Status, x.own.Told = x.Status, http.Header{}
	for _, name := range told {
		if value := x.Response.Header.Get(name); value != "" {
			x.own.Told.Set(name, x.Endpoint.Hide(value))
		}
	}
}

// handOn hands on the body of a whole answer, which was read with an error or without.
func (x *Exchange) handOn(err error) {
	if x.own != nil && x.usable(err) && bytes.HasPrefix(bytes.TrimSpace(x.Body), []byte("{")) {
		x.own.Answer = x.withoutKey(x.Body)
	}
}

// usable reports whether what was read with an error or without is an answer to its client: a
// refusal is one, in a form of the protocol, unless it is an error there too.
func (x *Exchange) usable(err error) bool {
	return err == nil || !x.failed && failure.KindOf(err) == failure.ContentFiltered
}

// handOnEvent hands on an event of a stream.
func (x *Exchange) handOnEvent(e Event) {
	if x.own == nil || x.own.Event == nil || x.own.Added && isUsage(e.Data) {
		return
	}
	x.own.Event(e.Type, x.withoutKey(e.Data))
}

// isUsage reports whether an event of a chat completion has the usage alone.
func isUsage(data []byte) bool {
	return bytes.Contains(data, []byte(`"usage"`)) && gjson.GetBytes(data, "choices.#").Int() == 0 && gjson.GetBytes(data, "usage").IsObject()
}

// withoutKey returns data without the key, should a server quote it.
func (x *Exchange) withoutKey(data []byte) []byte {
	text := string(data)
	if hidden := x.Endpoint.Hide(text); hidden != text {
		return []byte(hidden)
	}
	return data
}
