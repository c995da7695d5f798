package openai

import (
	"encoding/json"
	"fmt"
	"strings"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// pieces are the pieces of one tool call.
type pieces struct {
	id, name  string
	index     int64
	arguments strings.Builder
}

// whole reports whether the arguments so far are JSON.
func (p *pieces) whole() bool { return json.Valid([]byte(p.arguments.String())) }

// call adds a piece of a tool call. OpenAI gives each call an index, which each piece
// has, and an ID and a name, which only the first has. Others leave out the index or
// the ID, repeat them in each piece, give all calls the same, or change the ID from
// piece to piece. So it takes two signs to begin another call where the index, or
// the ID, is that of an earlier one: the other of them differs, and a name comes too
// or the arguments so far are whole.
func (s *completionStream) call(id string, index int64, indexed bool, name, args string) {
	c := s.begunCall(id, index, indexed)
	switch {
	case c == nil:
	case id != "" && id == c.id && (!indexed || index == c.index):
		if c.whole() && strings.HasPrefix(args, "{") && args == c.arguments.String() {
			return // the whole call again, at its end
		}
	case id != "" && id == c.id: // at another index
		if name != "" && (name != c.name || c.whole()) {
			c = nil
		}
	case id != "" && c.id != "":
		if name != "" || c.whole() {
			c = nil
		}
	case name != "" && c.name != "" && args != "" && c.whole(): // no ID
		c = nil
	}
	if c == nil {
		c = &pieces{index: index}
		s.calls = append(s.calls, c)
	}
	if s.latest == nil {
		s.latest = map[int64]*pieces{}
	}
	s.latest[index] = c
	if c.id == "" {
		c.id = id
	}
	if c.name == "" {
		c.name = name
	}
	if strings.HasPrefix(args, "{") && c.arguments.String() == "{}" {
		c.arguments.Reset() // how a call of Anthropic's begins, which a gateway has translated
	}
	c.arguments.WriteString(args)
}

// begunCall returns the call to which a piece may belong, or nil.
func (s *completionStream) begunCall(id string, index int64, indexed bool) *pieces {
	if c := s.latest[index]; c != nil && indexed && (id == "" || c.id == "" || c.id == id) {
		return c
	}
	for _, c := range s.calls {
		if id != "" && c.id == id {
			return c
		}
	}
	if !indexed && len(s.calls) > 0 {
		return s.calls[len(s.calls)-1]
	}
	return s.latest[index]
}

// toolCalls returns the calls. One without an ID, or with that of another, gets an ID
// here, so that its result can be told from those of others.
func (s *completionStream) toolCalls() []llm.ToolCall {
	var calls []llm.ToolCall
	given := map[string]bool{}
	for i, c := range s.calls {
		if c.id == "" || given[c.id] {
			c.id = fmt.Sprintf("call-%s-%d", s.id, i)
		}
		given[c.id] = true
		calls = append(calls, llm.ToolCall{ID: c.id, Name: c.name, Arguments: wire.Arguments([]byte(c.arguments.String()))})
	}
	return calls
}
