package protocol

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// geminiCall splits the path of a call: /v1beta/models/{model}:{method}. Without models/
// there are Google's tuned models, and for the SDKs of Vercel all with a slash in their name.
func geminiCall(path string) (model, method string, ok bool) {
	_, rest, ok := strings.Cut(path, "/models/")
	if !ok {
		if rest, ok = strings.CutPrefix(path, "/v1beta/"); !ok {
			return "", "", false
		}
	}
	at := strings.LastIndex(rest, ":") // a gateway's models have slashes and colons in their names
	if at <= 0 {
		return "", "", false
	}
	_, known := geminiMethods[rest[at+1:]]
	return rest[:at], rest[at+1:], known
}

type geminiPart struct {
	Text         *string `json:"text"`
	Thought      bool    `json:"thought"`
	FunctionCall *struct {
		Name string          `json:"name"`
		Args json.RawMessage `json:"args"`
	} `json:"functionCall"`
	FunctionResponse *struct {
		Name     string          `json:"name"`
		Response json.RawMessage `json:"response"`
	} `json:"functionResponse"`
	InlineData *struct {
		MIMEType string `json:"mimeType"`
		Data     string `json:"data"`
	} `json:"inlineData"`
	FileData json.RawMessage `json:"fileData"`
}

type geminiContent struct {
	Role  string       `json:"role"`
	Parts []geminiPart `json:"parts"`
}

// geminiRequest is a request to generate content (ai.google.dev/api/generate-content).
type geminiRequest struct {
	model  string
	method string
	sse    bool // the query asks for server-sent events

	Contents         []geminiContent `json:"contents"`
	System           *geminiContent  `json:"systemInstruction"`
	GenerationConfig struct {
		MIMEType    string          `json:"responseMimeType"`
		Schema      json.RawMessage `json:"responseSchema"`
		JSONSchema  json.RawMessage `json:"responseJsonSchema"`
		MaxTokens   *int            `json:"maxOutputTokens"`
		Stop        []string        `json:"stopSequences"`
		Candidates  *int            `json:"candidateCount"`
		Logprobs    bool            `json:"responseLogprobs"`
		TopLogprobs *int            `json:"logprobs"`
		Thinking    struct {
			Include bool `json:"includeThoughts"`
		} `json:"thinkingConfig"`
	} `json:"generationConfig"`
	Tools []struct {
		Functions []geminiFunction `json:"functionDeclarations"`
	} `json:"tools"`
	ToolConfig struct {
		Calling struct {
			Mode    string   `json:"mode"`
			Allowed []string `json:"allowedFunctionNames"`
		} `json:"functionCallingConfig"`
	} `json:"toolConfig"`
}

type geminiFunction struct {
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	JSONSchema json.RawMessage `json:"parametersJsonSchema"`
}

// Read reads a request to generate content.
func (Gemini) Read(call *Incoming) (*Request, *Error) {
	in := geminiRequest{sse: call.Query.Get("alt") == "sse"}
	in.model, in.method, _ = geminiCall(call.Path)
	if err := unmarshal(call.Body, &in); err != nil {
		return nil, &Error{Message: "Invalid JSON payload received. " + err.Error()}
	}
	return read(in.settings, in.conversation, in.format, in.tool)
}

func (in *geminiRequest) settings(req *Request) *Error {
	config := in.GenerationConfig
	*req = Request{Model: in.model, Stream: in.method == "streamGenerateContent", Stop: config.Stop, MaxTokens: orZero(config.MaxTokens), Field: "generation_config",
		Thinks: config.Thinking.Include, Choices: orZero(config.Candidates), Logprobs: config.Logprobs, TopLogprobs: orZero(config.TopLogprobs)}
	return firstOf(
		rule{len(in.Contents) == 0, &Error{Message: "contents is not specified", Param: "contents"}},
		rule{req.Stream && !in.sse, &Error{Message: "This server streams server-sent events alone: call it with ?alt=sse."}},
		rule{config.MaxTokens != nil && *config.MaxTokens < 1, &Error{Message: "max_output_tokens must be positive.", Param: "generation_config.max_output_tokens"}},
		rule{config.Candidates != nil && (*config.Candidates < 1 || *config.Candidates > maxCandidates), &Error{
			Message: fmt.Sprintf("candidate_count must be from 1 to %d.", maxCandidates), Param: "generation_config.candidate_count"}},
		rule{config.TopLogprobs != nil && !config.Logprobs, &Error{Message: "logprobs is only allowed when response_logprobs is true.", Param: "generation_config.logprobs"}},
		rule{orZero(config.TopLogprobs) < 0 || orZero(config.TopLogprobs) > maxTopLogprobs, &Error{
			Message: fmt.Sprintf("logprobs must be from 0 to %d.", maxTopLogprobs), Param: "generation_config.logprobs"}},
	)
}

// maxCandidates is the most that candidateCount may be.
const maxCandidates = 8

func (in *geminiRequest) conversation(req *Request) *Error {
	if in.System != nil {
		req.say("system", in.System.text())
	}
	messages, refused := geminiMessages(in.Contents)
	req.Messages = append(req.Messages, messages...)
	return refused
}

