package body

import (
	"encoding/json"
	"strings"

	"llmcall/llm"
)

// anthropic reads the body of a message's request.
func anthropic(o *object, b *Body) error {
	if err := model(o, b); err != nil {
		return err
	}
	if err := each(o, b, temperature, streamed, limit("max_tokens"), stop("stop_sequences"), anthropicFormat, anthropicTools, anthropicChoice); err != nil {
		return err
	}
	var t talk
	if n := o.take("system"); !n.missing() {
		parts, err := blocks(n, anthropicText)
		if err = n.r.soft(err); err != nil {
			return err
		}
		t.say(llm.RoleSystem, parts...)
	}
	n := o.take("messages")
	list, err := n.list()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return n.bad("must have at least one message, got none")
	}
	for _, n := range list {
		if err := n.r.soft(anthropicMessage(n, &t)); err != nil {
			return err
		}
	}
	return t.whole(n, b)
}

// anthropicFormat takes the schema of the answer. The effort beside it is the provider's own.
func anthropicFormat(o *object, b *Body) error {
	if n := o.take("output_format"); !n.missing() { // its name while it was tried
		if err := n.r.soft(b.format(n)); err != nil {
			return err
		}
	}
	given := o.take("output_config")
	if given.missing() {
		return nil
	}
	return b.within(o.r, "output_config", given.raw, func() error {
		config, err := given.object()
		if err != nil {
			return err
		}
		err = b.format(config.take("format"))
		if len(config.fields) > 0 {
			b.keep(o.r, "output_config", written(config.fields))
		}
		return err
	})
}

// format reads a format of the answer.
func (b *Body) format(n node) error {
	if n.missing() {
		return nil
	}
	format, err := n.object()
	if err != nil {
		return err
	}
	if kind := format.take("type"); string(kind.raw) != `"json_schema"` {
		return kind.wants(`"json_schema"`)
	}
	value := format.take("schema")
	if _, err := value.object(); err != nil {
		return err
	}
	b.Request.Schema = &llm.Schema{Name: answerName, JSON: value.raw}
	return format.done("type", "schema")
}

// answerName is the name of a schema that has none.
const answerName = "answer"

// written writes fields as an object.
func written(fields map[string]json.RawMessage) json.RawMessage {
	raw, _ := json.Marshal(fields) // can't fail: they were read
	return raw
}

func anthropicTools(o *object, b *Body) error {
	return tools(o, b, func(n node) (llm.Tool, error) {
		var made llm.Tool
		tool, err := n.object()
		if err != nil {
			return made, err
		}
		if kind := tool.take("type"); !kind.missing() && string(kind.raw) != `"custom"` {
			return made, kind.wants(`"custom": other tools are run by Anthropic, or known to its models alone`)
		}
		if made.Name, err = tool.take("name").text(); err != nil {
			return made, err
		}
		if made.Description, err = tool.take("description").optional(); err != nil {
			return made, err
		}
		parameters := tool.take("input_schema")
		if _, err := parameters.object(); err != nil {
			return made, err
		}
		made.Parameters = parameters.raw
		if err := tool.enforced(); err != nil {
			return made, err
		}
		tool.drop("eager_input_streaming", "says how arguments are streamed, and nothing of what they are")
		tool.drop("input_examples", "are shown to the model by Anthropic alone; describe them in the description")
		return made, tool.done("name", "description", "input_schema", "type", "strict")
	})
}

func anthropicChoice(o *object, b *Body) error {
	n := o.take("tool_choice")
	if n.missing() {
		return nil
	}
	return b.within(o.r, "tool_choice", n.raw, func() error {
		choice, err := n.object()
		if err != nil {
			return err
		}
		single := choice.take("disable_parallel_tool_use")
		if is, err := single.flag(); err != nil {
			return err
		} else if is && len(b.Request.Tools) > 0 {
			b.keep(o.r, "tool_choice", n.raw)
			b.covered["tool_choice.type"], b.covered["tool_choice.name"] = true, true
		}
		kind := choice.take("type")
		switch string(kind.raw) {
		case `"auto"`:
		case `"none"`:
			b.Request.NoToolCalls = true
		case `"any"`:
			return b.force(n, anyTool)
		case `"tool"`:
			name := choice.take("name")
			text, err := name.text()
			if err != nil {
				return err
			}
			if err := b.force(name, text); err != nil {
				return err
			}
		default:
			return kind.wants(`"auto", "any", "tool" or "none"`)
		}
		return choice.done("type", "name", "disable_parallel_tool_use")
	})
}

