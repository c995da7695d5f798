package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// geminiCall splits the path of a call: /v1beta/models/{model}:{method}.
func geminiCall(path string) (model, method string, ok bool) {
	_, rest, ok := strings.Cut(path, "/models/")
	if !ok {
		return "", "", false
	}
	model, method, ok = strings.Cut(rest, ":")
	return model, method, ok && model != "" && !strings.Contains(model, "/") && (method == "generateContent" || method == "streamGenerateContent")
}

type geminiPart struct {
	Text         *string `json:"text"`
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

// read reads a request to generate content (ai.google.dev/api/generate-content).
func (geminiFace) read(call *incoming) (*request, *refusal) {
	model, method, _ := geminiCall(call.path)
	var in struct {
		Contents         []geminiContent `json:"contents"`
		System           *geminiContent  `json:"systemInstruction"`
		GenerationConfig struct {
			MIMEType   string          `json:"responseMimeType"`
			Schema     json.RawMessage `json:"responseSchema"`
			JSONSchema json.RawMessage `json:"responseJsonSchema"`
			MaxTokens  *int            `json:"maxOutputTokens"`
			Stop       []string        `json:"stopSequences"`
			Candidates *int            `json:"candidateCount"`
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
	if err := json.Unmarshal(call.body, &in); err != nil {
		return nil, &refusal{message: "Invalid JSON payload received. " + err.Error()}
	}
	config := in.GenerationConfig
	stream := method == "streamGenerateContent"
	switch {
	case len(in.Contents) == 0:
		return nil, &refusal{message: "contents is not specified", param: "contents"}
	case stream && call.query.Get("alt") != "sse":
		return nil, &refusal{message: "This server streams server-sent events alone: call it with ?alt=sse."}
	case config.MaxTokens != nil && *config.MaxTokens < 1:
		return nil, &refusal{message: "max_output_tokens must be positive.", param: "generation_config.max_output_tokens"}
	case config.Candidates != nil && *config.Candidates != 1:
		return nil, &refusal{message: "Only one candidate can be specified", param: "generation_config.candidate_count"}
	}
	req := &request{model: model, stream: stream, stop: config.Stop, field: "generation_config"}
	if config.MaxTokens != nil {
		req.maxTokens = *config.MaxTokens
	}
	if in.System != nil {
		req.messages = append(req.messages, Message{"system", in.System.text()})
	}
	messages, refused := geminiMessages(in.Contents)
	if refused != nil {
		return nil, refused
	}
	req.messages = append(req.messages, messages...)

	req.json = config.MIMEType == "application/json"
	if refused := req.geminiSchema(config.Schema, config.JSONSchema); refused != nil {
		return nil, refused
	}
	var functions []geminiFunction
	for _, t := range in.Tools {
		functions = append(functions, t.Functions...)
	}
	return req, req.geminiTool(functions, in.ToolConfig.Calling.Mode, in.ToolConfig.Calling.Allowed)
}

// geminiSchema notes the schema of the answer, in Gemini's form or as JSON
// Schema.
func (r *request) geminiSchema(own, standard json.RawMessage) *refusal {
	switch {
	case absent(own) && absent(standard):
		return nil
	case !absent(own) && !absent(standard):
		return &refusal{message: "only one of response_schema and response_json_schema may be set", param: "generation_config"}
	case !r.json:
		return &refusal{message: "response_schema is only allowed when response_mime_type is 'application/json'", param: "generation_config.response_schema"}
	case !absent(standard):
		r.schema, r.field = standard, "generation_config.response_json_schema"
		return nil
	}
	r.field = "generation_config.response_schema"
	var refused *refusal
	r.schema, refused = fromGeminiSchema(own, r.field)
	return refused
}

type geminiFunction struct {
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	JSONSchema json.RawMessage `json:"parametersJsonSchema"`
}

// geminiTool notes the function that must be called.
func (r *request) geminiTool(functions []geminiFunction, mode string, allowed []string) *refusal {
	const param = "tool_config.function_calling_config"
	switch mode {
	case "", "MODE_UNSPECIFIED", "AUTO", "NONE", "VALIDATED":
		return nil
	case "ANY":
	default:
		return &refusal{message: fmt.Sprintf("Invalid value at 'tool_config.function_calling_config.mode': %q", mode), param: param}
	}
	if len(functions) == 0 {
		return &refusal{message: "Function calling config is set without function_declarations.", param: param}
	}
	for i, f := range functions {
		if len(allowed) > 0 && !slices.Contains(allowed, f.Name) {
			continue
		}
		field := fmt.Sprintf("tools[0].function_declarations[%d].parameters", i)
		parameters := f.JSONSchema
		if !absent(f.Parameters) {
			var refused *refusal
			if parameters, refused = fromGeminiSchema(f.Parameters, field); refused != nil {
				return refused
			}
		}
		r.mustCall(f.Name, parameters, field)
		return nil
	}
	return &refusal{message: fmt.Sprintf("allowed_function_names holds no name of a function in function_declarations: %s", list(allowed)), param: param}
}

// text is the text of a turn: what it says, or what goes into a function or
// comes out of it.
func (c geminiContent) text() string {
	var texts []string
	for _, p := range c.Parts {
		switch {
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

// geminiMessages reads the conversation. A turn with functions' responses has
// one for each call of the turn before.
func geminiMessages(contents []geminiContent) ([]Message, *refusal) {
	var out []Message
	due := 0 // calls of the turn before
	for i, c := range contents {
		role, ok := map[string]string{"": "user", "user": "user", "function": "user", "model": "assistant"}[c.Role]
		field := fmt.Sprintf("contents[%d]", i)
		if !ok {
			return nil, &refusal{message: "Please use a valid role: user, model."}
		}
		if len(c.Parts) == 0 {
			return nil, &refusal{message: "contents.parts must not be empty.", param: field + ".parts"}
		}
		calls, responses := 0, 0
		for j, p := range c.Parts {
			switch {
			case p.FunctionCall != nil:
				calls++
			case p.FunctionResponse != nil:
				responses++
			case p.Text == nil && p.InlineData == nil && absent(p.FileData):
				return nil, &refusal{message: "required oneof field 'data' must have one initialized field", param: fmt.Sprintf("%s.parts[%d].data", field, j)}
			}
		}
		if responses != due {
			return nil, &refusal{message: "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn."}
		}
		if due = calls; responses > 0 {
			role = "tool"
		}
		out = append(out, Message{role, c.text()})
	}
	if due > 0 {
		return nil, &refusal{message: "Please ensure that function response turn comes immediately after a function call turn."}
	}
	return out, nil
}
