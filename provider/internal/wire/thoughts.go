package wire

import (
	"encoding/json"
	"slices"
	"strings"

	"llmcall/failure"
	"llmcall/llm"
)

// tags are what models put around their thoughts where no parser of the server takes
// them out of the text: DeepSeek and Qwen, models that are asked for it, Gemini by
// its API for OpenAI's clients, Magistral, and Kimi.
var tags = [][2]string{
	{"<think>", "</think>"}, {"<thinking>", "</thinking>"}, {"<thought>", "</thought>"},
	{"[THINK]", "[/THINK]"}, {"◁think▷", "◁/think▷"},
}

// inText is the Provider of an [llm.Reasoning] that came as a part of the text. It is
// sent back to nobody: the templates of these models drop the thoughts of earlier
// turns.
const inText = "text"

// Thought returns the part for thoughts that came as text.
func Thought(text string) llm.Reasoning {
	data, _ := json.Marshal(map[string]string{"thinking": text}) // can't fail for strings
	return llm.Reasoning{Provider: inText, Data: data}
}

// thoughts takes a model's thoughts out of the beginning of a text that comes in
// pieces. Tags after the beginning are a part of the answer, except one that closes
// thoughts which the server's template has begun: see [beginning].
type thoughts struct {
	x      *Exchange
	apart  bool      // the answer's reasoning, or a call, came before its text: that has no thoughts
	passed bool      // the answer has begun
	tag    [2]string // of the thoughts that have begun; "" before
	closed bool      // thoughts have ended: white space before the answer is dropped
	waits  bool      // the text may be thoughts: it is held back until they, or the answer, end
	begins beginning
	held   strings.Builder
}

// pass returns what a chunk becomes. The error is that of a text which was passed on
// and turns out to be thoughts.
func (t *thoughts) pass(c llm.Chunk) ([]llm.Chunk, error) {
	if t.passed || c.Text == "" && c.Part == nil && c.Finish == llm.FinishNone {
		t.apart = t.apart || c.Progress
		if _, _, alone := t.begins.add(c.Text); alone {
			return nil, t.late()
		}
		if c.Finish == llm.FinishStop {
			t.x.habit().answered()
		}
		return []llm.Chunk{c}, nil
	}
	out := t.text(c.Text)
	if c.Part != nil || c.Finish != llm.FinishNone {
		t.apart = true
		out = append(out, t.end(c.Finish)...)
	}
	if c.Finish == llm.FinishStop {
		t.x.habit().answered()
	}
	if c.Text != "" && len(out) == 0 {
		c.Progress = true
	}
	if c.Text = ""; c != (llm.Chunk{}) {
		out = append(out, c)
	}
	return out, nil
}

// late returns the error of an answer whose first part, which the caller has, was not a
// part of it. The next streams of the model wait for the end of the thoughts.
func (t *thoughts) late() error {
	t.x.habit().thinks()
	return t.x.Withheld(failure.InvalidAnswer, "", "the answer began with thoughts that only a tag at their end shows to be thoughts")
}

// text adds a piece of text.
func (t *thoughts) text(piece string) (out []llm.Chunk) {
	searched := t.held.Len()
	t.held.WriteString(piece)
	for {
		text := t.held.String()
		if t.tag[0] == "" {
			start := strings.TrimLeft(text, " \t\r\n")
			i := slices.IndexFunc(tags, func(tag [2]string) bool { return strings.HasPrefix(start, tag[0]) })
			if i < 0 {
				if slices.ContainsFunc(tags, func(tag [2]string) bool { return strings.HasPrefix(tag[0], start) || strings.HasPrefix(tag[1], start) }) {
					return out
				}
				return append(out, t.begin(text, piece)...)
			}
			t.tag, searched = tags[i], 0
			t.hold(start[len(t.tag[0]):])
			text = t.held.String()
		}
		from := max(0, searched-len(t.tag[1]))
		end := strings.Index(text[from:], t.tag[1])
		if end < 0 {
			return out
		}
		out = append(out, thought(text[:from+end])...)
		t.hold(text[from+end+len(t.tag[1]):])
		t.tag, t.closed = [2]string{}, true
	}
}

