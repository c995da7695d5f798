package openaibody

import (
	"encoding/json"
	"strings"

	"llmcall/llm"
)

// Chat reads the body of a chat completion's request. The error is an *[Error].
func Chat(text []byte) (*Body, error) {
	root, err := open(text, "")
	if err != nil {
		return nil, err
	}
	o, err := root.object()
	if err != nil {
		return nil, err
	}
	b := &Body{Request: &llm.Request{}}
	for _, take := range []func(*object, *Body) error{settings, chatSettings, chatFormat, chatTools, chatConversation} {
		if err := take(o, b); err != nil {
			return nil, err
		}
	}
	return b, rest(o, b.Request)
}

// rest puts the fields that are left into the request's Extra.
func rest(o *object, req *llm.Request) error {
	extra, err := o.extra()
	for name, value := range extra {
		if req.Extra == nil {
			req.Extra = map[string]any{}
		}
		req.Extra[name] = value
	}
	return err
}

func chatSettings(o *object, b *Body) error {
	if err := tokens(o.take("max_tokens"), b.Request); err != nil {
		return err
	}
	if err := tokens(o.take("max_completion_tokens"), b.Request); err != nil {
		return err
	}
	if n := o.take("n"); !n.missing() && string(n.raw) != "1" {
		return n.cannot("a request has one answer; repeat it for more")
	}
	if n := o.take("seed"); !n.missing() {
		seed, err := n.integer(-1 << 63)
		if err != nil {
			return err
		}
		b.Request.Seed = &seed
	}
	if err := stop(o.take("stop"), b.Request); err != nil {
		return err
	}
	if n := o.take("modalities"); !n.missing() && string(n.raw) != `["text"]` {
		return n.cannot("an answer is a text")
	}
	for _, name := range []string{"functions", "function_call"} {
		if n := o.take(name); !n.missing() {
			return n.cannot("OpenAI replaced it by tools and tool_choice")
		}
	}
	if n := o.take("audio"); !n.missing() {
		return n.cannot("an answer is a text")
	}
	return nil
}

func stop(n node, req *llm.Request) error {
	if n.missing() {
		return nil
	}
	if n.isText() {
		one, err := n.text()
		req.Stop = []string{one}
		return err
	}
	if json.Unmarshal(n.raw, &req.Stop) != nil {
		return n.wants("a string or a list of strings")
	}
	return nil
}

func chatFormat(o *object, b *Body) error {
	given := o.take("response_format")
	if given.missing() {
		return nil
	}
	format, err := given.object()
	if err != nil {
		return err
	}
	kind := format.take("type")
	switch string(kind.raw) {
	case `"text"`:
	case `"json_object"`:
		withExtra(b.Request, "response_format", given.raw)
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
}

func chatTools(o *object, b *Body) error {
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
			within, err := tool.take("function").object()
			if err != nil {
				return err
			}
			made, err := function(within)
			if err != nil {
				return err
			}
			if err := tool.done("type", "function"); err != nil {
				return err
			}
			b.Request.Tools = append(b.Request.Tools, made)
		}
	}
	return toolChoice(o, b.Request)
}

func chatConversation(o *object, b *Body) (err error) {
	b.Request.Messages, err = chatMessages(o.take("messages"))
	return err
}

// Messages reads a list of messages, each as llmcall writes it ("parts") or as chat
// completions have it ("content"). Path is where the list is, for errors, which are
// *[Error].
func Messages(text []byte, path string) ([]llm.Message, error) {
	n, err := open(text, path)
	if err != nil {
		return nil, err
	}
	return chatMessages(n)
}

func chatMessages(n node) ([]llm.Message, error) {
	list, err := n.list()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, n.bad("must have at least one message, got none")
	}
	var messages []llm.Message
	for _, n := range list {
		m, err := chatMessage(n)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, conversation(n, messages)
}

