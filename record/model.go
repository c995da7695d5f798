package record

import (
	"context"
	"errors"
	"iter"
	"time"
	"unicode/utf8"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/pace"
)

// Model returns a model that asks m, and writes a file for each request. It has m's name and
// endpoint, and is an [llm.Streamer] if m is one. The file is written before Complete
// returns, or before the last piece of a stream is followed by its end; one that can't be written
// is reported, and changes nothing of the answer.
func (r *Recorder) Model(m llm.Model) llm.Model {
	if s, able := m.(llm.Streamer); able {
		return &recordedStreamer{recorded{s, r}, s}
	}
	return &recorded{m, r}
}

type recorded struct {
	llm.Model
	recorder *Recorder
}

type recordedStreamer struct {
	recorded
	streamer llm.Streamer
}

// EndpointKey returns the key of the recorded model's endpoint.
func (m *recorded) EndpointKey() endpoint.Key { return endpoint.KeyOf(m.Model) }

// Protocol returns the name of the protocol that the recorded model speaks; "" if it is not
// known.
func (m *recorded) Protocol() string {
	if p, ok := m.Model.(interface{ Protocol() string }); ok {
		return p.Protocol()
	}
	return ""
}

// Lacks returns what the recorded model's API has no setting for.
func (m *recorded) Lacks() []string {
	if l, ok := m.Model.(interface{ Lacks() []string }); ok {
		return l.Lacks()
	}
	return nil
}

func (m *recorded) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	rec, heard := m.begin(ctx, req)
	answer, err := m.Model.Complete(heard.listen(), req)
	rec.Call.Response, rec.Call.Notes = answer, heard.notes
	if answer == nil && err == nil {
		m.end(ctx, rec, failure.NoAnswer(m.Name()))
	} else {
		m.end(ctx, rec, err)
	}
	return answer, err
}

func (m *recordedStreamer) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		rec, heard := m.begin(ctx, req)
		var answer llm.Assembly
		var said llm.Response
		var failed error
		defer func() {
			if rec.Call.Response = answer.Response(); len(rec.Pieces) == 0 {
				rec.Call.Response = nil
			}
			if rec.Call.Notes = heard.notes; failed == nil && len(rec.Pieces) == 0 && !rec.Left {
				failed = failure.NoAnswer(m.Name()) // an empty stream
			}
			m.end(ctx, rec, failed)
		}()
		rec.Left = true // also by a panic of who reads it
		for chunk, err := range m.streamer.Stream(heard.listen(), req) {
			if failed = err; err == nil {
				answer.Add(chunk)
				rec.Pieces = append(rec.Pieces, pieceOf(chunk, &said, rec.since()))
			}
			if !yield(chunk, err) {
				rec.Left = err == nil && chunk.Finish == llm.FinishNone
				return
			}
		}
		rec.Left = false
	}
}

// pieceOf returns what is written of a chunk. said is what the chunks before said.
func pieceOf(c llm.Chunk, said *llm.Response, at time.Duration) Piece {
	p := Piece{At: at, Size: utf8.RuneCountInString(c.Text), Part: c.Part != nil, Progress: c.Progress}
	if c.Model != "" && c.Model != said.Model {
		said.Model, p.Says = c.Model, append(p.Says, saysModel)
	}
	if c.RequestID != "" && c.RequestID != said.RequestID {
		said.RequestID, p.Says = c.RequestID, append(p.Says, saysRequestID)
	}
	if c.Usage != nil {
		p.Usage = new(*c.Usage)
	}
	if c.Finish != llm.FinishNone {
		p.Says = append(p.Says, saysFinish)
	}
	return p
}

// What a [Piece] may say.
const (
	saysFinish    = "finish"
	saysUsage     = "usage"
	saysModel     = "model"
	saysRequestID = "request_id"
)

func (m *recorded) begin(ctx context.Context, req *llm.Request) (*Recording, *hearing) {
	rec := m.recorder.begin()
	rec.Call = &Call{Model: m.Name(), Request: req}
	return rec, &hearing{ctx: ctx}
}

// end writes the recording. The text of an error that can't be recorded is reported.
func (m *recorded) end(ctx context.Context, rec *Recording, err error) {
	rec.Took = rec.since()
	for i := len(rec.Pieces) - 1; i >= 0; i-- { // the last usage is that of the answer
		if p := &rec.Pieces[i]; p.Usage != nil {
			p.Usage, p.Says = nil, append(p.Says, saysUsage)
			break
		}
	}
	var f *fault
	if err != nil {
		if f = modelFault(ctx, err); f.Kind == failure.Cancelled && len(rec.Pieces) > 0 && errors.Is(ctx.Err(), context.Canceled) {
			f, rec.Left = nil, true // left by another way
		}
	}
	m.recorder.write(rec, f, nil)
}

// hearing passes on what an adapter says, and keeps the notes.
type hearing struct {
	ctx   context.Context
	notes []string
}

func (h *hearing) listen() context.Context { return endpoint.Listen(h.ctx, h) }

func (h *hearing) Accepted(told *pace.Told) { endpoint.Accepted(h.ctx, told) }
func (h *hearing) Told(told *pace.Told)     { endpoint.Told(h.ctx, told) }
func (h *hearing) Again() bool              { return endpoint.Again(h.ctx) }

func (h *hearing) Noted(note string) {
	h.notes = append(h.notes, note)
	endpoint.Noted(h.ctx, note)
}
