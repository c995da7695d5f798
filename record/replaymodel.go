package record

import (
	"context"
	"iter"
	"slices"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
)

// Model returns a model of the given full name, which answers with the recordings of the
// model of that name. It has an endpoint of its own, so that a replay neither opens nor meets
// a circuit of real calls. All errors but those that were recorded, of the context, and of
// reading a file are a *[MissingError].
func (p *Player) Model(name string) llm.Streamer { return &player{p, name} }

type player struct {
	*Player
	name string
}

func (m *player) Name() string { return m.name }

// EndpointKey returns the key of the replay's own endpoint.
func (m *player) EndpointKey() endpoint.Key {
	return endpoint.Key{Name: "replay of " + m.name + " from " + m.dir}
}

// next returns the next recording of a request.
func (m *player) next(ctx context.Context, req *llm.Request) (*Recording, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	asked := &Recording{Call: &Call{Model: m.name, Request: req}}
	k, err := asked.key()
	if err != nil { // it has no JSON: it can't have been recorded
		return nil, &failure.Error{Kind: failure.InvalidRequest, Model: m.name, Message: "the request can't be replayed", Err: err}
	}
	r, err := m.take(k, asked)
	if err != nil {
		return nil, err
	}
	for _, note := range r.Call.Notes {
		endpoint.Noted(ctx, note)
	}
	return r, nil
}

func (m *player) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	times := m.begin()
	r, err := m.next(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := times.until(ctx, r.Took); err != nil {
		return nil, err
	}
	answer := r.Call.Response
	switch {
	case r.Err == nil:
		endpoint.Accepted(ctx, nil)
	case answer != nil && len(r.Pieces) > 0: // of a stream that broke: without content, as whole answers
		if answer = nil; r.Call.Response.Usage != (llm.Usage{}) {
			answer = &llm.Response{Message: llm.Message{Role: llm.RoleAssistant}, Usage: r.Call.Response.Usage, Model: r.Call.Response.Model, RequestID: r.Call.Response.RequestID}
		}
	}
	return answer, r.Err
}

func (m *player) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		times := m.begin()
		r, err := m.next(ctx, req)
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		accepted := false
		for at, chunk := range chunks(r) {
			if err := times.until(ctx, at); err != nil {
				yield(llm.Chunk{}, err)
				return
			}
			if !accepted && chunk.Grows() {
				accepted = true
				endpoint.Accepted(ctx, nil)
			}
			if !yield(chunk, nil) {
				return
			}
		}
		if err := times.until(ctx, r.Took); err != nil {
			yield(llm.Chunk{}, err)
		} else if r.Err != nil {
			yield(llm.Chunk{}, r.Err)
		}
	}
}

// chunks yields the pieces of an answer with their times. Where the answer was edited, the
// pieces take what they took of it before, and the last one has the rest.
func chunks(r *Recording) iter.Seq2[time.Duration, llm.Chunk] {
	return func(yield func(time.Duration, llm.Chunk) bool) {
		answer := r.Call.Response
		if answer == nil {
			return
		}
		pieces := r.Pieces
		if len(pieces) == 0 { // it came whole
			if pieces = []Piece{{At: r.Took, Says: []string{saysModel, saysRequestID, saysUsage, saysFinish}}}; r.Err != nil {
				pieces[0].Says = pieces[0].Says[:3]
			}
		}
		rest := slices.Clone(answer.Message.Parts)
		for i, piece := range pieces {
			last := i == len(pieces)-1 || slices.Contains(piece.Says, saysFinish)
			for last && len(rest) > 1 { // more than one chunk holds
				var c llm.Chunk
				if rest = drawAll(rest, &c); !yield(piece.At, c) {
					return
				}
			}
			c := llm.Chunk{Progress: piece.Progress, Usage: piece.Usage}
			if last {
				rest = drawAll(rest, &c)
			} else {
				rest = draw(rest, piece, &c)
			}
			for _, what := range piece.Says {
				switch what {
				case saysModel:
					c.Model = answer.Model
				case saysRequestID:
					c.RequestID = answer.RequestID
				case saysUsage:
					if answer.Usage != (llm.Usage{}) {
						c.Usage = new(answer.Usage)
					}
				case saysFinish:
					c.Finish = answer.Finish
				}
			}
			if !yield(piece.At, c) {
				return
			}
		}
	}
}

// draw takes a piece of what is left of an answer.
func draw(rest []llm.Part, piece Piece, c *llm.Chunk) []llm.Part {
	if piece.Part {
		return drawAll(rest, c)
	}
	if len(rest) == 0 || piece.Size == 0 {
		return rest
	}
	text, ok := rest[0].(llm.Text)
	if !ok {
		return rest
	}
	runes := []rune(text)
	n := min(piece.Size, len(runes))
	if c.Text = string(runes[:n]); n == len(runes) {
		return rest[1:]
	}
	rest[0] = llm.Text(runes[n:])
	return rest
}

// drawAll takes what one chunk may have: the rest of a text and the part after it.
func drawAll(rest []llm.Part, c *llm.Chunk) []llm.Part {
	if len(rest) > 0 {
		if text, ok := rest[0].(llm.Text); ok {
			c.Text, rest = string(text), rest[1:]
		}
	}
	if len(rest) > 0 {
		if _, ok := rest[0].(llm.Text); !ok {
			c.Part, rest = rest[0], rest[1:]
		}
	}
	return rest
}