// format reads the schema of the answer, in Gemini's form or as JSON Schema.
func (in *geminiRequest) format(req *Request) *Error {
	req.JSON = in.GenerationConfig.MIMEType == "application/json"
	req.Bare = in.GenerationConfig.MIMEType == "text/x.enum" // one of an enum's values (ai.google.dev/api/generate-content)
	own, standard := in.GenerationConfig.Schema, in.GenerationConfig.JSONSchema
	switch {
	case absent(own) && absent(standard):
		return nil
	case !absent(own) && !absent(standard):
		return &Error{Message: "only one of response_schema and response_json_schema may be set", Param: "generation_config"}
	case !req.JSON && !req.Bare:
		return &Error{Message: "response_schema is only allowed when response_mime_type is 'application/json' or 'text/x.enum'", Param: "generation_config.response_schema"}
	case !absent(standard):
		req.Schema, req.Field = standard, "generation_config.response_json_schema"
		return nil
	}
	req.Field = "generation_config.response_schema"
	var refused *Error
	req.Schema, refused = fromGeminiSchema(own, req.Field)
	return refused
}

// ReadCount reads a request whose tokens are to be counted: contents, or a whole request
// to generate content.
func (g Gemini) ReadCount(call *Incoming) (*Request, *Error) {
	var in struct {
		Whole json.RawMessage `json:"generateContentRequest"`
	}
	if json.Unmarshal(call.Body, &in) == nil && !absent(in.Whole) {
		inner := *call
		inner.Body = in.Whole
		call = &inner
	}
	return g.Read(call)
}

// tool reads which function must be called, or may be.
func (in *geminiRequest) tool(req *Request) *Error {
	const param = "tool_config.function_calling_config"
	calling := in.ToolConfig.Calling
	must := false
	switch calling.Mode {
	case "NONE":
		return nil
	case "", "MODE_UNSPECIFIED", "AUTO", "VALIDATED":
	case "ANY":
		must = true
	default:
		return &Error{Message: fmt.Sprintf("Invalid value at 'tool_config.function_calling_config.mode': %q", calling.Mode), Param: param}
	}
	var functions []geminiFunction
	for _, t := range in.Tools {
		functions = append(functions, t.Functions...)
	}
	if must && len(functions) == 0 {
		return &Error{Message: "Function calling config is set without function_declarations.", Param: param}
	}
	for i, f := range functions {
		if len(calling.Allowed) > 0 && !slices.Contains(calling.Allowed, f.Name) {
			continue
		}
		t := Tool{f.Name, f.JSONSchema, fmt.Sprintf("tools[0].function_declarations[%d].parameters", i)}
		if !absent(f.Parameters) {
			var refused *Error
			if t.Parameters, refused = fromGeminiSchema(f.Parameters, t.Field); refused != nil {
				return refused
			}
		}
		if must {
			req.MustCall(t)
			return nil
		}
		req.Tools = append(req.Tools, t)
	}
	if !must {
		return nil
	}
	return &Error{Message: fmt.Sprintf("allowed_function_names holds no name of a function in function_declarations: %s", strings.Join(calling.Allowed, ", ")), Param: param}
}

// text is the text of a turn: what it says, or the input or output of a function.
func (c geminiContent) text() string {
	var texts []string
	for _, p := range c.Parts {
		switch {
		case p.Thought:
		case p.Text != nil:
			texts = append(texts, *p.Text)
		case p.FunctionCall != nil:
			texts = append(texts, string(p.FunctionCall.Args))
		case p.FunctionResponse != nil:
			texts = append(texts, string(p.FunctionResponse.Response))
		}
	}
	return strings.Join(texts, "\n")
}

// geminiMessages reads the conversation. Contents of the same role in a row are one turn:
// the pieces of a stream come back so. A turn with functions' responses has one for each
// call of the turn before.
func geminiMessages(contents []geminiContent) ([]Message, *Error) {
	var out []Message
	var turn string // the role of the turn
	calls, responses, due := 0, 0, 0
	next := func() *Error { // due is the number of calls in the turn before
		if responses != due {
			return &Error{Message: "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn."}
		}
		due, calls, responses = calls, 0, 0
		return nil
	}
	for i, c := range contents {
		role, ok := map[string]string{"": "user", "user": "user", "function": "user", "model": "assistant"}[c.Role]
		field := fmt.Sprintf("contents[%d]", i)
		if !ok {
			return nil, &Error{Message: "Please use a valid role: user, model."}
		}
		if len(c.Parts) == 0 {
			return nil, &Error{Message: "contents.parts must not be empty.", Param: field + ".parts"}
		}
		if role != turn && turn != "" {
			if refused := next(); refused != nil {
				return nil, refused
			}
		}
		turn = role
		for j, p := range c.Parts {
			switch {
			case p.FunctionCall != nil:
				calls++
			case p.FunctionResponse != nil:
				responses++
				role = "tool"
			case p.Text == nil && p.InlineData == nil && absent(p.FileData):
				return nil, &Error{Message: "required oneof field 'data' must have one initialized field", Param: fmt.Sprintf("%s.parts[%d].data", field, j)}
			}
		}
		out = append(out, Message{role, c.text()})
	}
	if refused := next(); refused != nil {
		return nil, refused
	}
	if due > 0 {
		return nil, &Error{Message: "Please ensure that function response turn comes immediately after a function call turn."}
	}
	return out, nil
}
