package chaos

import "bytes"

// responsesFace is OpenAI's Responses
// (platform.openai.com/docs/api-reference/responses/object and
// .../responses-streaming).
type responsesFace struct{ openaiFace }

// outcome is a response's status, and what it says of it.
type outcome struct {
	status            string
	incomplete, error raw
}

// outcome says how the response ends. Fault.Finish may be a reason to be
// incomplete, or "failed".
func (t *turn) outcome() outcome {
	o := outcome{"completed", raw("null"), raw("null")}
	reason := map[finish]string{finishLength: "max_output_tokens", finishFilter: "content_filter"}[t.finish]
	switch {
	case t.native == "failed":
		return outcome{"failed", raw("null"), fill(`{"code":"server_error","message":"The model failed to generate a response."}`)}
	case t.native != "" && t.native != "completed":
		reason = t.native
	case t.native == "" && t.finish == finishNone:
		o.status = "in_progress"
	}
	if reason != "" {
		o.status, o.incomplete = "incomplete", fill(`{"reason":%s}`, reason)
	}
	return o
}

// response writes the response as it is at one time.
func (t *turn) response(o outcome, output []byte, use raw) raw {
	return fill(`{"id":%s,"object":"response","created_at":%s,"status":%s,"background":false,"error":%s,"incomplete_details":%s,"instructions":null,"max_output_tokens":null,"model":%s,"output":%s,"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"service_tier":"default","store":false,"temperature":1.0,"text":{"format":{"type":"text"},"verbosity":"medium"},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled","usage":%s,"user":null,"metadata":{}}`,
		t.id.id("resp_"), t.now.Unix(), o.status, o.error, o.incomplete, t.req.model, raw(output), use)
}

func responsesUsage(u usage) raw {
	return fill(`{"input_tokens":%s,"input_tokens_details":{"cached_tokens":%s},"output_tokens":%s,"output_tokens_details":{"reasoning_tokens":%s},"total_tokens":%s}`,
		u.in, u.cached, u.out, u.reasoning, u.in+u.out)
}

// functionItem is a call of a tool.
func (t *turn) functionItem(status, arguments string) raw {
	return fill(`{"id":%s,"type":"function_call","status":%s,"arguments":%s,"call_id":%s,"name":%s}`, t.id.id("fc_"), status, arguments, t.id.id("call_"), t.tool)
}

// messageItem is what the model says, in parts.
func (t *turn) messageItem(status string, parts []byte) raw {
	return fill(`{"id":%s,"type":"message","status":%s,"content":[%s],"role":"assistant"}`, t.id.id("msg_"), status, raw(parts))
}

// part is the one part of a message: a text or a refusal.
func (t *turn) part(text string) raw {
	if t.finish == finishRefusal {
		return fill(`{"type":"refusal","refusal":%s}`, text)
	}
	return fill(`{"type":"output_text","annotations":[],"logprobs":[],"text":%s}`, text)
}

// item is the one item of the output, whole, and empty where the model says
// nothing.
func (t *turn) item(status string) []byte {
	switch {
	case t.tool != "":
		return t.functionItem(status, t.text)
	case t.text == "":
		return nil
	}
	return t.messageItem(status, t.part(t.text))
}

// reasoningItem stands before the answer where the model thought first; nil
// where it did not. What it thought is not shown.
func (t *turn) reasoningItem() []byte {
	if t.use.reasoning == 0 {
		return nil
	}
	return fill(`{"id":%s,"type":"reasoning","content":[],"summary":[]}`, t.id.id("rs_"))
}

// output is the list of items.
func (t *turn) output(o outcome) []byte {
	var items [][]byte
	for _, item := range [][]byte{t.reasoningItem(), t.item(o.status)} {
		if item != nil && o.status != "failed" {
			items = append(items, item)
		}
	}
	return fill("[%s]", raw(bytes.Join(items, []byte(","))))
}

func (responsesFace) whole(t *turn) []byte {
	o := t.outcome()
	return t.response(o, t.output(o), responsesUsage(t.use))
}

func (responsesFace) events(t *turn) []event {
	var out []event
	add := func(e event, name, members string, args ...any) {
		args = append([]any{name}, append(args, len(out))...)
		e.data = namedData(name, fill(`{"type":%s,`+members+`,"sequence_number":%s}`, args...))
		out = append(out, e)
	}
	begun := t.response(outcome{"in_progress", raw("null"), raw("null")}, []byte("[]"), raw("null"))
	add(event{}, "response.created", `"response":%s`, begun)
	add(event{}, "response.in_progress", `"response":%s`, begun)
	index := 0
	if thought := t.reasoningItem(); thought != nil {
		add(event{}, "response.output_item.added", `"item":%s,"output_index":0`, raw(thought))
		add(event{}, "response.output_item.done", `"item":%s,"output_index":0`, raw(thought))
		index++
	}
	o := t.outcome()
	if whole := t.item(o.status); whole != nil {
		if t.tool != "" {
			t.functionEvents(add, index)
		} else {
			t.messageEvents(add, index)
		}
		add(event{}, "response.output_item.done", `"item":%s,"output_index":%s`, raw(whole), index)
	}
	if o.status == "in_progress" {
		o.status = "completed" // unfinished, this event is not sent
	}
	add(event{last: true}, "response."+o.status, `"response":%s`, t.response(o, t.output(o), responsesUsage(t.use)))
	return out
}

type addEvent func(e event, name, members string, args ...any)

func (t *turn) functionEvents(add addEvent, index int) {
	id := t.id.id("fc_")
	add(event{}, "response.output_item.added", `"item":%s,"output_index":%s`, t.functionItem("in_progress", ""), index)
	for _, part := range chunks(t.text) {
		add(event{content: true}, "response.function_call_arguments.delta", `"delta":%s,"item_id":%s,"output_index":%s`, part, id, index)
	}
	add(event{}, "response.function_call_arguments.done", `"arguments":%s,"item_id":%s,"output_index":%s`, t.text, id, index)
}

func (t *turn) messageEvents(add addEvent, index int) {
	id := t.id.id("msg_")
	name, place := "response.output_text", `"content_index":0,"item_id":%s,"output_index":%s,`
	delta, done := place+`"delta":%s,"logprobs":[]`, place+`"logprobs":[],"text":%s`
	if t.finish == finishRefusal {
		name, delta, done = "response.refusal", place+`"delta":%s`, place+`"refusal":%s`
	}
	add(event{}, "response.output_item.added", `"item":%s,"output_index":%s`, t.messageItem("in_progress", nil), index)
	add(event{}, "response.content_part.added", place+`"part":%s`, id, index, t.part(""))
	for _, part := range chunks(t.text) {
		add(event{content: true}, name+".delta", delta, id, index, part)
	}
	add(event{}, name+".done", done, id, index, t.text)
	add(event{}, "response.content_part.done", place+`"part":%s`, id, index, t.part(t.text))
}

// errorEvents writes what a response sends that fails: an error, which holds
// the error object as chat completions have it and not as the reference says
// (github.com/openai/openai-dotnet/issues/881), and the response, failed.
func (responsesFace) errorEvents(body []byte, n int, t *turn) [][]byte {
	object, _ := errorObject(body)
	o := outcome{"failed", raw("null"), fill(`{"code":%s,"message":%s}`, object.Code, object.Message)}
	return [][]byte{
		namedData("error", fill(`{"type":"error","sequence_number":%s,"error":%s}`, n, object.raw)),
		namedData("response.failed", fill(`{"type":"response.failed","response":%s,"sequence_number":%s}`, t.response(o, []byte("[]"), raw("null")), n+1)),
	}
}
