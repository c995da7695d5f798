package body

import (
	"encoding/json"
	"strings"

	"llmcall/llm"
)

// chat reads the body of a chat completion's request.
func chat(o *object, b *Body) error {
	if err := model(o, b); err != nil {
		return err
	}
	if err := each(o, b, temperature, streamed, limit("max_tokens"), limit("max_completion_tokens"), seed, stop("stop"),
		refused("logprobs", noProbabilities, "false"), refused("top_logprobs", noProbabilities, "0"),
		refused("n", "a request has one answer; repeat it for more", "1"),
		refused("modalities", "an answer is a text", `["text"]`), refused("audio", "an answer is a text"),
		refused("functions", "OpenAI replaced it by tools and tool_choice"), refused("function_call", "OpenAI replaced it by tools and tool_choice"),
		chatFormat, chatTools, toolChoice); err != nil {
		return err
	}
	n := o.take("messages")
	var t talk
	if err := chatMessages(n, &t); err != nil {
		return err
	}
	b.Request.Messages, b.at = t.messages, t.at
	return nil
}

func chatFormat(o *object, b *Body) error {
	given := o.take("response_format")
	if given.missing() {
		return nil
	}
	return b.within(o.r, "response_format", given.raw, func() error {
		format, err := given.object()
		if err != nil {
			return err
		}
		kind := format.take("type")
		switch string(kind.raw) {
		case `"text"`:
		case `"json_object"`:
			b.anyJSON(o.r, "response_format", given)
		case `"json_schema"`:
			within, err := format.take("json_schema").object()
			if err != nil {
				return err
			}
			if b.Request.Schema, err = schema(within); err != nil {
				return err
			}
		default:
			return kind.wants(`"text", "json_object" or "json_schema"`)
		}
		return format.done("type", "json_schema")
	})
}

// anyJSON notes that JSON of any form is asked for, in a field of the rest.
func (b *Body) anyJSON(r *reader, name string, n node) {
	b.json, b.covered[name] = true, true
	b.path["json"] = n.path
	b.keep(r, name, n.raw)
}

func chatTools(o *object, b *Body) error {
	return tools(o, b, func(n node) (llm.Tool, error) {
		var made llm.Tool
		tool, err := n.object()
		if err != nil {
			return made, err
		}
		if kind := tool.take("type"); string(kind.raw) != `"function"` {
			return made, kind.wants(hosted)
		}
		within, err := tool.take("function").object()
		if err != nil {
			return made, err
		}
		if made, err = function(within); err != nil {
			return made, err
		}
		return made, tool.done("type", "function")
	})
}

// chatMessages reads a list of messages.
func chatMessages(n node, t *talk) error {
	list, err := n.list()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return n.bad("must have at least one message, got none")
	}
	for _, n := range list {
		if err := n.r.soft(chatMessage(n, t)); err != nil {
			return err
		}
	}
	t.end()
	return n.r.soft(conversation(n, t.messages))
}

var roles = map[string]llm.Role{
	"system": llm.RoleSystem, "developer": llm.RoleSystem, "user": llm.RoleUser, "assistant": llm.RoleAssistant, "tool": llm.RoleTool,
}

// role takes the role of a message.
func role(o *object) (llm.Role, error) {
	n := o.take("role")
	if is, ok := roles[strings.Trim(string(n.raw), `"`)]; ok && n.isText() {
		return is, nil
	}
	return "", n.wants("system, developer, user, assistant or tool")
}

func chatMessage(n node, t *talk) error {
	o, err := n.object()
	if err != nil {
		return err
	}
	is, err := role(o)
	if err != nil {
		return err
	}
	if raw, ours := o.fields["parts"]; ours && !n.r.lenient {
		return ownMessage(n, is, raw, t)
	}
	before := len(n.r.lost)
	content := o.take("content")
	if n.r.lenient {
		o.drop("name", "is the name of who speaks, which the request has no field for")
	}
	if is == llm.RoleTool {
		return toolMessage(o, content, t)
	}
	var parts []placed
	if is == llm.RoleAssistant && n.r.lenient {
		parts = chatReasoning(o)
		o.drop("annotations", "of an earlier answer")
		o.forget("parsed") // of OpenAI's SDKs
	}
	switch {
	case content.isText():
		text, err := content.text()
		if err != nil {
			return err
		}
		parts = append(parts, placed{llm.Text(text), content.path})
	case !content.missing():
		read, err := partsOf(content, chatPart)
		if err != nil {
			return err
		}
		parts = append(parts, read...)
	case is != llm.RoleAssistant:
		return content.wants("a string or a list of parts")
	}
	refusal := o.take("refusal")
	if text, err := refusal.optional(); err != nil {
		return err
	} else if text != "" {
		parts = append(parts, placed{llm.Text(text), refusal.path})
	}
	if is == llm.RoleAssistant {
		calls, err := chatCalls(o.take("tool_calls"))
		if err != nil {
			return err
		}
		parts = append(parts, calls...)
	}
	if len(parts) == 0 && len(n.r.lost) == before {
		return content.wants("a string or a list of parts")
	}
	if err := o.done("role", "content", "tool_calls", "tool_call_id", "parts"); err != nil {
		return err
	}
	t.say(is, parts...)
	return nil
}

// reasoningFields are the fields in which servers of the protocol show a model's reasoning,
// and take it back. OpenAI has none.
var reasoningFields = []string{"reasoning_details", "reasoning_content", "reasoning"}

