package body

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"llmcall/llm"
)

// gemini reads the body of a request to generate content.
func gemini(o *object, b *Body) error {
	if err := each(o, b, model, generationConfig, geminiTools, geminiChoice); err != nil {
		return err
	}
	b.Model = strings.TrimPrefix(b.Model, "models/") // some clients repeat the path's
	t := &functions{talk: new(talk)}
	if n := o.take("systemInstruction"); !n.missing() {
		if err := n.r.soft(t.system(n)); err != nil {
			return err
		}
	}
	n := o.take("contents")
	list, err := oneOrMore(n)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return n.bad("must have at least one content, got none")
	}
	for _, n := range list {
		if err := n.r.soft(t.content(n)); err != nil {
			return err
		}
	}
	return t.whole(n, b)
}

// oneOrMore reads a list, or one item alone, which Google's servers take too.
func oneOrMore(n node) ([]node, error) {
	if !n.missing() && n.raw[0] == '{' {
		return []node{n}, nil
	}
	return n.list()
}

// noChoices is why several answers can't be carried.
const noChoices = "a request has one answer; repeat it for more"

func generationConfig(o *object, b *Body) error {
	given := o.take("generationConfig")
	if given.missing() {
		return nil
	}
	config, err := given.object()
	if err != nil {
		return err
	}
	if err := each(config, b, temperature, limit("maxOutputTokens"), stop("stopSequences"), seed,
		refused("responseLogprobs", noProbabilities, "false"), refused("logprobs", noProbabilities, "0"),
		refused("candidateCount", noChoices, "1", "0"),
		refused("responseModalities", "an answer is a text", `["TEXT"]`, `[]`), geminiFormat); err != nil {
		return err
	}
	if len(config.fields) > 0 {
		b.keep(o.r, "generationConfig", written(config.fields))
	}
	return nil
}

// geminiFormat takes how the answer is to be. What can't be carried is left for a model of
// the same protocol.
func geminiFormat(o *object, b *Body) error {
	kind, own, standard := o.take("responseMimeType"), o.take("responseSchema"), o.take("responseJsonSchema")
	before := len(o.r.lost)
	err := o.r.soft(b.answer(o, kind, own, standard))
	for i := range o.r.lost[before:] {
		o.r.lost[before+i].own = false
		for name, n := range map[string]node{"responseMimeType": kind, "responseSchema": own, "responseJsonSchema": standard} {
			if !n.missing() {
				o.fields[name], b.covered[n.path] = n.raw, true
			}
		}
	}
	return err
}

// answer reads the schema of the answer, in Gemini's form or as a JSON Schema.
func (b *Body) answer(o *object, kind, own, standard node) error {
	value, err := standard.raw, error(nil)
	switch {
	case !standard.missing():
		_, err = standard.object()
	case !own.missing():
		value, err = schemaOf(own, 0)
	}
	if err != nil {
		return err
	}
	switch text, err := kind.optional(); {
	case err != nil:
		return err
	case text == "" || text == "text/plain":
		if value != nil {
			return kind.bad("must be application/json with a schema, got %q", text)
		}
	case text != "application/json":
		return kind.cannot("an answer is a text or JSON")
	case value != nil:
		b.Request.Schema = &llm.Schema{Name: answerName, JSON: value}
	default:
		b.json, b.path["json"], b.covered[kind.path] = true, kind.path, true
		o.fields["responseMimeType"] = kind.raw // a model of the same protocol is told by it
	}
	return nil
}

func geminiTools(o *object, b *Body) error {
	n := o.take("tools")
	if n.missing() {
		return nil
	}
	list, err := oneOrMore(n)
	if err != nil {
		return err
	}
	return b.within(o.r, "tools", n.raw, func() error {
		for _, n := range list {
			tool, err := n.object()
			if err = n.r.soft(err); err != nil || tool == nil {
				continue
			}
			declared := tool.take("functionDeclarations")
			for _, name := range slices.Sorted(maps.Keys(tool.fields)) {
				if other := tool.take(name); !other.missing() {
					_ = n.r.soft(other.bad("is not functionDeclarations: other tools are run by Google"))
				}
			}
			if declared.missing() {
				continue
			}
			all, err := oneOrMore(declared)
			if err = n.r.soft(err); err != nil {
				return err
			}
			for _, n := range all {
				made, err := declaration(n)
				if err != nil {
					_ = n.r.soft(err)
					continue
				}
				b.Request.Tools = append(b.Request.Tools, made)
			}
		}
		return nil
	})
}

