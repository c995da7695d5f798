package protocol_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"llmcall/internal/protocol"
)

var version = http.Header{"Anthropic-Version": {"2023-06-01"}}

// asked is the same request in each of the protocols: a system prompt, an answer
// and a complaint about it, and a tool that must be called.
var asked = []struct{ path, body string }{
	{"/v1/chat/completions", `{"model": "m", "max_tokens": 20, "stop": "END", "stream": true,
		"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "no"}]}],
		"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "tool_choice": "required"}`},
	{"/v1/responses", `{"model": "m", "max_output_tokens": 20, "stream": true, "instructions": "s",
		"input": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "no"}],
		"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}], "tool_choice": {"type": "function", "name": "f"}}`},
	{"/v1/messages", `{"model": "m", "max_tokens": 20, "stop_sequences": ["END"], "stream": true, "system": "s",
		"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "no"}]}],
		"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}}`},
	{"/v1beta/models/m:streamGenerateContent", `{"systemInstruction": {"parts": [{"text": "s"}]}, "generationConfig": {"maxOutputTokens": 20, "stopSequences": ["END"]},
		"contents": [{"parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}, {"role": "user", "parts": [{"text": "no"}]}],
		"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}`},
}

func readAt(t *testing.T, path, body string) (protocol.Protocol, *protocol.Request) {
	t.Helper()
	to, found := protocol.At(path)
	if !found || to.Method != http.MethodPost || to.For != protocol.Answers {
		t.Fatalf("%s: %+v, %v", path, to, found)
	}
	req, refused := to.Protocol.Read(&protocol.Incoming{Path: path, Query: url.Values{"alt": {"sse"}}, Header: version, Body: []byte(body)})
	if refused != nil {
		t.Fatalf("%s: %v", path, refused)
	}
	return to.Protocol, req
}

func TestOneRequestIsReadAlikeInAllProtocols(t *testing.T) {
	for _, c := range asked {
		p, req := readAt(t, c.path, c.body)
		if p.Name() == "openai-responses" { // has no stop sequences, and another name for the system's role
			req.Stop, req.Messages[0].Role, req.Keep = []string{"END"}, "system", nil // and is kept
		}
		req.Field = ""
		want := &protocol.Request{
			Model: "m", Stream: true, MaxTokens: 20, Stop: []string{"END"},
			Messages: []protocol.Message{{"system", "s"}, {"user", "q"}, {"assistant", "a"}, {"user", "no"}},
			Tool:     "f", JSON: true, Schema: json.RawMessage(`{"type": "object"}`),
		}
		if !reflect.DeepEqual(req, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", p.Name(), req, want)
		}
	}
}

// text is an answer that is a text.
func text(s string) []protocol.Part { return []protocol.Part{{Text: s}} }

// An answer is JSON as a whole, and each event of a stream holds JSON, but for
// OpenAI's [DONE]; the events that say how it ended are the last ones.
func TestAnswersAreWrittenInEachProtocol(t *testing.T) {
	thought := protocol.Part{Kind: protocol.ThoughtPart, Text: "hm, <tag>", Sign: "c2VhbA=="}
	call := func(arguments string) protocol.Part {
		return protocol.Part{Kind: protocol.CallPart, Name: "f", Text: arguments}
	}
	answers := map[string]protocol.Answer{
		"text":       {Parts: text("Ada <ada@example.com>, ünïcode"), Finish: protocol.FinishStop},
		"nothing":    {Finish: protocol.FinishStop},
		"call":       {Parts: []protocol.Part{call(`{"a": 1}`)}, Finish: protocol.FinishTool},
		"wrong call": {Parts: []protocol.Part{call(`a: 1`)}, Finish: protocol.FinishTool},
		"cut off":    {Parts: text("Ada"), Finish: protocol.FinishLength},
		"filtered":   {Parts: text("Ada"), Finish: protocol.FinishFilter},
		"refused":    {Parts: text("No."), Finish: protocol.FinishRefusal},
		"no end":     {Parts: text("Ada")},
		"own word":   {Parts: text("Ada"), Native: "odd"},
		"stop text":  {Parts: text("Ada"), Finish: protocol.FinishStop, Ending: "END"},
		"thought":    {Parts: append([]protocol.Part{thought}, text("Ada")...), Finish: protocol.FinishStop},
		"no text":    {Parts: []protocol.Part{thought}, Finish: protocol.FinishStop},
		"its call":   {Parts: []protocol.Part{thought, call(`{"a": 1}`)}, Finish: protocol.FinishTool},
		"several": {Parts: []protocol.Part{thought, {Text: "Let me look."}, call(`{"a": 1}`), call(`{}`), {Kind: protocol.OwnPart, Own: json.RawMessage(`{"type":"odd"}`)}, {Text: "So."}},
			Finish: protocol.FinishTool},
	}
	for _, c := range asked {
		p, req := readAt(t, c.path, c.body)
		req.Logprobs, req.TopLogprobs, req.Encrypted = true, 2, true
		for name, a := range answers {
			turn := &protocol.Turn{Request: req, Answer: a, ID: func(prefix string) string { return prefix + "1" }, Now: time.Unix(1, 0), Usage: protocol.Usage{In: 9, Out: 7, Cached: 2, Reasoning: 3}, Plays: name != "several"}
			if strings.HasPrefix(name, "filtered") {
				turn.More = []protocol.Answer{a, {Parts: text("Bob"), Finish: protocol.FinishStop}}
			}
			if whole := p.Whole(turn); !json.Valid(whole) {
				t.Errorf("%s, %s: %s", p.Name(), name, whole)
			}
			ended := false
			for _, e := range p.Events(turn) {
				if ended && !e.Last {
					t.Errorf("%s, %s: an event after the end: %s", p.Name(), name, e.Data)
				}
				ended = e.Last
				_, text, found := strings.Cut("\n"+string(e.Data), "\ndata: ")
				if text = strings.TrimSpace(text); !found || !bytes.HasSuffix(e.Data, []byte("\n")) || !json.Valid([]byte(text)) && text != "[DONE]" {
					t.Errorf("%s, %s: %q", p.Name(), name, e.Data)
				}
			}
		}
	}
}