// begin adds a piece of a text that begins without a tag. held is the text so far.
func (t *thoughts) begin(held, piece string) []llm.Chunk {
	t.begins.over = t.begins.over || t.closed
	if !t.waits {
		piece = held
	}
	before, after, alone := t.begins.add(piece)
	switch {
	case alone:
		t.x.habit().thinks()
		t.hold(after)
		t.closed, t.waits = true, false
		return append(thought(before), t.text("")...)
	case !t.begins.over && !t.apart && t.x.waits():
		t.waits = true
		return nil
	}
	return t.end(llm.FinishStop)
}

func (t *thoughts) hold(text string) {
	t.held.Reset()
	t.held.WriteString(text)
}

func thought(text string) []llm.Chunk {
	if strings.TrimSpace(text) == "" {
		return nil // Qwen, asked not to think
	}
	return []llm.Chunk{{Part: Thought(strings.TrimSpace(text))}}
}

// end returns what was held back. Thoughts without an end are the answer if the
// model came to its end: it begins with a word that looks like a tag.
func (t *thoughts) end(finish llm.Finish) []llm.Chunk {
	text := t.held.String()
	t.held.Reset()
	t.passed = true
	switch {
	case (t.tag[0] != "" || t.waits && !t.begins.over && t.x.habit().known() == habitThinks) &&
		(finish == llm.FinishNone || finish == llm.FinishLength || finish == llm.FinishToolCall):
		return thought(text)
	case t.closed:
		text = strings.TrimLeft(text, " \t\r\n")
	}
	if text = t.tag[0] + text; text == "" {
		return nil
	}
	return []llm.Chunk{{Text: text}}
}

// withoutThoughts takes the model's thoughts out of the beginning of an answer's
// text.
func (x *Exchange) withoutThoughts(answer *llm.Response) *llm.Response {
	i := slices.IndexFunc(answer.Message.Parts, IsText)
	if i < 0 {
		return answer
	}
	x.whole = true
	t := thoughts{x: x, apart: i > 0}
	chunks := t.text(string(answer.Message.Parts[i].(llm.Text)))
	if !t.passed {
		chunks = append(chunks, t.end(answer.Finish)...)
	}
	if answer.Finish == llm.FinishStop {
		x.habit().answered()
	}
	var parts []llm.Part
	for _, c := range chunks {
		if c.Part != nil {
			parts = append(parts, c.Part)
		} else if c.Text != "" {
			parts = append(parts, llm.Text(c.Text))
		}
	}
	answer.Message.Parts = slices.Replace(answer.Message.Parts, i, i+1, parts...)
	return answer
}

// closedAlone splits a text that begins within the model's thoughts, because the
// server's template has begun them (DeepSeek R1, QwQ). An answer may speak of the
// tag: so it must begin a line, or be followed by JSON, and no tag that opens, and no
// JSON, may come before.
func closedAlone(text string) (before, after string, ok bool) {
	for _, tag := range tags {
		before, after, found := strings.Cut(text, tag[1])
		if !found || strings.Contains(before, tag[0]) || beginsAnswer(before) || strings.Contains(before, "```") {
			continue
		}
		line := before[strings.LastIndexByte(before, '\n')+1:]
		after = strings.TrimLeft(after, " \t\r\n")
		object := strings.HasPrefix(after, "{") || strings.HasPrefix(after, "[")
		if strings.TrimSpace(line) == "" || object {
			return before, after, true
		}
	}
	return "", "", false
}

// beginsAnswer reports whether a text begins like JSON or code, and not like thoughts.
func beginsAnswer(text string) bool {
	start := strings.TrimLeft(text, " \t\r\n")
	return start != "" && strings.Contains("{[\"`", start[:1])
}
