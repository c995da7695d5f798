package protocol

import "encoding/json"

// Responses is OpenAI's Responses
// (platform.openai.com/docs/api-reference/responses/object and
// .../responses-streaming).
type Responses struct{ openai }

// Name returns "openai-responses".
func (Responses) Name() string { return "openai-responses" }

// outcome is a response's status and its details.
type outcome struct {
	status            string
	incomplete, error raw
}

// outcome returns how the response ends. The provider's own word may be a reason why it is
// incomplete, or "failed".
func (t *Turn) outcome() outcome {
	o := outcome{"completed", raw("null"), raw("null")}
	reason := map[Finish]string{FinishLength: "max_output_tokens", FinishFilter: "content_filter"}[t.Finish]
	switch {
	case t.Native == "failed":
		return outcome{"failed", raw("null"), fill(`{"code":"server_error","message":"The model failed to generate a response."}`)}
	case t.Native != "" && t.Native != "completed":
		reason = t.Native
	case t.Native == "" && t.Finish == FinishNone:
		if o.status = "in_progress"; !t.Plays {
			o.status = "incomplete"
		}
	}
	if reason != "" {
		o.status, o.incomplete = "incomplete", fill(`{"reason":%s}`, reason)
	}
	return o
}

// response writes the response in a given state.
func (t *Turn) response(o outcome, output []byte, use raw) raw {
	return fill(`{"id":%s,"object":"response","created_at":%s,"status":%s,"background":%s,"error":%s,"incomplete_details":%s,"instructions":%s,"max_output_tokens":%s,"model":%s,"output":%s,"parallel_tool_calls":%s,"previous_response_id":%s,"reasoning":%s,"service_tier":%s,"store":%s,"temperature":%s,"text":%s,"tool_choice":%s,"tools":%s,"top_logprobs":0,"top_p":%s,"truncation":%s,"usage":%s,"user":%s,"metadata":%s}`,
		t.ID("resp_"), t.Now.Unix(), o.status, t.Request.Background, o.error, o.incomplete, t.told("instructions", "null"), t.told("max_output_tokens", "null"), t.Request.Model, raw(output),
		t.told("parallel_tool_calls", "true"), orNull(t.Request.Previous), t.told("reasoning", `{"effort":null,"summary":null}`), t.tier(), t.Request.Keep != nil, t.told("temperature", "1.0"),
		t.told("text", `{"format":{"type":"text"},"verbosity":"medium"}`), t.told("tool_choice", `"auto"`), t.told("tools", "[]"), t.told("top_p", "1.0"), t.told("truncation", `"disabled"`), use,
		t.told("user", "null"), t.told("metadata", "{}"))
}

// told returns a setting as the request has it, or its default.
func (t *Turn) told(name, otherwise string) raw {
	if text, ok := t.Request.Settings[name]; ok {
		return raw(text)
	}
	return raw(otherwise)
}

// queued writes a response that is to be fetched later.
func (t *Turn) queued() raw {
	return t.response(outcome{"queued", raw("null"), raw("null")}, []byte("[]"), raw("null"))
}

func responsesUsage(u Usage) raw {
	return fill(`{"input_tokens":%s,"input_tokens_details":{"cached_tokens":%s%s},"output_tokens":%s,"output_tokens_details":{"reasoning_tokens":%s},"total_tokens":%s}`,
		u.In, u.Cached, stored(u), u.Out, u.Reasoning, u.In+u.Out)
}

// itemIDs are the identifiers of an item.
type itemIDs struct{ id, call string }

// placed returns the identifiers of the next item, for a part.
func (n *numbered) placed(p Part) itemIDs {
	switch p.Kind {
	case CallPart:
		return itemIDs{n.next("fc_"), n.call(p, "call_")}
	case ThoughtPart:
		return itemIDs{id: n.next("rs_")}
	case OwnPart:
		var own struct{ ID string }
		_ = json.Unmarshal(p.Own, &own) // an item without one has no pieces
		return itemIDs{id: own.ID}
	}
	return itemIDs{id: n.next("msg_")}
}

