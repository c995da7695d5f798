package recorded

import (
	"bytes"
	"encoding/json"
	"strings"

	"llmcall/llm"
)

// record is what a recorded body says, read by eye of the providers' pages and
// by none of the code under test. Only what is compared is read.
type record struct {
	text     string // of all texts, without what is between them
	calls    []llm.ToolCall
	thoughts bool // the model thought, and the record shows it in some form
	finish   llm.Finish
	usage    *llm.Usage // nil if the record has none
	model    string
	id       string // of the answer, where that is the request's number too
	// whole is behind how many bytes of a stream nothing is missing of the answer:
	// what tells that it ended has come. What it cost may be missing.
	whole int
}

// event is what follows "data:" in a stream, and where its line ends.
type event struct {
	data []byte
	end  int
}

func events(stream []byte) []event {
	var all []event
	for at := 0; at < len(stream); {
		line := stream[at:]
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line = line[:n+1]
		}
		at += len(line)
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			all = append(all, event{bytes.TrimSpace(data), at})
		}
	}
	return all
}

// pieces returns the events of a stream; an answer in one piece is one event.
func pieces(body []byte, stream bool) []event {
	if stream {
		return events(body)
	}
	return []event{{body, len(body)}}
}

// chatMessage is a message of chat completions, or a piece of one
// (https://developers.openai.com/api/reference/resources/chat).
type chatMessage struct {
	Content   string
	ToolCalls []struct {
		Index    int
		ID       string
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
	Reasoning        string
	ReasoningContent string            `json:"reasoning_content"`
	ReasoningDetails []json.RawMessage `json:"reasoning_details"`
}

func readChat(body []byte, stream bool) (r record, err error) {
	for _, e := range pieces(body, stream) {
		if string(e.data) == "[DONE]" {
			continue
		}
		var x struct {
			Model   string
			Choices []struct {
				Index          int
				Message, Delta chatMessage
				FinishReason   string `json:"finish_reason"`
			}
			Usage *struct {
				Prompt        int64 `json:"prompt_tokens"`
				Completion    int64 `json:"completion_tokens"`
				Total         int64 `json:"total_tokens"`
				PromptDetails struct {
					Cached  int64 `json:"cached_tokens"`
					Written int64 `json:"cache_write_tokens"`
					Audio   int64 `json:"audio_tokens"`
				} `json:"prompt_tokens_details"`
				CompletionDetails struct {
					Reasoning int64 `json:"reasoning_tokens"`
				} `json:"completion_tokens_details"`
			}
		}
		if err := json.Unmarshal(e.data, &x); err != nil {
			return r, err
		}
		if x.Model != "" {
			r.model = x.Model
		}
		if u := x.Usage; u != nil {
			r.usage = &llm.Usage{
				InputTokens: u.Prompt, OutputTokens: u.Completion, CachedTokens: u.PromptDetails.Cached, ReasoningTokens: u.CompletionDetails.Reasoning,
				CacheWriteTokens: u.PromptDetails.Written, AudioTokens: u.PromptDetails.Audio,
			}
			// xAI counts what was thought apart, as the sum shows; Vercel's gateway
			// does so for Gemini, as the price shows: 28 + 5 + 49 tokens for $0.0001434,
			// at $0.30 and $2.50 a million.
			if thought := u.CompletionDetails.Reasoning; thought > u.Completion || thought > 0 && u.Total == u.Prompt+u.Completion+thought {
				r.usage.OutputTokens += thought
			}
		}
		for _, c := range x.Choices {
			if c.Index != 0 {
				continue
			}
			m := c.Message
			if stream {
				m = c.Delta
			}
			r.text += m.Content
			r.thoughts = r.thoughts || m.Reasoning+m.ReasoningContent != "" || len(m.ReasoningDetails) > 0
			for i, call := range m.ToolCalls {
				if stream {
					i = call.Index
				}
				for len(r.calls) <= i {
					r.calls = append(r.calls, llm.ToolCall{})
				}
				if call.ID != "" {
					r.calls[i].ID = call.ID
				}
				r.calls[i].Name += call.Function.Name
				r.calls[i].Arguments = append(r.calls[i].Arguments, call.Function.Arguments...)
			}
			if c.FinishReason != "" && r.finish == "" {
				r.finish, r.whole = map[string]llm.Finish{
					"stop": llm.FinishStop, "length": llm.FinishLength, "tool_calls": llm.FinishToolCall,
				}[c.FinishReason], e.end
			}
		}
	}
	return r.calling(), nil
}

// calling is the record with the finish of an answer that calls tools: some
// providers say that it stopped.
func (r record) calling() record {
	if r.finish == llm.FinishStop && len(r.calls) > 0 {
		r.finish = llm.FinishToolCall
	}
	return r
}

// readResponses reads the Responses API's answer: what its last event holds is
// the same as an answer in one piece
// (https://developers.openai.com/api/reference/resources/responses).
func readResponses(body []byte, stream bool) (r record, err error) {
	type answer struct {
		Model, Status     string
		IncompleteDetails struct{ Reason string } `json:"incomplete_details"`
		Output            []struct {
			Type, Name, Arguments string
			CallID                string `json:"call_id"`
			Phase                 string
			Content               []struct{ Text string }
		}
		Usage *struct {
			Input        int64 `json:"input_tokens"`
			Output       int64 `json:"output_tokens"`
			InputDetails struct {
				Cached  int64 `json:"cached_tokens"`
				Written int64 `json:"cache_write_tokens"`
			} `json:"input_tokens_details"`
			OutputDetails struct {
				Reasoning int64 `json:"reasoning_tokens"`
			} `json:"output_tokens_details"`
		}
	}
	var x answer
	if stream {
		for _, e := range events(body) {
			var of struct {
				Type     string
				Response answer
			}
			if err := json.Unmarshal(e.data, &of); err != nil {
				return r, err
			}
			switch of.Type {
			case "response.completed", "response.incomplete", "response.failed":
				x, r.whole = of.Response, e.end
			}
		}
	} else if err := json.Unmarshal(body, &x); err != nil {
		return r, err
	}
	r.model = x.Model
	for _, item := range x.Output {
		switch item.Type {
		case "message":
			if item.Phase == "commentary" {
				r.thoughts = true
				continue
			}
			for _, c := range item.Content {
				r.text += c.Text
			}
		case "function_call":
			r.calls = append(r.calls, llm.ToolCall{ID: item.CallID, Name: item.Name, Arguments: json.RawMessage(item.Arguments)})
		case "reasoning":
			r.thoughts = true
		}
	}
	switch {
	case x.Status == "completed":
		r.finish = llm.FinishStop
	case x.Status == "incomplete" && x.IncompleteDetails.Reason == "max_output_tokens":
		r.finish = llm.FinishLength
	}
	if u := x.Usage; u != nil {
		r.usage = &llm.Usage{InputTokens: u.Input, OutputTokens: u.Output, CachedTokens: u.InputDetails.Cached, ReasoningTokens: u.OutputDetails.Reasoning, CacheWriteTokens: u.InputDetails.Written}
	}
	return r.calling(), nil
}

// messagesUsage is Anthropic's count; what was read from the cache, and written
// to it, is no part of the input.
type messagesUsage struct {
	Input   *int64 `json:"input_tokens"`
	Written *int64 `json:"cache_creation_input_tokens"`
	Read    *int64 `json:"cache_read_input_tokens"`
	Output  *int64 `json:"output_tokens"`
	Kept    struct {
		Hour int64 `json:"ephemeral_1h_input_tokens"`
	} `json:"cache_creation"`
	Details struct {
		Thinking int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

// update takes the newer counts, of those that are there.
func (u *messagesUsage) update(v messagesUsage) {
	for _, c := range []struct{ old, new **int64 }{{&u.Input, &v.Input}, {&u.Written, &v.Written}, {&u.Read, &v.Read}, {&u.Output, &v.Output}} {
		if *c.new != nil {
			*c.old = *c.new
		}
	}
	u.Details.Thinking = max(u.Details.Thinking, v.Details.Thinking)
	u.Kept.Hour = max(u.Kept.Hour, v.Kept.Hour)
}

func (u messagesUsage) usage() *llm.Usage {
	n := func(p *int64) int64 {
		if p == nil {
			return 0
		}
		return *p
	}
	return &llm.Usage{
		InputTokens: n(u.Input) + n(u.Written) + n(u.Read), OutputTokens: n(u.Output), CachedTokens: n(u.Read), ReasoningTokens: u.Details.Thinking,
		CacheWriteTokens: n(u.Written), CacheWrite1hTokens: u.Kept.Hour,
	}
}

// readMessages reads an answer of Anthropic's
// (https://platform.claude.com/docs/en/api/messages).
func readMessages(body []byte, stream bool) (r record, err error) {
	type block struct {
		Type, Text, ID, Name string
		Input                json.RawMessage
	}
	var usage messagesUsage
	stopped := func(reason string) {
		r.finish = map[string]llm.Finish{
			"end_turn": llm.FinishStop, "stop_sequence": llm.FinishStop, "tool_use": llm.FinishToolCall, "max_tokens": llm.FinishLength,
		}[reason]
	}
	begin := func(b block) {
		switch b.Type {
		case "text":
			r.text += b.Text
		case "tool_use":
			r.calls = append(r.calls, llm.ToolCall{ID: b.ID, Name: b.Name, Arguments: b.Input})
		default:
			r.thoughts = true // the tools that the provider runs itself included
		}
	}
	if !stream {
		var x struct {
			Model      string
			Content    []block
			StopReason string `json:"stop_reason"`
			Usage      messagesUsage
		}
		if err := json.Unmarshal(body, &x); err != nil {
			return r, err
		}
		for _, b := range x.Content {
			begin(b)
		}
		r.model, r.usage = x.Model, x.Usage.usage()
		stopped(x.StopReason)
		return r, nil
	}
	var kind string
	for _, e := range events(body) {
		var x struct {
			Type    string
			Message struct {
				Model string
				Usage messagesUsage
			}
			ContentBlock block `json:"content_block"`
			Delta        struct {
				Text        string
				PartialJSON string `json:"partial_json"`
				StopReason  string `json:"stop_reason"`
			}
			Usage messagesUsage
		}
		if err := json.Unmarshal(e.data, &x); err != nil {
			return r, err
		}
		switch x.Type {
		case "message_start":
			r.model = x.Message.Model
			usage.update(x.Message.Usage)
		case "content_block_start":
			kind = x.ContentBlock.Type
			x.ContentBlock.Input = nil // it comes in pieces
			begin(x.ContentBlock)
		case "content_block_delta":
			r.text += x.Delta.Text
			if n := len(r.calls); n > 0 && kind == "tool_use" {
				r.calls[n-1].Arguments = append(r.calls[n-1].Arguments, x.Delta.PartialJSON...)
			}
		case "message_delta":
			usage.update(x.Usage)
			stopped(x.Delta.StopReason)
		case "message_stop":
			r.whole = e.end
		}
	}
	r.usage = usage.usage()
	return r, nil
}

// readGenerated reads an answer of Gemini's, by name of the finish reason
// (https://ai.google.dev/api/generate-content).
func readGenerated(body []byte, stream bool) (r record, err error) {
	for _, e := range pieces(body, stream) {
		var x struct {
			Candidates []struct {
				Content struct {
					Parts []struct {
						Text             string
						Thought          bool
						ThoughtSignature string
						FunctionCall     *struct {
							Name string
							Args json.RawMessage
						}
					}
				}
				FinishReason string
			}
			UsageMetadata *struct {
				Prompt     int64 `json:"promptTokenCount"`
				ToolUse    int64 `json:"toolUsePromptTokenCount"`
				Cached     int64 `json:"cachedContentTokenCount"`
				Candidates int64 `json:"candidatesTokenCount"`
				Thoughts   int64 `json:"thoughtsTokenCount"`
				Details    []struct {
					Modality   string
					TokenCount int64
				} `json:"promptTokensDetails"`
			}
			ModelVersion, ResponseID string
		}
		if err := json.Unmarshal(e.data, &x); err != nil {
			return r, err
		}
		if x.ModelVersion != "" {
			r.model = x.ModelVersion
		}
		if x.ResponseID != "" {
			r.id = x.ResponseID
		}
		if u := x.UsageMetadata; u != nil {
			r.usage = &llm.Usage{InputTokens: u.Prompt + u.ToolUse, OutputTokens: u.Candidates + u.Thoughts, CachedTokens: u.Cached, ReasoningTokens: u.Thoughts}
			for _, part := range u.Details {
				if part.Modality == "AUDIO" {
					r.usage.AudioTokens += part.TokenCount
				}
			}
		}
		for _, c := range x.Candidates {
			for _, p := range c.Content.Parts {
				switch {
				case p.FunctionCall != nil:
					r.calls = append(r.calls, llm.ToolCall{Name: p.FunctionCall.Name, Arguments: p.FunctionCall.Args, Signature: []byte(p.ThoughtSignature)})
				case p.Thought:
					r.thoughts = true
				default:
					r.text += p.Text
					r.thoughts = r.thoughts || p.ThoughtSignature != ""
				}
			}
			if c.FinishReason != "" {
				r.finish, r.whole = map[string]llm.Finish{"STOP": llm.FinishStop, "MAX_TOKENS": llm.FinishLength}[c.FinishReason], e.end
			}
		}
	}
	return r.calling(), nil
}

// squeezed is a text without line breaks: between two texts there may be one.
func squeezed(text string) string { return strings.ReplaceAll(text, "\n", "") }