func declaration(n node) (llm.Tool, error) {
	var made llm.Tool
	o, err := n.object()
	if err != nil {
		return made, err
	}
	if made.Name, err = o.take("name").text(); err != nil {
		return made, err
	}
	if made.Description, err = o.take("description").optional(); err != nil {
		return made, err
	}
	own, standard := o.take("parameters"), o.take("parametersJsonSchema")
	switch {
	case !standard.missing():
		_, err = standard.object()
		made.Parameters = standard.raw
	case !own.missing():
		made.Parameters, err = schemaOf(own, 0)
	}
	if err != nil {
		return made, err
	}
	o.drop("response", "describes what the function returns, which is not sent to others")
	o.drop("responseJsonSchema", "describes what the function returns, which is not sent to others")
	return made, o.done("name", "description", "parameters", "parametersJsonSchema", "response")
}

func geminiChoice(o *object, b *Body) error {
	given := o.take("toolConfig")
	if given.missing() {
		return nil
	}
	return b.within(o.r, "toolConfig", given.raw, func() error {
		config, err := given.object()
		if err != nil {
			return err
		}
		if n := config.take("functionCallingConfig"); !n.missing() {
			calling, err := n.object()
			if err != nil {
				return err
			}
			if err := b.calling(n, calling, given.raw); err != nil {
				return err
			}
		}
		return config.done("functionCallingConfig")
	})
}

// calling reads which functions must be called, or may be. whole is what it is in.
func (b *Body) calling(n node, o *object, whole json.RawMessage) error {
	mode := o.take("mode")
	names := o.take("allowedFunctionNames")
	var allowed []string
	if !names.empty() && json.Unmarshal(names.raw, &allowed) != nil {
		return names.wants("a list of strings")
	}
	switch string(mode.raw) {
	case "", `"MODE_UNSPECIFIED"`, `"AUTO"`: // names mean nothing to it
		return o.done("mode")
	case `"VALIDATED"`:
		n.r.harmless(mode.path, unenforced)
	case `"NONE"`:
		b.Request.NoToolCalls = true
		return o.done("mode")
	case `"ANY"`:
		if len(allowed) == 1 {
			return b.force(names, allowed[0])
		}
		if err := b.force(mode, anyTool); err != nil {
			return err
		}
	default:
		return mode.wants(`"AUTO", "ANY", "NONE" or "VALIDATED"`)
	}
	for _, name := range allowed {
		if err := b.known(names, name); err != nil {
			return err
		}
	}
	if len(allowed) > 0 {
		b.allowed, b.must, b.Request.ForceTool = allowed, string(mode.raw) == `"ANY"`, ""
		b.keep(n.r, "toolConfig", whole)
		b.covered["toolConfig"] = true
	}
	return o.done("mode", "allowedFunctionNames")
}

// functions is a conversation with calls of functions, which may have no IDs: a response is
// then that of the first call of its name that has none.
type functions struct {
	*talk
	open []llm.ToolCall // calls without a response
}

// system reads the instructions of the system: a content, whose role means nothing.
func (t *functions) system(n node) error {
	o, err := n.object()
	if err != nil {
		return err
	}
	list, err := oneOrMore(o.take("parts"))
	if err != nil {
		return err
	}
	var parts []placed
	for _, n := range list {
		part, err := n.object()
		if err = n.r.soft(err); err != nil || part == nil {
			continue
		}
		text, err := part.take("text").text()
		if err != nil {
			_ = n.r.soft(err)
			continue
		}
		part.noted("text")
		parts = append(parts, placed{llm.Text(text), n.path})
	}
	t.say(llm.RoleSystem, parts...)
	o.take("role")
	return o.done("parts", "role")
}

