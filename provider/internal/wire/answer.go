package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"llmcall/failure"
	"llmcall/llm"
)

// Dialect reads the answers of a protocol. Servers send an answer in either form,
// whatever was asked for: [Exchange.Answer] and [Exchange.Relay] find out which.
type Dialect interface {
	// Whole reads a whole answer. With an error it may return a response with the
	// usage, as [llm.Model] says.
	Whole(x *Exchange, body []byte) (*llm.Response, error)
	// Reader returns a reader of a stream.
	Reader(x *Exchange) Reader
}

// Reader converts the events of one stream to chunks.
type Reader interface {
	// Read reads an event, which is neither [DONE] nor an error. The chunks count even
	// with an error. An error, or done, ends the stream.
	Read(data []byte) (chunks []llm.Chunk, done bool, err error)
	// Ended reports whether the answer has its reason to stop, so that [DONE] ends the
	// stream.
	Ended() bool
	// End returns what is known only after the last event. It is not called after an
	// error.
	End() ([]llm.Chunk, error)
}

// Answer returns the answer in x.Body. With an error the response is nil, or has
// the usage and no content.
func (x *Exchange) Answer(d Dialect) (*llm.Response, error) {
	if isStream(x.Body) {
		return x.assemble(d, func(r *relay) { r.stream(context.Background(), bytes.NewReader(x.Body)) })
	}
	if parts := x.parts(); parts != nil {
		return x.assemble(d, func(r *relay) { r.parts(parts) })
	}
	answer, err := d.Whole(x, x.Body)
	x.handOn(err)
	if err != nil {
		return answer, err
	}
	return x.withoutThoughts(answer), nil
}

// parts returns the events in the body, if that is of several JSON values.
func (x *Exchange) parts() [][]byte {
	if x.sound && bytes.HasPrefix(x.Body, []byte("{")) {
		return nil
	}
	return partsOf(x.Body)
}

// partsOf returns the events in a body of several JSON values: Gemini's streams come
// as a list of them if its server is not asked for events, and others have one in
// each line. It returns nil for any other body.
func partsOf(body []byte) [][]byte {
	body = bytes.TrimSpace(body)
	var values []json.RawMessage
	switch {
	case bytes.HasPrefix(body, []byte("[")):
		if json.Unmarshal(body, &values) != nil {
			return nil
		}
	case bytes.HasPrefix(body, []byte("{")) && !json.Valid(body):
		for decoder := json.NewDecoder(bytes.NewReader(body)); ; {
			var value json.RawMessage
			if err := decoder.Decode(&value); err == io.EOF {
				break
			} else if err != nil {
				return nil
			}
			values = append(values, value)
		}
	}
	var parts [][]byte
	for _, value := range values {
		if !bytes.HasPrefix(value, []byte("{")) {
			return nil
		}
		parts = append(parts, value)
	}
	return parts
}

// isStream reports whether a body begins like a stream of events.
func isStream(body []byte) bool {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	for _, field := range []string{"data:", "event:", "id:", "retry:", ":"} {
		if bytes.HasPrefix(body, []byte(field)) {
			return true
		}
	}
	// Text that is not an event may come first.
	return len(body) > 0 && !bytes.ContainsAny(body[:1], "{[<\"") && bytes.Contains(body, []byte("\ndata:"))
}

// assemble returns the answer in the events that read passes to a relay.
func (x *Exchange) assemble(d Dialect, read func(*relay)) (*llm.Response, error) {
	var answer llm.Assembly
	var failed error
	x.whole = true
	read(x.relay(d, func(chunk llm.Chunk, err error) bool {
		answer.Add(chunk)
		failed = err
		return err == nil
	}))
	response := answer.Response()
	if failed == nil && response.Finish == llm.FinishNone && len(response.Message.Parts) == 0 {
		failed = x.Garbled(errors.New("the answer is a stream without an answer in it"))
	}
	if failed != nil {
		return Billed(response), failed
	}
	return response, nil
}

