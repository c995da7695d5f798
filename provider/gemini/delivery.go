package gemini

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/genai"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// delivery is one request on its way through the SDK. The SDK builds the request
// and reads errors, but does not see the body of a success, because it reads it
// badly: it panics if a list is an object, rounds numbers, drops the
// finishMessage, ends a stream at a comment, and logs.
type delivery struct {
	wire.Exchange
	err error // of the HTTP client
}

type deliveryKey struct{}

// courier returns a client that passes the SDK's requests on to sender, which
// applies its own rules for redirects and time-outs.
func courier(sender *http.Client) *http.Client {
	return &http.Client{
		Transport: carrier{sender},
		// The sender has decided: it returns only redirects that it does not follow.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type carrier struct{ sender *http.Client }

func (c carrier) RoundTrip(request *http.Request) (*http.Response, error) {
	d := request.Context().Value(deliveryKey{}).(*delivery) // see send
	response, err := d.Record(request, c.sender.Do)
	if err != nil {
		d.err = err
		return nil, err
	}
	if d.Succeeded() {
		shown := *response
		shown.Body = http.NoBody
		response = &shown
	}
	return response, nil
}

// send sends a request, and sends it again without what the server refuses. It returns a
// request with a successful response, or an error.
func (m *Model) send(ctx context.Context, req *llm.Request, stream bool) (*delivery, error) {
	if ctx == nil {
		return nil, m.endpoint.BadRequest(errors.New("the context is nil"))
	}
	steps := m.lacks.alone.For(wire.SchemaOf(req))
	if hasTools(req) { // "Function calling with a response mime type: 'application/json' is unsupported"
		steps = m.lacks.withTools.For(wire.SchemaOf(req)).After(steps)
	}
	var d *delivery
	err := steps.Send(ctx, m.endpoint, func() (wire.Try, error) {
		body, err := m.body(req, steps)
		if err != nil {
			return wire.Try{}, err
		}
		return wire.Try{Asked: body.asked, Note: body.note, Send: func() (err error) {
			d, err = m.sendOnce(ctx, body.fields, stream, req.Schema != nil)
			return err
		}}, nil
	})
	return d, err
}

func (m *Model) sendOnce(ctx context.Context, fields map[string]any, stream, structured bool) (*delivery, error) {
	d := &delivery{Exchange: wire.Exchange{Endpoint: m.endpoint, Speaks: wire.Gemini, Stream: stream, Structured: structured}}
	d.Explain = explain(&d.Exchange)
	config := &genai.GenerateContentConfig{
		// The SDK's own conversion would sort the properties of a schema and round
		// large numbers.
		HTTPOptions:           &genai.HTTPOptions{ExtrasRequestProvider: func(map[string]any) map[string]any { return fields }},
		AutomaticContinuation: new(false),
	}
	ctx = context.WithValue(ctx, deliveryKey{}, d)
	var err error
	if stream {
		for _, err = range m.models.GenerateContentStream(ctx, m.endpoint.Model, nil, config) {
		}
	} else {
		_, err = m.models.GenerateContent(ctx, m.endpoint.Model, nil, config)
	}
	if d.err != nil {
		err = d.err // without the SDK's words
	}
	return d, d.Failed(ctx, err, apiError)
}

// apiError returns the SDK's error of a response, with the status, which the SDK
// loses if the body has an error without a code.
func apiError(x *wire.Exchange, err error) error {
	api, ok := errors.AsType[genai.APIError](err)
	if within, is := errors.AsType[genai.APIError](explain(x)(x.Body)); is && !ok { // a request without the SDK
		api = within
	}
	if api.Code == 0 {
		api.Code = x.Status
	}
	return api
}
