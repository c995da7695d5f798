package rows

import (
	"encoding/json"
	"errors"
	"strings"

	"llmcall/internal/body"
	"llmcall/internal/nearest"
	"llmcall/internal/say"
	"llmcall/llm"
)

// The paths of OpenAI that a line of its batch API may name.
const (
	chatURL      = "/v1/chat/completions"
	ResponsesURL = "/v1/responses"
)

// Form says how a row becomes a request.
type Form struct {
	// Prompt makes the prompt of a row, which is then all that is asked. Default nil: the
	// row's own prompt or messages, or the body of a line of OpenAI's batch API.
	Prompt *Template
	// System is the system prompt of rows that have none of their own. Default "": none.
	System string
}

// Request returns the request of a row: its messages, and what a line of OpenAI's batch API
// asks for beside them. The error is an *[Error].
//
// A row has its own question in "prompt" (a string) or in "messages" (a list, as llmcall
// writes conversations or as OpenAI has them), with "system" beside either. A line of
// OpenAI's batch API has "body", with "url", "method" and "custom_id" beside it.
func (f Form) Request(row *Row) (*llm.Request, error) {
	req, err := f.request(row)
	if err != nil {
		return nil, err
	}
	system := f.System
	if own, given := row.Fields["system"]; given && own != nil && f.Prompt == nil && !row.isOpenAI() {
		text, ok := own.(string)
		if !ok {
			return nil, row.fault("system", "must be a string, got %s", describe(own))
		}
		system = text
	}
	if system != "" && (len(req.Messages) == 0 || req.Messages[0].Role != llm.RoleSystem) {
		req.Messages = append([]llm.Message{llm.System(system)}, req.Messages...)
	}
	return req, nil
}

func (f Form) request(row *Row) (*llm.Request, error) {
	if f.Prompt != nil {
		text, err := f.Prompt.Text(row)
		if err != nil {
			return nil, err
		}
		return asked(row, "the prompt", text)
	}
	if row.isOpenAI() {
		return row.body()
	}
	prompt, messages := row.Fields["prompt"], row.Fields["messages"]
	switch {
	case prompt != nil && messages != nil:
		return nil, row.fault("", "must have either prompt or messages, got both")
	case messages != nil:
		turns, err := body.Messages(row.field("messages"), "messages")
		if err != nil {
			return nil, row.within("", err)
		}
		return &llm.Request{Messages: turns}, nil
	case prompt != nil:
		text, ok := prompt.(string)
		if !ok {
			return nil, row.fault("prompt", "must be a string, got %s", describe(prompt))
		}
		return asked(row, "prompt", text)
	}
	return nil, row.fault("", "has neither prompt nor messages, and there is no template (--prompt 'Summarize: {{.text}}'): its fields are %s",
		nearest.List("prompt", row.names))
}

// asked is a request of one turn.
func asked(row *Row, field, text string) (*llm.Request, error) {
	if strings.TrimSpace(text) == "" {
		return nil, row.fault(field, "must not be empty")
	}
	return &llm.Request{Messages: []llm.Message{llm.User(text)}}, nil
}

// isOpenAI reports whether the row is a line of OpenAI's batch API.
func (r *Row) isOpenAI() bool {
	_, has := r.Fields["body"].(map[string]any)
	return has && (r.Fields["url"] != nil || r.Fields[CustomID] != nil)
}

// openAI returns the model and the path of a line of OpenAI's batch API.
func (r *Row) openAI() (model, url string) {
	if !r.isOpenAI() {
		return "", ""
	}
	within, _ := r.Fields["body"].(map[string]any)
	model, _ = within["model"].(string)
	if url, _ = r.Fields["url"].(string); url == "" {
		url = chatURL
	}
	return model, url
}

// body reads the request of a line of OpenAI's batch API.
func (r *Row) body() (*llm.Request, error) {
	if method, ok := r.Fields["method"]; ok && method != "POST" {
		return nil, r.fault("method", "must be POST, got %s", describe(method))
	}
	read := body.Chat
	switch url := r.Fields["url"]; url {
	case nil, chatURL:
	case ResponsesURL:
		read = body.Responses
	default:
		return nil, r.fault("url", "must be %s or %s, got %s", chatURL, ResponsesURL, describe(url))
	}
	wanted, err := read(r.field("body"))
	if err != nil {
		return nil, r.within("body", err)
	}
	return wanted.Request, nil
}

// field returns the JSON of a field as it is in the file: the order of a schema's
// properties is that of the answer.
func (r *Row) field(name string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.text, &fields) != nil {
		return nil // it was read before
	}
	return fields[name]
}

// within says where in the row an error is.
func (r *Row) within(prefix string, err error) error {
	wrong, ok := errors.AsType[*body.Error](err)
	if !ok {
		return err
	}
	field := wrong.Field
	switch {
	case prefix == "":
	case field == "":
		field = prefix
	default:
		field = prefix + "." + field
	}
	return r.fault(say.Short(field, 200), "%s", wrong.Problem)
}
