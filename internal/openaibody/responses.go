package openaibody

import (
	"encoding/json"

	"llmcall/llm"
)

// Responses reads the body of a response's request. The error is an *[Error].
func Responses(text []byte) (*Body, error) {
	root, err := open(text, "")
	if err != nil {
		return nil, err
	}
	o, err := root.object()
	if err != nil {
		return nil, err
	}
	b := &Body{Request: &llm.Request{}}
	for _, take := range []func(*object, *Body) error{settings, responsesSettings, responsesFormat, responsesTools, responsesConversation} {
		if err := take(o, b); err != nil {
			return nil, err
		}
	}
	return b, rest(o, b.Request)
}

func responsesSettings(o *object, b *Body) error {
	if err := tokens(o.take("max_output_tokens"), b.Request); err != nil {
		return err
	}
	background := o.take("background")
	if is, err := background.flag(); err != nil || is {
		return cmpErr(err, background.cannot("an answer is waited for"))
	}
	for from, to := range map[string]string{"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"} {
		if n := o.take(from); !n.missing() {
			return n.bad("is of chat completions; in responses it is %s", to)
		}
	}
	return nil
}

func responsesFormat(o *object, b *Body) error {
	given := o.take("text")
	if given.missing() {
		return nil
	}
	text, err := given.object()
	if err != nil {
		return err
	}
	if n := text.take("format"); !n.missing() {
		format, err := n.object()
		if err != nil {
			return err
		}
		kind := format.take("type")
		switch string(kind.raw) {
		case `"text"`:
		case `"json_object"`:
			withExtra(b.Request, "text", given.raw)
		case `"json_schema"`:
			if b.Request.Schema, err = schema(format); err != nil {
				return err
			}
		default:
			return kind.wants(`"text", "json_object" or "json_schema"`)
		}
	}
	if len(text.fields) > 0 { // the verbosity: it is beside the format, which Extra would replace
		withExtra(b.Request, "text", given.raw)
	}
	return nil
}

func responsesTools(o *object, b *Body) error {
	if n := o.take("tools"); !n.missing() {
		tools, err := n.list()
		if err != nil {
			return err
		}
		for _, n := range tools {
			tool, err := n.object()
			if err != nil {
				return err
			}
			if kind := tool.take("type"); string(kind.raw) != `"function"` {
				return kind.wants(`"function": other tools are run by OpenAI`)
			}
			made, err := function(tool)
			if err != nil {
				return err
			}
			b.Request.Tools = append(b.Request.Tools, made)
		}
	}
	return toolChoice(o, b.Request)
}

func responsesConversation(o *object, b *Body) error {
	instructions, err := o.take("instructions").optional()
	if err != nil {
		return err
	}
	var messages []llm.Message
	if instructions != "" {
		messages = append(messages, llm.System(instructions))
	}
	input := o.take("input")
	if input.isText() {
		text, err := input.text()
		b.Request.Messages = append(messages, llm.User(text))
		return err
	}
	items, err := input.list()
	if err != nil {
		return input.wants("a string or a list of items")
	}
	if len(items) == 0 {
		return input.bad("must have at least one item, got none")
	}
	for _, n := range items {
		m, err := item(n)
		if err != nil {
			return err
		}
		// What the model said and called in one answer is one message.
		if last := len(messages) - 1; last >= 0 && m.Role == messages[last].Role && (m.Role == llm.RoleAssistant || m.Role == llm.RoleTool) {
			messages[last].Parts = append(messages[last].Parts, m.Parts...)
			continue
		}
		messages = append(messages, m)
	}
	b.Request.Messages = messages
	return conversation(input, messages)
}

func item(n node) (llm.Message, error) {
	var m llm.Message
	o, err := n.object()
	if err != nil {
		return m, err
	}
	kind := o.take("type")
	delete(o.fields, "id")     // of an earlier answer
	delete(o.fields, "status") // likewise
	switch string(kind.raw) {
	case "", `"message"`:
		if m.Role, err = role(o); err != nil {
			return m, err
		}
		m.Parts, err = itemParts(o.take("content"))
		if err != nil {
			return m, err
		}
		delete(o.fields, "phase") // of an earlier answer
		return m, o.done("type", "role", "content")
	case `"function_call"`:
		m.Role = llm.RoleAssistant
		id, err := o.take("call_id").text()
		if err != nil {
			return m, err
		}
		call, err := calledFunction(id, o)
		if err != nil {
			return m, err
		}
		m.Parts = []llm.Part{call}
		return m, o.done("type", "call_id", "name", "arguments")
	case `"function_call_output"`:
		m.Role = llm.RoleTool
		id, err := o.take("call_id").text()
		if err != nil {
			return m, err
		}
		output, err := textOf(o.take("output"), "input_text", "output_text")
		if err != nil {
			return m, err
		}
		m.Parts = []llm.Part{llm.ToolResult{CallID: id, Content: output}}
		return m, o.done("type", "call_id", "output")
	case `"reasoning"`:
		return llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Reasoning{Provider: "openai-responses", Data: json.RawMessage(n.raw)}}}, nil
	}
	return m, kind.wants("message, function_call, function_call_output or reasoning")
}

func itemParts(content node) ([]llm.Part, error) {
	if content.isText() {
		text, err := content.text()
		return []llm.Part{llm.Text(text)}, err
	}
	return partsOf(content, itemPart)
}

func itemPart(n node) (llm.Part, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	kind := o.take("type")
	var part llm.Part
	switch string(kind.raw) {
	case `"input_text"`:
		part, err = textPart(o, "text")
	case `"output_text"`:
		delete(o.fields, "annotations") // of an earlier answer
		delete(o.fields, "logprobs")    // likewise
		part, err = textPart(o, "text")
	case `"refusal"`:
		part, err = textPart(o, "refusal")
	case `"input_image"`:
		detail, err := o.detail()
		if err != nil {
			return nil, err
		}
		if n := o.take("file_id"); !n.missing() {
			return nil, n.cannot("it names a file that was uploaded to OpenAI, and no other provider has it; give its content (image_url)")
		}
		picture, err := image(o.take("image_url"))
		if err != nil {
			return nil, err
		}
		picture.Detail = detail
		part = picture
	case `"input_file"`:
		part, err = file(o)
	default:
		return nil, kind.wants("input_text, output_text, input_image or input_file")
	}
	if err != nil {
		return nil, err
	}
	return part, o.done("type", "text", "image_url", "file_data", "file_url", "filename")
}