// An answer that comes in pieces is written as one that is whole is: its end is known last,
// and nothing of it before.
func TestAStreamThatComesIsThatOfTheWhole(t *testing.T) {
	for _, c := range asked {
		p, req := readAt(t, c.path, c.body)
		for _, ends := range []protocol.Answer{{Finish: protocol.FinishStop}, {Finish: protocol.FinishLength}, {Finish: protocol.FinishFilter}, {Native: "odd"}, {Finish: protocol.FinishStop, Ending: "END"}} {
			for _, said := range []string{"", "Ada", "Ada <ada@example.com>, ünïcode and a good deal more"} {
				whole := &protocol.Turn{Request: req, Answer: ends, ID: func(prefix string) string { return prefix + "1" }, Now: time.Unix(1, 0), Usage: protocol.Usage{In: 9, Out: 7}, Plays: true}
				coming := *whole
				coming.Answer = protocol.Answer{}
				if said != "" {
					whole.Parts = append([]protocol.Part{{Kind: protocol.ThoughtPart, Text: "hm", Sign: "eA=="}}, text(said)...)
				}
				stream := p.Stream(&coming)
				var got []protocol.Event
				for _, part := range whole.Parts {
					runes := []rune(part.Text)
					for len(runes) > 0 {
						n := min(8, len(runes)) // the size of Events' pieces
						piece := part
						piece.Text, runes = string(runes[:n]), runes[n:]
						got = append(got, stream.Add(piece)...)
					}
				}
				coming.Answer = ends
				got = append(got, stream.End()...)
				if want := p.Events(whole); !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %+v, %q:\n got %+v\nwant %+v", p.Name(), ends, said, got, want)
				}
			}
		}
	}
}