// Billed returns what a response beside an error may have; nil if its usage is not
// known.
func Billed(answer *llm.Response) *llm.Response {
	if answer == nil || answer.Usage == (llm.Usage{}) {
		return nil
	}
	return &llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant}, Usage: answer.Usage, Model: answer.Model, RequestID: answer.RequestID,
	}
}

// Relay yields the answer to a request for a stream, as it arrives, and closes the body
// of the response. The SDK may have dropped the response, if the context ended just after
// it arrived.
func (x *Exchange) Relay(ctx context.Context, d Dialect, yield func(llm.Chunk, error) bool) {
	defer x.Response.Body.Close()
	r := x.relay(d, yield)
	if ctx.Err() != nil { // it ended after the header arrived
		r.pass(nil, x.Broken(ctx, ctx.Err()))
		return
	}
	body, onePiece := inOnePiece(x.Response.Body, x.Response.Header)
	if !onePiece {
		r.stream(ctx, body)
		return
	}
	var err error
	if x.Body, err = io.ReadAll(body); err != nil {
		r.pass(nil, x.Broken(ctx, err))
		return
	}
	if parts := partsOf(x.Body); parts != nil {
		r.parts(parts)
		return
	}
	answer, err := d.Whole(x, x.Body)
	x.handOn(err)
	if err == nil {
		answer = x.withoutThoughts(answer)
	}
	yieldAll(Pieces(answer), err, yield)
}

// Pieces returns the chunks of a whole answer.
func Pieces(answer *llm.Response) []llm.Chunk {
	if answer == nil {
		return nil
	}
	chunks := []llm.Chunk{{Model: answer.Model, RequestID: answer.RequestID, Usage: &answer.Usage}}
	text := false
	for _, part := range answer.Message.Parts {
		t, ok := part.(llm.Text)
		switch {
		case ok && text:
			chunks = append(chunks, llm.Chunk{Text: "\n" + string(t)}) // as Message.Text joins them
		case ok:
			chunks = append(chunks, llm.Chunk{Text: string(t)})
		default:
			chunks = append(chunks, llm.Chunk{Part: part})
		}
		text = ok
	}
	if answer.Finish != llm.FinishNone {
		chunks = append(chunks, llm.Chunk{Finish: answer.Finish})
	}
	return chunks
}

// relay passes chunks on, without the model's thoughts in the text.
type relay struct {
	x        *Exchange
	reader   Reader
	thoughts thoughts
	yield    func(llm.Chunk, error) bool
	grew     bool   // there is something of an answer
	first    []byte // the first event, until then
	last     *Event // the event that ended the stream, until it is known whether there is an answer
}

func (x *Exchange) relay(d Dialect, yield func(llm.Chunk, error) bool) *relay {
	return &relay{x: x, reader: d.Reader(x), thoughts: thoughts{x: x}, yield: yield}
}

// pass yields chunks, and then the error if there is one. It reports whether to go
// on.
func (r *relay) pass(chunks []llm.Chunk, err error) bool {
	var out []llm.Chunk
	for _, chunk := range chunks {
		more, late := r.thoughts.pass(chunk)
		out = append(out, more...)
		if late != nil {
			return yieldAll(out, late, r.yield)
		}
	}
	if err != nil {
		out = append(out, r.thoughts.end(llm.FinishNone)...)
	}
	return yieldAll(out, err, r.yield)
}

// yieldAll yields the chunks, then the error if there is one, and reports whether
// to go on.
func yieldAll(chunks []llm.Chunk, err error, yield func(llm.Chunk, error) bool) bool {
	for _, chunk := range chunks {
		if !yield(chunk, nil) {
			return false
		}
	}
	if err != nil {
		yield(llm.Chunk{}, err)
	}
	return err == nil
}