// item writes an item of the output.
func (t *Turn) item(p Part, at itemIDs, status string) raw {
	switch p.Kind {
	case CallPart:
		return fill(`{"id":%s,"type":"function_call","status":%s,"arguments":%s,"call_id":%s,"name":%s}`, at.id, status, p.Text, at.call, p.Name)
	case ThoughtPart:
		return reasoningItem(p, at)
	case OwnPart:
		return raw(p.Own)
	}
	return messageItem(at, status, t.part(p.Text))
}

// messageItem is what the model says, in parts.
func messageItem(at itemIDs, status string, parts []byte) raw {
	return fill(`{"id":%s,"type":"message","status":%s,"content":[%s],"role":"assistant"}`, at.id, status, raw(parts))
}

// part is the one part of a message: a text or a refusal.
func (t *Turn) part(text string) raw {
	if t.Finish == FinishRefusal {
		return fill(`{"type":"refusal","refusal":%s}`, text)
	}
	return fill(`{"type":"output_text","annotations":[],"logprobs":%s,"text":%s}`, t.outputLogprobs(text), text)
}

// outputLogprobs writes the probabilities of the tokens of a text, if they are wanted.
func (t *Turn) outputLogprobs(text string) raw {
	if !t.Request.Logprobs {
		return raw("[]")
	}
	return t.logprobs(text)
}

// reasoningItem is the item of a thought, with its text as a summary.
func reasoningItem(p Part, at itemIDs) raw {
	parts, sealed := []byte("[]"), raw("")
	if p.Text != "" {
		parts = fill("[%s]", summaryPart(p.Text))
	}
	if p.Sign != "" {
		sealed = fill(`,"encrypted_content":%s`, p.Sign)
	}
	return fill(`{"id":%s,"type":"reasoning","content":[],"summary":%s%s}`, at.id, raw(parts), sealed)
}

// summed reports whether a part has the summary of a thought.
func (p Part) summed() bool { return p.Kind != TextPart && p.Kind != CallPart && p.Text != "" }

func summaryPart(text string) raw { return fill(`{"type":"summary_text","text":%s}`, text) }

// output is the list of items. The last one may be incomplete.
func (t *Turn) output(o outcome, parts []Part) []byte {
	if o.status == "failed" {
		return []byte("[]")
	}
	var items [][]byte
	ids := t.numbered()
	for i, p := range parts {
		status := o.status
		if i < len(parts)-1 {
			status = "completed"
		}
		items = append(items, t.item(p, ids.placed(p), status))
	}
	return list(items)
}

// Whole writes a response; one in the background is queued.
func (Responses) Whole(t *Turn) []byte {
	if t.Request.Background {
		return t.queued()
	}
	o := t.outcome()
	return t.response(o, t.output(o, t.Parts), responsesUsage(t.Usage))
}

// Events writes the response at its beginning, its items, and the response at its end.
func (Responses) Events(t *Turn) []Event {
	return streamOf(&responsesStream{t: t, ids: t.numbered(), ending: true}, t.Parts)
}

// Stream writes the events of a response.
func (Responses) Stream(t *Turn) Stream {
	return &responsesEnd{live{streamSteps: &responsesStream{t: t, ids: t.numbered()}}}
}

// responsesEnd is a stream whose last item hears of the end.
type responsesEnd struct{ live }

// End writes the end.
func (s *responsesEnd) End() []Event {
	s.streamSteps.(*responsesStream).ending = true
	return s.live.End()
}

// responsesStream writes the events of a response.
type responsesStream struct {
	t      *Turn
	ids    *numbered
	events int
	ending bool    // it is known how the response ends
	parts  []Part  // that are complete
	at     itemIDs // of the item that is open
}

func (s *responsesStream) event(e Event, name, members string, args ...any) Event {
	args = append([]any{name}, append(args, s.events)...)
	e.Data = namedData(name, fill(`{"type":%s,`+members+`,"sequence_number":%s}`, args...))
	s.events++
	return e
}

func (s *responsesStream) start() []Event {
	begun := s.t.response(outcome{"in_progress", raw("null"), raw("null")}, []byte("[]"), raw("null"))
	return []Event{
		s.event(Event{}, "response.created", `"response":%s`, begun),
		s.event(Event{}, "response.in_progress", `"response":%s`, begun),
	}
}

