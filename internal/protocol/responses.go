package protocol

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
		o.status = "in_progress"
	}
	if reason != "" {
		o.status, o.incomplete = "incomplete", fill(`{"reason":%s}`, reason)
	}
	return o
}

// response writes the response in a given state.
func (t *Turn) response(o outcome, output []byte, use raw) raw {
	return fill(`{"id":%s,"object":"response","created_at":%s,"status":%s,"background":%s,"error":%s,"incomplete_details":%s,"instructions":null,"max_output_tokens":null,"model":%s,"output":%s,"parallel_tool_calls":true,"previous_response_id":%s,"reasoning":{"effort":null,"summary":null},"service_tier":"default","store":%s,"temperature":1.0,"text":{"format":{"type":"text"},"verbosity":"medium"},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled","usage":%s,"user":null,"metadata":{}}`,
		t.ID("resp_"), t.Now.Unix(), o.status, t.Request.Background, o.error, o.incomplete, t.Request.Model, raw(output),
		orNull(t.Request.Previous), t.Request.Keep != nil, use)
}

// queued writes a response that is to be fetched later.
func (t *Turn) queued() raw {
	return t.response(outcome{"queued", raw("null"), raw("null")}, []byte("[]"), raw("null"))
}

func responsesUsage(u Usage) raw {
	return fill(`{"input_tokens":%s,"input_tokens_details":{"cached_tokens":%s},"output_tokens":%s,"output_tokens_details":{"reasoning_tokens":%s},"total_tokens":%s}`,
		u.In, u.Cached, u.Out, u.Reasoning, u.In+u.Out)
}

// functionItem is a call of a tool.
func (t *Turn) functionItem(status, arguments string) raw {
	return fill(`{"id":%s,"type":"function_call","status":%s,"arguments":%s,"call_id":%s,"name":%s}`, t.ID("fc_"), status, arguments, t.ID("call_"), t.Tool)
}

// messageItem is what the model says, in parts.
func (t *Turn) messageItem(status string, parts []byte) raw {
	return fill(`{"id":%s,"type":"message","status":%s,"content":[%s],"role":"assistant"}`, t.ID("msg_"), status, raw(parts))
}

// part is the one part of a message: a text or a refusal.
func (t *Turn) part(text string) raw {
	if t.Finish == FinishRefusal {
		return fill(`{"type":"refusal","refusal":%s}`, text)
	}
	return fill(`{"type":"output_text","annotations":[],"logprobs":%s,"text":%s}`, t.outputLogprobs(chunks(text)...), text)
}

// outputLogprobs writes the probabilities of the tokens in parts of the text, if they are
// wanted.
func (t *Turn) outputLogprobs(parts ...string) raw {
	if !t.Request.Logprobs {
		return raw("[]")
	}
	return t.logprobs(parts)
}

// item returns the one item of the output, complete; it is empty if the model says
// nothing.
func (t *Turn) item(status string) []byte {
	switch {
	case t.Tool != "":
		return t.functionItem(status, t.Text)
	case t.Text == "":
		return nil
	}
	return t.messageItem(status, t.part(t.Text))
}

// reasoningItem is the item before the answer of a model that reasoned, with the summary
// that the request wants; nil for other models.
func (t *Turn) reasoningItem(summary string) []byte {
	if t.Usage.Reasoning == 0 && t.Thought == "" {
		return nil
	}
	parts, sealed := []byte("[]"), raw("")
	if summary != "" {
		parts = fill("[%s]", summaryPart(summary))
	}
	if t.Request.Encrypted {
		sealed = fill(`,"encrypted_content":%s`, t.seal())
	}
	return fill(`{"id":%s,"type":"reasoning","content":[],"summary":%s%s}`, t.ID("rs_"), raw(parts), sealed)
}

func summaryPart(text string) raw { return fill(`{"type":"summary_text","text":%s}`, text) }

// output is the list of items.
func (t *Turn) output(o outcome) []byte {
	var items [][]byte
	for _, item := range [][]byte{t.reasoningItem(t.Thought), t.item(o.status)} {
		if item != nil && o.status != "failed" {
			items = append(items, item)
		}
	}
	return list(items)
}