// end yields what is known only after the last event.
func (r *relay) end() {
	chunks, err := r.reader.End()
	if err == nil && !r.grew && !r.reader.Ended() && hasWords(r.first) {
		err = r.x.Empty(r.first, errors.New("the stream has no answer"))
	}
	if r.last != nil && r.x.usable(err) {
		r.x.handOnEvent(*r.last)
	}
	if !r.pass(chunks, err) {
		return
	}
	yieldAll(r.thoughts.end(llm.FinishNone), nil, r.yield)
}

// parts reads events that came in one piece.
func (r *relay) parts(parts [][]byte) {
	for _, part := range parts {
		done, goOn := r.event(Event{Data: part})
		if !goOn {
			return
		}
		if done {
			break
		}
	}
	r.end()
}

// stream reads events as they arrive.
func (r *relay) stream(ctx context.Context, body io.Reader) {
	any := false
	for e, err := range events(body) {
		if ctx.Err() != nil || err != nil { // the reader may have more events in its buffer
			r.pass(nil, r.x.Broken(ctx, err))
			return
		}
		any = any || !e.Stray
		done, goOn := r.event(e)
		if !goOn {
			return
		}
		if done {
			break
		}
	}
	if !any {
		r.pass(nil, r.x.Withheld(failure.Transient, "", "the answer is a stream without any event"))
		return
	}
	r.end()
}

// event reads an event. done ends the stream; goOn is false after an error, or when
// the caller has left.
func (r *relay) event(e Event) (done, goOn bool) {
	if string(e.Data) == doneMark && e.Type != "error" {
		if done = r.reader.Ended(); done {
			r.last = &e
		}
		return done, true
	}
	if err := r.x.Problem(e); err != nil {
		return true, r.pass(nil, err)
	}
	if e.Stray {
		return false, true
	}
	chunks, done, err := r.reader.Read(e.Data)
	if done && err == nil {
		r.last = &e
	} else if r.x.usable(err) {
		r.x.handOnEvent(e)
	}
	if r.grew = r.grew || slices.ContainsFunc(chunks, llm.Chunk.Grows); r.grew {
		r.first = nil
	} else if r.first == nil {
		r.first = slices.Clone(e.Data)
	}
	return done, r.pass(chunks, err)
}

// Problem returns the error that an event reports, or nil.
func (x *Exchange) Problem(e Event) error {
	if e.Stray || bytes.Contains(e.Data, []byte(`"error`)) { // so that most events are parsed only once
		if err := x.ErrorWithin(e.Data); err != nil {
			return err
		}
	}
	if e.Type != "error" && !saysError(e.Data) {
		return nil
	}
	if err := x.ErrorWithin(slices.Concat([]byte(`{"error":`), e.Data, []byte(`}`))); err != nil {
		return err
	}
	return x.GarbledPart(e.Data, errors.New("an error in the stream"))
}

// saysError reports whether an event says that it is an error, in words that may not be
// known.
func saysError(data []byte) bool {
	var top struct {
		Type   json.RawMessage `json:"type"`
		Object json.RawMessage `json:"object"`
		Error  map[string]any  `json:"error"`
	}
	if !bytes.Contains(data, []byte(`"error"`)) {
		return false
	}
	_ = json.Unmarshal(data, &top) // a field of an odd type leaves the others
	return string(top.Type) == `"error"` || string(top.Object) == `"error"` || len(top.Error) > 0
}

// hasWords reports whether an event that has nothing of an answer may be an error which
// does not say that it is one: {"code": "InvalidParameter", "message": "…"}.
func hasWords(event []byte) bool {
	var fields struct {
		Type    string `json:"type"` // the events of a protocol have one
		Message string `json:"message"`
		Msg     string `json:"msg"`
		Detail  any    `json:"detail"`
	}
	return json.Unmarshal(event, &fields) == nil && fields.Type == "" && (fields.Message != "" || fields.Msg != "" || fields.Detail != nil)
}