// blocks reads a content: a text, or a list of blocks, each by read.
func blocks(n node, read func(node) ([]placed, error)) ([]placed, error) {
	if n.isText() {
		text, err := n.text()
		return []placed{{llm.Text(text), n.path}}, err
	}
	list, err := n.list()
	if err != nil {
		return nil, n.wants("a string or a list of blocks")
	}
	var all []placed
	for _, n := range list {
		parts, err := read(n)
		if err = n.r.soft(err); err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	return all, nil
}

// anthropicText reads a block of the system's.
func anthropicText(n node) ([]placed, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	if kind := o.take("type"); string(kind.raw) != `"text"` {
		return nil, kind.wants(`"text"`)
	}
	return textBlock(n, o)
}

func textBlock(n node, o *object) ([]placed, error) {
	text, err := o.take("text").text()
	if err != nil {
		return nil, err
	}
	o.drop("citations", "of an earlier answer")
	return []placed{{llm.Text(text), n.path}}, o.done("type", "text", "cache_control", "citations")
}

// anthropicMessage reads a message. What a user says beside results of tools follows them.
func anthropicMessage(n node, t *talk) error {
	o, err := n.object()
	if err != nil {
		return err
	}
	of := o.take("role")
	content := o.take("content")
	before := len(n.r.lost)
	switch string(of.raw) {
	case `"system"`:
		parts, err := blocks(content, anthropicText)
		if err != nil {
			return err
		}
		t.say(llm.RoleSystem, parts...)
	case `"user"`:
		parts, err := blocks(content, func(n node) ([]placed, error) { return userBlock(n, t) })
		if err != nil {
			return err
		}
		var results, others []placed
		for _, p := range parts {
			if _, is := p.part.(llm.ToolResult); is {
				results = append(results, p)
			} else {
				others = append(others, p)
			}
		}
		t.say(llm.RoleTool, results...)
		t.say(llm.RoleUser, others...)
		if len(parts) == 0 && len(n.r.lost) == before {
			return content.bad("must not be empty")
		}
	case `"assistant"`:
		parts, err := blocks(content, assistantBlock)
		if err != nil {
			return err
		}
		t.say(llm.RoleAssistant, parts...)
	default:
		return of.wants("user, assistant or system")
	}
	return o.done("role", "content")
}

func userBlock(n node, t *talk) ([]placed, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	kind := o.take("type")
	if string(kind.raw) == `"tool_result"` {
		result, err := resultBlock(o, t)
		if err != nil {
			return nil, err
		}
		return []placed{{result, n.path}}, nil
	}
	return mediumBlock(n, o, kind)
}

// mediumBlock reads a text, picture or document.
func mediumBlock(n node, o *object, kind node) ([]placed, error) {
	switch string(kind.raw) {
	case `"text"`:
		return textBlock(n, o)
	case `"image"`:
		source, err := sourceOf(o)
		if err != nil {
			return nil, err
		}
		return []placed{{llm.Image{MediaType: source.mediaType, Data: source.data, URL: source.url}, n.path}}, o.done("type", "source", "cache_control")
	case `"document"`:
		return documentBlock(n, o)
	}
	return nil, kind.wants("text, image, document or tool_result")
}

// origin is where a picture or document is, or what is in it.
type origin struct {
	mediaType, url string
	data           []byte
	parts          []placed // of a document that is texts and pictures
}

func sourceOf(o *object) (origin, error) {
	var s origin
	of, err := o.take("source").object()
	if err != nil {
		return s, err
	}
	kind := of.take("type")
	switch string(kind.raw) {
	case `"base64"`:
		if s.mediaType, err = of.take("media_type").text(); err == nil {
			_, s.data, err = of.take("data").data()
		}
	case `"url"`:
		_, s.data, s.url, err = of.take("url").address()
	case `"text"`:
		data := of.take("data")
		var text string
		text, err = data.text()
		s.parts = []placed{{llm.Text(text), data.path}}
		of.take("media_type")
	case `"content"`:
		s.parts, err = blocks(of.take("content"), func(n node) ([]placed, error) {
			block, err := n.object()
			if err != nil {
				return nil, err
			}
			return mediumBlock(n, block, block.take("type"))
		})
	case `"file"`:
		return s, kind.cannot(uploaded)
	default:
		return s, kind.wants("base64, url, text, content or file")
	}
	if err != nil {
		return s, err
	}
	return s, of.done("type", "media_type", "data", "url", "content")
}

// uploaded is why a file that its provider keeps can't be carried.
const uploaded = "uploaded files are known to their provider alone; send the file itself"

func documentBlock(n node, o *object) ([]placed, error) {
	s, err := sourceOf(o)
	if err != nil {
		return nil, err
	}
	title := o.take("title")
	name, err := title.optional()
	if err != nil {
		return nil, err
	}
	context := o.take("context")
	about, err := context.optional()
	if err != nil {
		return nil, err
	}
	if n := o.take("citations"); !n.missing() {
		citations, err := n.object()
		if err != nil {
			return nil, err
		}
		enabled := citations.take("enabled")
		is, err := enabled.flag()
		if err == nil && is {
			err = enabled.cannot("an answer has no citations")
		}
		if err = n.r.soft(err); err != nil {
			return nil, err
		}
	}
	var parts []placed
	if about != "" { // the model reads it, and cites nothing of it
		parts = append(parts, placed{llm.Text(about), context.path})
	}
	switch {
	case s.parts != nil:
		if name != "" {
			parts = append(parts, placed{llm.Text(name), title.path})
		}
		n.r.harmless(n.path, "is sent as plain text, since it is not a file")
		parts = append(parts, s.parts...)
	default:
		parts = append(parts, placed{llm.Document{MediaType: s.mediaType, Data: s.data, URL: s.url, Name: name}, n.path})
	}
	return parts, o.done("type", "source", "title", "context", "citations", "cache_control")
}

func resultBlock(o *object, t *talk) (llm.ToolResult, error) {
	var result llm.ToolResult
	id, err := o.take("tool_use_id").text()
	if err != nil {
		return result, err
	}
	result.CallID, _ = o.r.unsigned(id)
	if result.IsError, err = o.take("is_error").flag(); err != nil {
		return result, err
	}
	content := o.take("content")
	if content.missing() {
		return result, o.done("type", "tool_use_id", "content", "is_error")
	}
	parts, err := blocks(content, func(n node) ([]placed, error) {
		block, err := n.object()
		if err != nil {
			return nil, err
		}
		return mediumBlock(n, block, block.take("type"))
	})
	if err != nil {
		return result, err
	}
	result.Content = t.resultOf(o.r, parts)
	return result, o.done("type", "tool_use_id", "content", "is_error")
}

// resultOf returns the text of a result's parts. The others follow the results.
func (t *talk) resultOf(r *reader, parts []placed) string {
	var texts []string
	for _, p := range parts {
		if text, is := p.part.(llm.Text); is {
			texts = append(texts, string(text))
			continue
		}
		r.harmless(p.at, follows)
		t.pictures = append(t.pictures, p)
	}
	return strings.Join(texts, "\n")
}

// follows is what becomes of pictures in results.
const follows = "follows the results of the tools in a message of the user: a result is a text"

func assistantBlock(n node) ([]placed, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	kind := o.take("type")
	switch string(kind.raw) {
	case `"text"`:
		return textBlock(n, o)
	case `"tool_use"`:
		id, err := o.take("id").text()
		if err != nil {
			return nil, err
		}
		var call llm.ToolCall
		call.ID, call.Signature = n.r.unsigned(id)
		if call.Name, err = o.take("name").text(); err != nil {
			return nil, err
		}
		input := o.take("input")
		if _, err := input.object(); err != nil {
			return nil, err
		}
		call.Arguments = input.raw
		o.take("caller") // {"type": "direct"} is of an earlier answer; others are of tools that Anthropic runs
		return []placed{{call, n.path}}, o.done("type", "id", "name", "input")
	case "":
		return nil, kind.wants("a string")
	}
	if _, err := kind.text(); err != nil {
		return nil, err
	}
	if string(kind.raw) == `"thinking"` && o.take("signature").empty() && n.r.foreign(n.path) {
		return nil, nil
	}
	// The provider gets its thoughts back, and what its own tools did, whatever they are.
	return []placed{{llm.Reasoning{Provider: anthropicName, Data: n.raw}, n.path}}, nil
}