// Whole writes a response; one in the background is queued.
func (Responses) Whole(t *Turn) []byte {
	if t.Request.Background {
		return t.queued()
	}
	o := t.outcome()
	return t.response(o, t.output(o), responsesUsage(t.Usage))
}

// Events writes the response at its beginning, its items, and the response at its end.
func (Responses) Events(t *Turn) []Event {
	var out []Event
	add := func(e Event, name, members string, args ...any) {
		args = append([]any{name}, append(args, len(out))...)
		e.Data = namedData(name, fill(`{"type":%s,`+members+`,"sequence_number":%s}`, args...))
		out = append(out, e)
	}
	begun := t.response(outcome{"in_progress", raw("null"), raw("null")}, []byte("[]"), raw("null"))
	add(Event{}, "response.created", `"response":%s`, begun)
	add(Event{}, "response.in_progress", `"response":%s`, begun)
	index := 0
	if thought := t.reasoningItem(t.Thought); thought != nil {
		add(Event{}, "response.output_item.added", `"item":%s,"output_index":0`, raw(t.reasoningItem("")))
		t.summaryEvents(add)
		add(Event{}, "response.output_item.done", `"item":%s,"output_index":0`, raw(thought))
		index++
	}
	o := t.outcome()
	if whole := t.item(o.status); whole != nil {
		if t.Tool != "" {
			t.functionEvents(add, index)
		} else {
			t.messageEvents(add, index)
		}
		add(Event{}, "response.output_item.done", `"item":%s,"output_index":%s`, raw(whole), index)
	}
	if o.status == "in_progress" {
		o.status = "completed" // for an unfinished answer this event is not sent
	}
	add(Event{Last: true}, "response."+o.status, `"response":%s`, t.response(o, t.output(o), responsesUsage(t.Usage)))
	return out
}

type addEvent func(e Event, name, members string, args ...any)

func (t *Turn) summaryEvents(add addEvent) {
	if t.Thought == "" {
		return
	}
	id := t.ID("rs_")
	const place = `"item_id":%s,"output_index":0,"summary_index":0,`
	add(Event{}, "response.reasoning_summary_part.added", place+`"part":%s`, id, summaryPart(""))
	for _, part := range chunks(t.Thought) {
		add(Event{}, "response.reasoning_summary_text.delta", place+`"delta":%s`, id, part)
	}
	add(Event{}, "response.reasoning_summary_text.done", place+`"text":%s`, id, t.Thought)
	add(Event{}, "response.reasoning_summary_part.done", place+`"part":%s`, id, summaryPart(t.Thought))
}

func (t *Turn) functionEvents(add addEvent, index int) {
	id := t.ID("fc_")
	add(Event{}, "response.output_item.added", `"item":%s,"output_index":%s`, t.functionItem("in_progress", ""), index)
	for _, part := range chunks(t.Text) {
		add(Event{Content: true}, "response.function_call_arguments.delta", `"delta":%s,"item_id":%s,"output_index":%s`, part, id, index)
	}
	add(Event{}, "response.function_call_arguments.done", `"arguments":%s,"item_id":%s,"output_index":%s`, t.Text, id, index)
}

func (t *Turn) messageEvents(add addEvent, index int) {
	id := t.ID("msg_")
	name, place := "response.output_text", `"content_index":0,"item_id":%s,"output_index":%s,`
	delta, done := place+`"delta":%s`, place+`"logprobs":[],"text":%s`
	if t.Finish == FinishRefusal {
		name, done = "response.refusal", place+`"refusal":%s`
	}
	add(Event{}, "response.output_item.added", `"item":%s,"output_index":%s`, t.messageItem("in_progress", nil), index)
	add(Event{}, "response.content_part.added", place+`"part":%s`, id, index, t.part(""))
	for _, part := range chunks(t.Text) {
		if t.Finish == FinishRefusal {
			add(Event{Content: true}, name+".delta", delta, id, index, part)
			continue
		}
		add(Event{Content: true}, name+".delta", delta+`,"logprobs":%s`, id, index, part, t.outputLogprobs(part))
	}
	add(Event{}, name+".done", done, id, index, t.Text)
	add(Event{}, "response.content_part.done", place+`"part":%s`, id, index, t.part(t.Text))
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
