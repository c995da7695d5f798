package llmcall

import (
	"context"
	"iter"

	"llmcall/internal/growing"
	"llmcall/llm"
)

// Partial is an incomplete answer, as [AskStream] yields it.
type Partial[T any] struct {
	// Value has the parts that are complete. The others have their zero value: to
	// tell a 0 from a number that has not arrived yet, make the field a pointer.
	Value T
	// Restart says that everything before is void: another attempt begins, and Value
	// is empty again. Only with [RetryConfig.RestartStreams].
	Restart bool
	// Result is the checked answer. Only the last partial has it, and its Value is
	// what [Ask] would have returned. Default nil.
	Result *Result
}

// AskStream is [Ask] that yields the answer as it arrives, as [Client.Stream]
// does. Each time a part of the T is complete, it yields a T with all parts so
// far.
//
//	for city, err := range llmcall.AskStream[City](ctx, client, llm.Prompt("Describe Berlin")) {
//		if err != nil {
//			return err
//		}
//		show(city.Value) // City{Name: "Berlin"}, then with its population, …
//	}
//
// A field appears when its value is complete, never with half a string or number;
// the fields of a nested struct appear one by one too. A slice grows by whole
// elements, a map by whole entries. Types with UnmarshalJSON or UnmarshalText,
// interfaces, and the values within an element or an entry appear as a whole. One
// piece of the stream makes at most one partial, and none if it completes no part.
// A part that can't be decoded is left out, for the checks to complain about. They
// run at the end, like T's Validate; until then Value may violate T's schema.
//
// The JSON may be in a Markdown fence. If the answer needs a repair
// ([validate.JSONWithRepair]), nothing after its first fault appears before the
// result.
//
// The partials share no memory, so the caller may keep and change each. Each part
// of the JSON is decoded once, as it arrives, and each partial costs a copy of the
// parts before it. For a list, this grows with the square of its length: one of
// 1,000 elements that arrive one by one takes 40 ms in all if the elements have no
// slice, map or pointer, and 0.2 s if each has a slice. Types that decode
// themselves and have pointers can't be copied and are decoded again for each
// partial, which takes 2 s.
//
// Errors, restarts, and leaving the loop are as in [Client.Stream].
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

// begin returns an empty answer that grows by pieces.
func (s *shape[T]) begin() *growing.Value {
	if s.wrapped {
		return growing.NewWrapped(new(wrapping[T]), "value")
	}
	return growing.New(new(T))
}

// soFar returns a copy of the parts of an answer that are complete.
func (s *shape[T]) soFar(answer *growing.Value) T {
	value := answer.Copy()
	if s.wrapped {
		return value.(*wrapping[T]).Value
	}
	return *value.(*T)
}