// chatReasoning takes a model's reasoning, in the form in which the adapter of the protocol
// keeps it.
func chatReasoning(o *object) []placed {
	var all []placed
	for _, name := range reasoningFields {
		n := o.take(name)
		if n.empty() || len(all) > 0 { // a server that sends several says the same in all of them
			continue
		}
		data, _ := json.Marshal(map[string]json.RawMessage{name: n.raw}) // can't fail: it was read
		all = append(all, placed{llm.Reasoning{Provider: chatName, Data: data}, n.path})
	}
	return all
}

// ownMessage reads a message as llmcall writes it.
func ownMessage(n node, is llm.Role, parts json.RawMessage, t *talk) error {
	if present(parts) == nil {
		return node{n.r, n.path + ".parts", nil}.wants("a list of parts")
	}
	var m llm.Message
	if err := json.Unmarshal(n.raw, &m); err != nil {
		return n.bad("is not a message as llmcall writes it: %s", strings.TrimPrefix(err.Error(), "llm: "))
	}
	m.Role = is
	t.messages = append(t.messages, m)
	return nil
}

func toolMessage(o *object, content node, t *talk) error {
	id, err := o.take("tool_call_id").text()
	if err != nil {
		return err
	}
	id, _ = o.r.unsigned(id)
	text, err := t.result(content, chatPart, "text")
	if err != nil {
		return err
	}
	if err := o.done("role", "content", "tool_call_id"); err != nil {
		return err
	}
	t.say(llm.RoleTool, placed{llm.ToolResult{CallID: id, Content: text}, o.path})
	return nil
}

// partsOf reads a list of parts, each by read.
func partsOf(content node, read func(node) (llm.Part, error)) ([]placed, error) {
	list, err := content.list()
	if err != nil {
		return nil, content.wants("a string or a list of parts")
	}
	var parts []placed
	for _, n := range list {
		part, err := read(n)
		if err != nil {
			if err = n.r.soft(err); err != nil {
				return nil, err
			}
			continue
		}
		parts = append(parts, placed{part, n.path})
	}
	return parts, nil
}

func chatPart(n node) (llm.Part, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	kind := o.take("type")
	var part llm.Part
	switch string(kind.raw) {
	case `"text"`:
		part, err = textPart(o, "text")
	case `"refusal"`:
		part, err = textPart(o, "refusal")
	case `"image_url"`:
		part, err = chatImage(o)
	case `"input_audio"`:
		part, err = chatAudio(o)
	case `"file"`:
		within, e := o.take("file").object()
		if e != nil {
			return nil, e
		}
		if part, err = file(within); err == nil {
			within.noted("filename", "file_data", "file_url", "file_id")
		}
	default:
		return nil, kind.wants("text, image_url, input_audio or file")
	}
	if err != nil {
		return nil, err
	}
	o.drop("cache_control", uncached)
	return part, o.done("type", "text", "image_url", "input_audio", "file")
}

func textPart(o *object, field string) (llm.Part, error) {
	text, err := o.take(field).text()
	return llm.Text(text), err
}

func chatImage(o *object) (llm.Part, error) {
	n := o.take("image_url")
	if n.isText() { // some servers take it so
		return image(n)
	}
	within, err := n.object()
	if err != nil {
		return nil, err
	}
	detail, err := within.detail()
	if err != nil {
		return nil, err
	}
	picture, err := image(within.take("url"))
	if err != nil {
		return nil, err
	}
	picture.Detail = detail
	return picture, within.done("url", "detail")
}

func image(n node) (llm.Image, error) {
	mediaType, data, url, err := n.address()
	return llm.Image{MediaType: mediaType, Data: data, URL: url}, err
}

func chatAudio(o *object) (llm.Part, error) {
	within, err := o.take("input_audio").object()
	if err != nil {
		return nil, err
	}
	format, err := within.take("format").text()
	if err != nil {
		return nil, err
	}
	_, data, err := within.take("data").data()
	if err != nil {
		return nil, err
	}
	if format == "mp3" {
		format = "mpeg"
	}
	return llm.Audio{MediaType: "audio/" + format, Data: data}, within.done("data", "format")
}

// file reads a document.
func file(o *object) (llm.Part, error) {
	name, err := o.take("filename").optional()
	if err != nil {
		return nil, err
	}
	if n := o.take("file_id"); !n.missing() {
		return nil, n.cannot("it names a file that was uploaded to OpenAI, and no other provider has it; give its content (file_data)")
	}
	part := llm.Document{Name: name}
	if n := o.take("file_url"); !n.missing() {
		if part.MediaType, part.Data, part.URL, err = n.address(); err != nil {
			return nil, err
		}
	} else if part.MediaType, part.Data, err = o.take("file_data").data(); err != nil {
		return nil, err
	}
	if part.MediaType == "" && part.URL == "" {
		part.MediaType = "application/pdf"
	}
	return part, nil
}

func chatCalls(n node) ([]placed, error) {
	if n.missing() {
		return nil, nil
	}
	list, err := n.list()
	if err != nil {
		return nil, err
	}
	var calls []placed
	for _, n := range list {
		call, err := chatCall(n)
		if err != nil {
			if err = n.r.soft(err); err != nil {
				return nil, err
			}
			continue
		}
		calls = append(calls, placed{call, n.path})
	}
	return calls, nil
}

func chatCall(n node) (llm.Part, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	id := o.take("id")
	if kind := o.take("type"); !kind.missing() && string(kind.raw) != `"function"` {
		return nil, kind.wants(`"function"`)
	}
	within, err := o.take("function").object()
	if err != nil {
		return nil, err
	}
	call, err := calledFunction(id, within)
	if err != nil {
		return nil, err
	}
	within.forget("parsed_arguments") // of OpenAI's SDKs
	within.noted("name", "arguments")
	o.take("index") // of an answer that was streamed
	o.noted("id", "type", "function")
	return call, nil
}