// Where the summary of a thought and the content of a message are.
const (
	summaryPlace = `"item_id":%s,"output_index":%s,"summary_index":0,`
	contentPlace = `"content_index":0,"item_id":%s,"output_index":%s,`
)

func (s *responsesStream) open(p Part) []Event {
	s.at = s.ids.placed(p)
	begun := p
	begun.Text = ""
	item := s.t.item(begun, s.at, "in_progress")
	if p.Kind == TextPart {
		item = messageItem(s.at, "in_progress", nil)
	}
	index := len(s.parts)
	out := []Event{s.event(Event{}, "response.output_item.added", `"item":%s,"output_index":%s`, item, index)}
	switch {
	case p.Kind == TextPart:
		out = append(out, s.event(Event{}, "response.content_part.added", contentPlace+`"part":%s`, s.at.id, index, s.t.part("")))
	case p.summed():
		out = append(out, s.event(Event{}, "response.reasoning_summary_part.added", summaryPlace+`"part":%s`, s.at.id, index, summaryPart("")))
	}
	return out
}

func (s *responsesStream) piece(p Part, text string) []Event {
	id, index := s.at.id, len(s.parts)
	switch {
	case p.Kind == CallPart:
		return []Event{s.event(Event{Content: true}, "response.function_call_arguments.delta", `"delta":%s,"item_id":%s,"output_index":%s`, text, id, index)}
	case p.summed():
		return []Event{s.event(Event{}, "response.reasoning_summary_text.delta", summaryPlace+`"delta":%s`, id, index, text)}
	case s.t.Finish == FinishRefusal:
		return []Event{s.event(Event{Content: true}, "response.refusal.delta", contentPlace+`"delta":%s`, id, index, text)}
	}
	return []Event{s.event(Event{Content: true}, "response.output_text.delta", contentPlace+`"delta":%s,"logprobs":%s`, id, index, text, s.t.outputLogprobs(text))}
}

func (s *responsesStream) close(p Part) []Event {
	var out []Event
	add := func(name, members string, args ...any) { out = append(out, s.event(Event{}, name, members, args...)) }
	id, index := s.at.id, len(s.parts)
	switch {
	case p.Kind == CallPart:
		add("response.function_call_arguments.done", `"arguments":%s,"item_id":%s,"output_index":%s`, p.Text, id, index)
	case p.summed():
		add("response.reasoning_summary_text.done", summaryPlace+`"text":%s`, id, index, p.Text)
		add("response.reasoning_summary_part.done", summaryPlace+`"part":%s`, id, index, summaryPart(p.Text))
	case p.Kind == TextPart:
		if s.t.Finish == FinishRefusal {
			add("response.refusal.done", contentPlace+`"refusal":%s`, id, index, p.Text)
		} else {
			add("response.output_text.done", contentPlace+`"logprobs":[],"text":%s`, id, index, p.Text)
		}
		add("response.content_part.done", contentPlace+`"part":%s`, id, index, s.t.part(p.Text))
	}
	status := "completed"
	if s.ending {
		status = s.t.outcome().status
	}
	add("response.output_item.done", `"item":%s,"output_index":%s`, s.t.item(p, s.at, status), index)
	s.parts = append(s.parts, p)
	return out
}

func (s *responsesStream) end() []Event {
	o := s.t.outcome()
	if o.status == "in_progress" {
		o.status = "completed" // for an unfinished answer this event is not sent
	}
	return []Event{s.event(Event{Last: true}, "response."+o.status, `"response":%s`, s.t.response(o, s.t.output(o, s.parts), responsesUsage(s.t.Usage)))}
}

// ErrorEvents writes the events of a failed response: an error, whose object is that of
// chat completions and not that of the reference
// (github.com/openai/openai-dotnet/issues/881), and the response, failed.
func (Responses) ErrorEvents(body []byte, n int, t *Turn) [][]byte {
	object, _ := errorObject(body)
	o := outcome{"failed", raw("null"), fill(`{"code":%s,"message":%s}`, object.Code, object.Message)}
	return [][]byte{
		namedData("error", fill(`{"type":"error","sequence_number":%s,"error":%s}`, n, object.raw)),
		namedData("response.failed", fill(`{"type":"response.failed","response":%s,"sequence_number":%s}`, t.response(o, []byte("[]"), raw("null")), n+1)),
	}
}
