package body

import (
	"bytes"
	"encoding/json"
	"strings"

	"llmcall/llm"
)

// responses reads the body of a response's request.
func responses(o *object, b *Body) error {
	if err := model(o, b); err != nil {
		return err
	}
	if err := each(o, b, temperature, streamed, limit("max_output_tokens"),
		refused("top_logprobs", noProbabilities, "0"), refused("logprobs", noProbabilities, "false"),
		refused("background", "an answer is waited for", "false"), foreign, included, responsesFormat, responsesTools, toolChoice); err != nil {
		return err
	}
	return responsesConversation(o, b)
}

// included refuses the probabilities of tokens, which are asked for among other details.
func included(o *object, b *Body) error {
	raw := o.fields["include"]
	if o.r.lenient && bytes.Contains(raw, []byte("logprobs")) {
		return o.take("include").cannot(noProbabilities)
	}
	return nil
}

// foreign refuses fields of chat completions.
func foreign(o *object, _ *Body) error {
	for _, name := range []string{"messages", "response_format", "max_tokens"} {
		to := map[string]string{"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"}[name]
		if n := o.take(name); !n.missing() {
			if err := n.r.soft(n.bad("is of chat completions; in responses it is %s", to)); err != nil {
				return err
			}
		}
	}
	return nil
}

func responsesFormat(o *object, b *Body) error {
	given := o.take("text")
	if given.missing() {
		return nil
	}
	return b.within(o.r, "text", given.raw, func() error {
		text, err := given.object()
		if err != nil {
			return err
		}
		if n := text.take("format"); !n.missing() {
			if err := b.textFormat(n, given); err != nil {
				return err
			}
		}
		if len(text.fields) > 0 { // the verbosity: it is beside the format, which Extra would replace
			b.keep(o.r, "text", given.raw)
		}
		return nil
	})
}

func (b *Body) textFormat(n, given node) error {
	format, err := n.object()
	if err != nil {
		return err
	}
	kind := format.take("type")
	switch string(kind.raw) {
	case `"text"`:
	case `"json_object"`:
		b.anyJSON(n.r, "text", given)
		b.covered["text"], b.path["json"] = false, n.path // there may be a verbosity
	case `"json_schema"`:
		if b.Request.Schema, err = schema(format); err != nil {
			return err
		}
	default:
		return kind.wants(`"text", "json_object" or "json_schema"`)
	}
	b.covered["text.format"] = true
	return nil
}

func responsesTools(o *object, b *Body) error {
	return tools(o, b, func(n node) (llm.Tool, error) {
		tool, err := n.object()
		if err != nil {
			return llm.Tool{}, err
		}
		if kind := tool.take("type"); string(kind.raw) != `"function"` {
			return llm.Tool{}, kind.wants(hosted)
		}
		return function(tool)
	})
}

func responsesConversation(o *object, b *Body) error {
	var t talk
	instructions := o.take("instructions")
	text, err := instructions.optional()
	if err = o.r.soft(err); err != nil {
		return err
	}
	if text != "" {
		t.say(llm.RoleSystem, placed{llm.Text(text), instructions.path})
	}
	input := o.take("input")
	if input.isText() {
		text, err := input.text()
		t.say(llm.RoleUser, placed{llm.Text(text), input.path})
		b.Request.Messages, b.at = t.messages, t.at
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
		if err := n.r.soft(item(n, &t)); err != nil {
			return err
		}
	}
	return t.whole(input, b)
}

// foreignItem begins the ID of a thought that a gateway's answer had from the model of
// another protocol.
const foreignItem = "rs_llmcall_"

// item reads an item. What the model said and called in one answer is one message.
func item(n node, t *talk) error {
	o, err := n.object()
	if err != nil {
		return err
	}
	kind := o.take("type")
	id := o.take("id")         // of an earlier answer
	delete(o.fields, "status") // likewise
	switch string(kind.raw) {
	case "", `"message"`:
		is, err := role(o)
		if err != nil {
			return err
		}
		parts, err := itemParts(o.take("content"))
		if err != nil {
			return err
		}
		delete(o.fields, "phase") // of an earlier answer
		if err := o.done("type", "role", "content"); err != nil {
			return err
		}
		t.join(is, parts...)
		return nil
	case `"function_call"`:
		call, err := calledFunction(o.take("call_id"), o)
		if err != nil {
			return err
		}
		o.forget("parsed_arguments") // of OpenAI's SDKs
		if err := o.done("type", "call_id", "name", "arguments"); err != nil {
			return err
		}
		t.join(llm.RoleAssistant, placed{call, n.path})
		return nil
	case `"function_call_output"`:
		id, err := o.take("call_id").text()
		if err != nil {
			return err
		}
		id, _ = n.r.unsigned(id)
		output, err := t.result(o.take("output"), itemPart, "input_text", "output_text")
		if err != nil {
			return err
		}
		if err := o.done("type", "call_id", "output"); err != nil {
			return err
		}
		t.join(llm.RoleTool, placed{llm.ToolResult{CallID: id, Content: output}, n.path})
		return nil
	case `"reasoning"`:
		if strings.HasPrefix(string(id.raw), `"`+foreignItem) && n.r.foreign(n.path) {
			return nil
		}
		t.join(llm.RoleAssistant, placed{llm.Reasoning{Provider: responsesName, Data: json.RawMessage(n.raw)}, n.path})
		return nil
	}
	return kind.wants("message, function_call, function_call_output or reasoning")
}

func itemParts(content node) ([]placed, error) {
	if content.isText() {
		text, err := content.text()
		return []placed{{llm.Text(text), content.path}}, err
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
		o.drop("annotations", "of an earlier answer")
		delete(o.fields, "logprobs") // likewise
		o.forget("parsed")           // of OpenAI's SDKs
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