// A stream ten times as long takes ten times as much, and not a hundred times.
func TestTheWorkOfAStreamGrowsWithItsLength(t *testing.T) {
	for _, c := range asked {
		p, _ := readAt(t, c.path, c.body)
		taken := func(runes int) uint64 {
			a := protocol.Answer{Parts: text(strings.Repeat("x", runes)), Finish: protocol.FinishStop}
			turn := &protocol.Turn{Request: &protocol.Request{Model: "m"}, Answer: a, More: []protocol.Answer{a}, ID: func(prefix string) string { return prefix + "1" }}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p.Events(turn)
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		if short, long := taken(2_000), taken(20_000); long > 20*short {
			t.Errorf("%s: %d bytes for 2,000 runes, %d for 20,000", p.Name(), short, long)
		}
	}
}

func TestErrorsAreWrittenInEachProtocol(t *testing.T) {
	id := func(prefix string) string { return prefix + "1" }
	for _, c := range asked {
		p, req := readAt(t, c.path, c.body)
		for _, e := range []protocol.Error{
			{Message: `a "quoted" text`}, {Status: 429, Kind: p.Kind(429), Message: "wait", Param: "model", Code: "c", Details: `{"a":1}`, Wait: "1.5s"},
		} {
			body := p.ErrorBody(&e, id)
			if !json.Valid(body) || !strings.Contains(string(body), "wait") && !strings.Contains(string(body), `a \"quoted\" text`) {
				t.Errorf("%s: %s", p.Name(), body)
			}
			line, ok := protocol.Compact(body)
			if events := p.ErrorEvents(line, 2, &protocol.Turn{Request: req, ID: id}); !ok || len(events) == 0 || bytes.Contains(line, []byte("\n")) {
				t.Errorf("%s: %q, %s", p.Name(), events, line)
			}
		}
	}
}

// The path that a base URL makes is known with the prefixes that servers use.
func TestAPathLeadsToItsProtocol(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/chat/completions": "openai", "/chat/completions": "openai", "/api/v1/chat/completions": "openai", "/openai/v1/responses": "openai-responses",
		"/openai/deployments/d/chat/completions": "openai", "/v1/messages": "anthropic", "/v1beta/models/g:generateContent": "gemini",
		"/v1/models": "openai", "/v1": "", "/v1/embeddings": "openai", "/v1beta/models/g:countTokens": "gemini",
		"/v1/responses/input_tokens": "openai-responses", "/v1/responses/resp_1": "openai-responses", "/v1/messages/count_tokens": "anthropic", "/v1beta/models/g:predict": "",
		"/v1/models/ft:gpt:org::1": "openai", "/v1beta/openai/embeddings": "openai",
	} {
		to, found := protocol.At(path)
		if got := ""; found {
			if got = to.Protocol.Name(); got != want {
				t.Errorf("%s leads to %s, want %s", path, got, want)
			}
		} else if want != "" {
			t.Errorf("%s leads nowhere, want %s", path, want)
		}
	}
	for path, want := range map[string]protocol.Protocol{"/v1beta/x": protocol.Gemini{}, "/x/messages/y": protocol.Messages{}, "/": protocol.Chat{}} {
		if got := protocol.Likely(path, nil); got != want {
			t.Errorf("%s: %T, want %T", path, got, want)
		}
	}
}

// What is kept of a conversation is read back, however it is damaged.
func TestWhatIsKeptGoesOn(t *testing.T) {
	for _, c := range []struct{ path, first, next, id string }{
		{"/v1/responses", `{"model":"m","input":"q"}`, `{"model":"m","previous_response_id":"resp_1","input":[{"role":"user","content":"more"}]}`, "resp_1"},
		{"/v1/messages", `{"model":"m","max_tokens":9,"thread":{"type":"create"},"messages":[{"role":"user","content":"q"}]}`,
			`{"model":"m","max_tokens":9,"thread":{"type":"continue","previous_message_id":"msg_011"},"messages":[{"role":"user","content":"more"}]}`, "msg_011"},
	} {
		to, _ := protocol.At(c.path)
		kept := map[string]json.RawMessage{}
		read := func(body string) (*protocol.Request, *protocol.Error) {
			return to.Protocol.Read(&protocol.Incoming{Path: c.path, Header: http.Header{"Anthropic-Version": {"1"}, "Anthropic-Beta": {"b"}}, Body: []byte(body),
				Kept: func(id string) (json.RawMessage, bool) { text, ok := kept[id]; return text, ok }})
		}
		req, refused := read(c.first)
		if refused != nil {
			t.Fatal(refused)
		}
		turn := &protocol.Turn{Request: req, Answer: protocol.Answer{Parts: append([]protocol.Part{{Kind: protocol.ThoughtPart, Text: "hm"}}, text("a")...), Finish: protocol.FinishStop}, ID: func(prefix string) string { return prefix + "1" }}
		id, text := to.Protocol.(protocol.Keeper).Keep(turn)
		if id != c.id {
			t.Fatalf("%s: kept as %q: %s", c.path, id, text)
		}
		kept[id] = text
		req, refused = read(c.next)
		if want := []protocol.Message{{"user", "q"}, {"assistant", "a"}, {"user", "more"}}; refused != nil || !reflect.DeepEqual(req.Messages, want) {
			t.Errorf("%s: got %+v, %v", c.path, req, refused)
		}
		for _, damaged := range []string{``, `null`, `7`, `{"input":7,"messages":7}`} {
			kept[id] = json.RawMessage(damaged)
			if _, refused := read(c.next); refused == nil && damaged != "null" {
				t.Errorf("%s: %q is read", c.path, damaged)
			}
		}
	}
}