// conversation returns an error if a call has no result, or a result no call: every provider
// refuses that.
func conversation(n node, messages []llm.Message) error {
	var due []string
	for _, m := range messages {
		for _, part := range m.Parts {
			switch p := part.(type) {
			case llm.ToolCall:
				due = append(due, p.ID)
			case llm.ToolResult:
				at := -1
				for i, id := range due {
					if id == p.CallID {
						at = i
					}
				}
				if at < 0 {
					return n.bad("has a result of the tool call %q, and no such call before it", p.CallID)
				}
				due = append(due[:at], due[at+1:]...)
			}
		}
	}
	if len(due) > 0 {
		return n.bad("has a tool call %q without its result", due[0])
	}
	return nil
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

func chatMessage(n node) (llm.Message, error) {
	var m llm.Message
	o, err := n.object()
	if err != nil {
		return m, err
	}
	if m.Role, err = role(o); err != nil {
		return m, err
	}
	if parts, ours := o.fields["parts"]; ours {
		return ownMessage(n, m.Role, parts)
	}
	content := o.take("content")
	if m.Role == llm.RoleTool {
		return toolMessage(o, content)
	}
	switch {
	case content.isText():
		text, err := content.text()
		if err != nil {
			return m, err
		}
		m.Parts = []llm.Part{llm.Text(text)}
	case !content.missing():
		if m.Parts, err = partsOf(content, chatPart); err != nil {
			return m, err
		}
	case m.Role != llm.RoleAssistant:
		return m, content.wants("a string or a list of parts")
	}
	if refusal, err := o.take("refusal").optional(); err != nil {
		return m, err
	} else if refusal != "" {
		m.Parts = append(m.Parts, llm.Text(refusal))
	}
	if m.Role == llm.RoleAssistant {
		calls, err := chatCalls(o.take("tool_calls"))
		if err != nil {
			return m, err
		}
		m.Parts = append(m.Parts, calls...)
	}
	if len(m.Parts) == 0 {
		return m, content.wants("a string or a list of parts")
	}
	return m, o.done("role", "content", "tool_calls", "tool_call_id", "parts")
}

// ownMessage reads a message as llmcall writes it.
func ownMessage(n node, is llm.Role, parts json.RawMessage) (llm.Message, error) {
	m := llm.Message{Role: is}
	if present(parts) == nil {
		return m, node{n.path + ".parts", nil}.wants("a list of parts")
	}
	if err := json.Unmarshal(n.raw, &m); err != nil {
		return m, n.bad("is not a message as llmcall writes it: %s", strings.TrimPrefix(err.Error(), "llm: "))
	}
	m.Role = is
	return m, nil
}

func toolMessage(o *object, content node) (llm.Message, error) {
	m := llm.Message{Role: llm.RoleTool}
	id, err := o.take("tool_call_id").text()
	if err != nil {
		return m, err
	}
	text, err := textOf(content, "text")
	if err != nil {
		return m, err
	}
	m.Parts = []llm.Part{llm.ToolResult{CallID: id, Content: text}}
	return m, o.done("role", "content", "tool_call_id")
}

// textOf reads a content of text alone, whose parts have one of the types.
func textOf(content node, types ...string) (string, error) {
	if content.isText() {
		return content.text()
	}
	parts, err := content.list()
	if err != nil {
		return "", content.wants("a string or a list of parts")
	}
	var texts []string
	for _, n := range parts {
		part, err := n.object()
		if err != nil {
			return "", err
		}
		kind := part.take("type")
		known := false
		for _, t := range types {
			known = known || string(kind.raw) == `"`+t+`"`
		}
		if !known {
			return "", kind.wants(`"` + strings.Join(types, `" or "`) + `"`)
		}
		text, err := part.take("text").text()
		if err != nil {
			return "", err
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "\n"), nil
}

// partsOf reads a list of parts, each by read.
func partsOf(content node, read func(node) (llm.Part, error)) ([]llm.Part, error) {
	list, err := content.list()
	if err != nil {
		return nil, content.wants("a string or a list of parts")
	}
	var parts []llm.Part
	for _, n := range list {
		part, err := read(n)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
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
		part, err = file(within)
	default:
		return nil, kind.wants("text, image_url, input_audio or file")
	}
	if err != nil {
		return nil, err
	}
	delete(o.fields, "cache_control") // it changes no answer
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

func chatCalls(n node) ([]llm.Part, error) {
	if n.missing() {
		return nil, nil
	}
	list, err := n.list()
	if err != nil {
		return nil, err
	}
	var calls []llm.Part
	for _, n := range list {
		o, err := n.object()
		if err != nil {
			return nil, err
		}
		id, err := o.take("id").text()
		if err != nil {
			return nil, err
		}
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
		calls = append(calls, call)
	}
	return calls, nil
}

func calledFunction(id string, o *object) (llm.Part, error) {
	name, err := o.take("name").text()
	if err != nil {
		return nil, err
	}
	arguments, err := o.take("arguments").text()
	return llm.ToolCall{ID: id, Name: name, Arguments: json.RawMessage(arguments)}, err
}