// content reads a content. Contents of the same role in a row are one message: the pieces of
// a stream come back so.
func (t *functions) content(n node) error {
	o, err := n.object()
	if err != nil {
		return err
	}
	of := o.take("role")
	list, err := oneOrMore(o.take("parts"))
	if err != nil {
		return err
	}
	switch string(of.raw) {
	case "", `"user"`, `"function"`:
		var results, others []placed
		for _, n := range list {
			part, err := t.userPart(n)
			switch _, is := part.(llm.ToolResult); {
			case err != nil:
				_ = n.r.soft(err)
			case is:
				results = append(results, placed{part, n.path})
			default:
				others = append(others, placed{part, n.path})
			}
		}
		if len(results) > 0 {
			t.join(llm.RoleTool, results...)
		}
		t.say(llm.RoleUser, others...)
	case `"model"`:
		var parts []placed
		for _, n := range list {
			made, err := t.modelPart(n)
			if err != nil {
				_ = n.r.soft(err)
				continue
			}
			parts = append(parts, made...)
		}
		if len(parts) > 0 {
			t.join(llm.RoleAssistant, parts...)
		}
	default:
		return of.wants(`"user" or "model"`)
	}
	return o.done("role", "parts")
}

func (t *functions) userPart(n node) (llm.Part, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	given := o.take("functionResponse")
	if given.missing() {
		return geminiPart(n, o)
	}
	within, err := given.object()
	if err != nil {
		return nil, err
	}
	name, err := within.take("name").optional()
	if err != nil {
		return nil, err
	}
	id, err := within.take("id").optional()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(t.open, func(c llm.ToolCall) bool { return id != "" && c.ID == id || id == "" && c.Name == name && isMade(c.ID) })
	if i < 0 {
		return nil, given.bad("is of the function %q (ID %q), and there is no such call before it", name, id)
	}
	result := llm.ToolResult{CallID: t.open[i].ID}
	t.open = slices.Delete(t.open, i, i+1)
	if result.Content, result.IsError, err = outcome(within.take("response")); err != nil {
		return nil, err
	}
	if more := within.take("parts"); !more.empty() {
		list, err := more.list()
		if err != nil {
			return nil, err
		}
		for _, n := range list {
			part, err := n.object()
			if err != nil {
				return nil, err
			}
			more, err := geminiPart(n, part)
			if err != nil {
				return nil, err
			}
			if text := t.resultOf(n.r, []placed{{more, n.path}}); text != "" {
				result.Content += "\n" + text
			}
		}
	}
	o.drop("thoughtSignature", "of an earlier answer")
	within.noted("name", "id", "response", "parts")
	return result, o.done("functionResponse")
}

// outcome reads the response of a function: an object, in which "output" is what the
// function returned and "error" its failure
// (https://ai.google.dev/api/caching#FunctionResponse). Other objects are taken whole.
func outcome(n node) (content string, failed bool, err error) {
	if n.missing() {
		return "", false, nil
	}
	var fields map[string]json.RawMessage
	if _, err := n.object(); err != nil {
		return "", false, err
	}
	if json.Unmarshal(n.raw, &fields) == nil && len(fields) == 1 {
		for _, name := range []string{"output", "error", "result"} {
			if raw, ok := fields[name]; ok {
				var text string
				if json.Unmarshal(raw, &text) != nil {
					text = string(raw)
				}
				return text, name == "error", nil
			}
		}
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, n.raw) // it is valid: it was read
	return compact.String(), false, nil
}

// ownID is how the IDs begin that are made for calls without one. The adapter of the
// protocol does not send them.
const ownID = "gemini-call-"

func isMade(id string) bool { return strings.HasPrefix(id, ownID) }

func (t *functions) modelPart(n node) ([]placed, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	called := o.take("functionCall")
	if called.missing() {
		return answerPart(n, o)
	}
	within, err := called.object()
	if err != nil {
		return nil, err
	}
	var call llm.ToolCall
	if call.Name, err = within.take("name").text(); err != nil {
		return nil, err
	}
	if call.ID, err = within.take("id").optional(); err != nil {
		return nil, err
	}
	if call.ID == "" {
		n.r.calls++
		call.ID = fmt.Sprintf("%s%d", ownID, n.r.calls)
	}
	call.Arguments = json.RawMessage("{}")
	if args := within.take("args"); !args.missing() {
		if _, err := args.object(); err != nil {
			return nil, err
		}
		call.Arguments = args.raw
	}
	signature, err := o.take("thoughtSignature").optional()
	if err != nil {
		return nil, err
	}
	if signature != "" {
		call.Signature = []byte(signature)
	}
	if err := within.done("name", "id", "args"); err != nil {
		return nil, err
	}
	t.open = append(t.open, call)
	return []placed{{call, n.path}}, o.done("functionCall", "thoughtSignature")
}

