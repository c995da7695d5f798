package llmcall

import (
	"context"
	"iter"

	"llmcall/internal/growing"
	"llmcall/llm"
)

// Partial is what [AskStream] yields.
type Partial[T any] struct {
	// Value is what is complete so far. What is missing has its zero value: to
	// tell a 0 from a number that has not come yet, make the field a pointer.
	Value T
	// Restart says that all that came before is void: another attempt begins,
	// and Value is empty again. Only with RetryConfig.RestartStreams.
	Restart bool
	// Result is the whole answer, checked. It comes with the last partial, whose
	// Value is what Ask would have returned.
	Result *Result
}

// AskStream is [Ask] that hands on the answer as it comes, as [Client.Stream] does: the
// model is asked for a T in the same way, and each time that a part of it is
// complete there is a T with all of it so far.
//
//	for city, err := range llmcall.AskStream[City](ctx, client, llm.Prompt("Describe Berlin")) {
//		if err != nil {
//			return err
//		}
//		show(city.Value) // City{Name: "Berlin"}, then with its population, …
//	}
//
// A field appears when its value is complete, never with half of a text or a
// number; those of a struct within T appear one by one too. A slice grows by
// whole elements, a map by whole entries. What decodes itself (UnmarshalJSON,
// UnmarshalText), an interface, and what is within an element or an entry, appears as
// a whole. Parts that came in one piece of the stream come in one partial, and
// a piece that completes nothing makes none. A part that can't be decoded is left
// out: that it is wrong is for the checks to say, which are made at the end, like
// T's Validate. Until then Value may break every rule of T's schema.
//
// The JSON may be in a Markdown fence. Of an answer that has to be repaired
// first (validate.JSONWithRepair) nothing is shown after its first fault but the
// result.
//
// The partials share nothing: the caller may keep and change each. Each part of
// the JSON is decoded once, as it comes, and a partial costs a copy of the parts
// before it: for a list this grows with the square of its length. One of 1,000
// elements, each shown as it comes, takes 40 ms in all if they hold no slice, map
// or pointer, and 0.2 s if each holds a slice. Types that decode themselves and
// hold pointers can't be copied, and are decoded again for each partial: 2 s.
//
// Errors, restarts, and what happens when the caller leaves the loop are those
// of Stream.
func AskStream[T any](ctx context.Context, c *Client, req *llm.Request) iter.Seq2[Partial[T], error] {
	return func(yield func(Partial[T], error) bool) {
		s, err := shapeOf[T]()
		if err != nil {
			yield(Partial[T]{}, err)
			return
		}
		asked, checks, err := s.ask(req, c.checks)
		if err != nil {
			yield(Partial[T]{}, err)
			return
		}
		answer := s.begin()
		shown := false
		for piece, err := range c.stream(ctx, asked, checks) {
			switch {
			case err != nil:
				yield(Partial[T]{}, err)
				return
			case piece.Result != nil:
				value, err := s.decode([]byte(piece.Result.Text))
				yield(Partial[T]{Value: value, Result: piece.Result}, err)
				return
			case piece.Restart:
				answer = s.begin()
				if shown && !yield(Partial[T]{Restart: true}, nil) {
					return
				}
				shown = false
			case answer.Feed(piece.Text):
				shown = true
				if !yield(Partial[T]{Value: s.soFar(answer)}, nil) {
					return
				}
			}
		}
	}
}

// begin begins an answer that comes in pieces.
func (s *shape[T]) begin() *growing.Value {
	if s.wrapped {
		return growing.New(new(wrapping[T]))
	}
	return growing.New(new(T))
}

// soFar is a T of its own with what is complete of an answer.
func (s *shape[T]) soFar(answer *growing.Value) T {
	value := answer.Copy()
	if s.wrapped {
		return value.(*wrapping[T]).Value
	}
	return *value.(*T)
}