// answerPart reads a part of an answer that is not a call. The provider gets its thoughts back,
// and what its own tools did, in the form in which its adapter keeps them.
func answerPart(n node, o *object) ([]placed, error) {
	given, thought := o.take("text"), o.take("thought")
	signature, err := o.take("thoughtSignature").optional()
	if err != nil {
		return nil, err
	}
	thinks, err := thought.flag()
	if err != nil {
		return nil, err
	}
	o.drop("partMetadata", "is the client's own")
	if given.missing() || thinks || len(o.fields) > 0 {
		return []placed{{llm.Reasoning{Provider: geminiName, Data: n.raw}, n.path}}, nil
	}
	text, err := given.text()
	if err != nil {
		return nil, err
	}
	if signature == "" {
		return []placed{{llm.Text(text), n.path}}, nil
	}
	seal := map[string]string{"thoughtSignature": signature}
	if text == "" {
		seal["text"] = ""
	}
	data, _ := json.Marshal(seal) // can't fail for strings
	sealed := placed{llm.Reasoning{Provider: geminiName, Data: data}, n.path}
	if text == "" {
		return []placed{sealed}, nil
	}
	return []placed{{llm.Text(text), n.path}, sealed}, nil
}

// geminiPart reads a text, picture, document or recording.
func geminiPart(n node, o *object) (llm.Part, error) {
	given, inline, stored := o.take("text"), o.take("inlineData"), o.take("fileData")
	var part llm.Part
	var err error
	switch {
	case !given.missing():
		var text string
		text, err = given.text()
		part = llm.Text(text)
	case !inline.missing():
		part, err = blob(inline)
	case !stored.missing():
		part, err = fileData(stored)
	default:
		return nil, n.wants("a part with text, inlineData, fileData or functionResponse")
	}
	if err != nil {
		return nil, err
	}
	o.drop("thoughtSignature", "of an earlier answer")
	o.drop("partMetadata", "is the client's own")
	return part, o.done("text", "inlineData", "fileData", "functionResponse")
}

func blob(n node) (llm.Part, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	kind := o.take("mimeType")
	mediaType, err := kind.text()
	if err != nil {
		return nil, err
	}
	_, data, err := o.take("data").data()
	if err != nil {
		return nil, err
	}
	name, err := o.take("displayName").optional()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(mediaType, "text/") {
		n.r.harmless(n.path, "is sent as plain text")
		return llm.Text(strings.ToValidUTF8(string(data), "\uFFFD")), nil
	}
	part, err := medium(kind, mediaType, data, "", name)
	if err != nil {
		return nil, err
	}
	return part, o.done("mimeType", "data", "displayName")
}

func fileData(n node) (llm.Part, error) {
	o, err := n.object()
	if err != nil {
		return nil, err
	}
	kind := o.take("mimeType")
	mediaType, err := kind.optional()
	if err != nil {
		return nil, err
	}
	address, err := o.take("fileUri").text()
	if err != nil {
		return nil, err
	}
	name, err := o.take("displayName").optional()
	if err != nil {
		return nil, err
	}
	part, err := medium(kind, mediaType, nil, address, name)
	if err != nil {
		return nil, err
	}
	return part, o.done("mimeType", "fileUri", "displayName")
}

// medium returns a picture, document or recording.
func medium(kind node, mediaType string, data []byte, address, name string) (llm.Part, error) {
	what, _, _ := strings.Cut(mediaType, "/")
	switch {
	case what == "image":
		return llm.Image{MediaType: mediaType, Data: data, URL: address}, nil
	case what == "audio":
		if mediaType == "audio/mp3" { // Google's name for it
			mediaType = "audio/mpeg"
		}
		return llm.Audio{MediaType: mediaType, Data: data, URL: address}, nil
	case mediaType == "application/pdf":
		return llm.Document{MediaType: mediaType, Data: data, URL: address, Name: name}, nil
	}
	return nil, kind.wants("the type of a picture, a recording or application/pdf")
}
