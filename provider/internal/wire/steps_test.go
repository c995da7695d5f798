package wire

import (
	"encoding/json"
	"fmt"
	"testing"

	"llmcall/failure"
)

// What servers say when they refuse a part of a request.
func TestRefusals(t *testing.T) {
	const schemas = StrictSchema | LooseSchema
	for _, step := range []struct {
		status  int
		message string
		asked   Feature
		refused Feature
		all     bool
	}{
		// OpenAI. https://github.com/tidyverse/ellmer/issues/671, https://github.com/langchain-ai/langchain/pull/25169
		{400, "Invalid schema for response_format 's': context=('properties', 'home'), $ref cannot have keywords {'description'}.", StrictSchema, StrictSchema, false},
		{400, "Invalid schema for response_format 'structured_data': 6 levels of nesting exceeds limit of 5.", StrictSchema, StrictSchema, false},
		{400, "Invalid schema for response_format 'J': In context=('properties', 'x'), 'additionalProperties' is required to be supplied and to be false", StrictSchema, StrictSchema, false},
		{400, "Invalid schema for response_format 's': In context=('properties', 'u'), 'format' 'uri' is not supported.", StrictSchema, StrictSchema, false},
		{400, "Invalid schema for text.format 's': schema must have a 'type' key.", StrictSchema, StrictSchema, false},
		{400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", StrictSchema, schemas, true},
		{400, "Invalid parameter: 'response_format' of type 'json_object' is not supported with this model.", JSONMode, JSONMode, true},
		{400, "Unknown parameter: 'response_format.json_schema.strict'.", StrictSchema, StrictSchema, true},
		// Azure.
		{400, "response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later", StrictSchema, schemas, true},
		// Groq, DeepSeek, and what pydantic says.
		{400, "This model does not support response format `json_schema`. See supported models.", StrictSchema, schemas, true},
		{400, "This response_format type is unavailable now", StrictSchema, schemas, true},
		{422, "[{'loc': ('body', 'response_format', 'type'), 'msg': \"Input should be 'text' or 'json_object'\"}]", LooseSchema, LooseSchema, true},
		// LM Studio, and DeepInfra. https://github.com/truefoundry/models/pull/913
		{400, "'response_format.type' must be 'json_schema' or 'text'", JSONMode, JSONMode, false},
		{405, "deepinfra error: json_object response format is not supported for model: stepfun-ai/Step-3.5-Flash", JSONMode, JSONMode, true},
		// vLLM. https://github.com/vllm-project/vllm/issues/16321
		{400, "The provided JSON schema contains features not supported by xgrammar.", StrictSchema, StrictSchema, false},
		{400, "Grammar error: Unknown format: uri", StrictSchema, StrictSchema, false},
		{400, "Grammar error: Unimplemented keys: [\"patternProperties\"]", LooseSchema, LooseSchema, false},
		// llama.cpp. https://github.com/ggml-org/llama.cpp/issues/19051
		{400, "Failed to initialize samplers: failed to parse grammar", StrictSchema, StrictSchema, false},
		{500, "failed to parse grammar", StrictSchema, StrictSchema, false},
		{400, "Cannot use custom grammar constraints with tools.", StrictSchema, StrictSchema, false},
		{400, `JSON schema conversion failed:\nUnrecognized schema: true`, LooseSchema, LooseSchema, false},
		// Anthropic.
		{400, "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false", StrictSchema, StrictSchema, false},
		{400, "Schema is too complex", StrictSchema, StrictSchema, false},
		{400, "Too many recursive definitions in schema", StrictSchema, StrictSchema, false},
		// https://github.com/anthropics/anthropic-sdk-python/issues/1185
		{400, "The compiled grammar is too large, which would cause performance issues. Simplify your tool schemas or reduce the number of strict tools.", StrictSchema, StrictSchema, false},
		{400, "output_config: Extra inputs are not permitted", StrictSchema, schemas, true},
		{400, "Thinking may not be enabled when tool_choice forces tool use", ForcedTool, ForcedTool, true},
		// Gemini. https://github.com/googleapis/python-genai/issues/660, https://github.com/googleapis/js-genai/issues/882
		{400, "The specified schema produces a constraint that has too many states for serving.  Typical causes of this error are schemas with lots of text", StrictSchema, StrictSchema, false},
		{400, "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth.", StrictSchema, StrictSchema, false},
		{400, `Invalid JSON payload received. Unknown name "responseJsonSchema" at 'generation_config': Cannot find field.`, StrictSchema, StrictSchema, false},
		{400, "JSON mode is not enabled for models/gemma-3-27b-it", StrictSchema, schemas, true},
		{400, "JSON mode is not enabled for models/gemma-3-27b-it", JSONMode, JSONMode, true},
		{400, "Function calling with a response mime type: 'application/json' is unsupported", StrictSchema, schemas, true},
		{400, "Developer instruction is not enabled for models/gemma-3-27b-it", SystemMessages, SystemMessages, true},
		// Chat templates of models without a system role, as vLLM, TGI and mistral.rs report them.
		{400, "System role not supported", SystemMessages, SystemMessages, true},
		{400, "Conversation roles must alternate user/assistant/user/assistant/...", SystemMessages | StrictSchema, SystemMessages, true},
		{500, "Jinja Exception: Only user and assistant roles are supported!; check the chat template", SystemMessages, SystemMessages, true},
		{422, "Input should be 'user' or 'assistant', got 'system'", SystemMessages, SystemMessages, true},
		// The rest of what OpenAI's servers lack.
		{422, "stream_options: Extra inputs are not permitted", StreamUsage, StreamUsage, true},
		{400, "Encrypted content is not supported with this model.", EncryptedReasoning, EncryptedReasoning, true},
		// Forced calls: Anthropic with thinking, DeepSeek, Gemini, vLLM.
		{400, "Thinking may not be enabled when tool_choice forces tool use.", ForcedCall, ForcedCall, false},
		{400, "deepseek-reasoner does not support this tool_choice", ForcedCall, ForcedCall, true},
		{400, "Function calling config is set without function_declarations.", ForcedCall, 0, false},
		{400, "Forced function calling (mode = ANY) is only supported for Gemini 1.5 Pro models.", ForcedCall, ForcedCall, false},
		{400, `tool_choice must either be a named tool, "auto", or "none".`, ForcedCall, ForcedCall, false},

		// What was not asked for is not refused, nor is anything by an error about something else.
		{400, "Invalid schema for response_format 's'", 0, 0, false},
		{400, "System role not supported", StrictSchema, 0, false},
		{400, "Unsupported value: 'temperature' does not support 0.5 with this model.", StrictSchema | SystemMessages, 0, false},
		{400, "Invalid schema for function 'f': None is not of type 'object'", StrictSchema, 0, false},
		{400, "tools.0.custom.input_schema: JSON schema is invalid", StrictSchema, 0, false},
		{400, "A FunctionDeclaration in the request exceeds the maximum allowed nesting depth.", StrictSchema, 0, false},
		{400, "Generated JSON does not match the expected schema. Please adjust your prompt. See 'failed_generation' for more details.", StrictSchema, 0, false},
		{500, "the database has no such schema", StrictSchema, 0, false},
		{503, "failed to parse grammar", StrictSchema, 0, false},
		{404, "Unknown model: json_schema", StrictSchema, 0, false},
	} {
		kind := failure.InvalidRequest
		switch step.status {
		case 404:
			kind = failure.ModelNotFound
		case 500, 503:
			kind = failure.Transient
		}
		refused, all := refusedBy(&failure.Error{Kind: kind, Status: step.status, Message: step.message}, step.asked)
		if refused != step.refused || all != step.all {
			t.Errorf("%d %s: refused %v, of all requests: %v; want %v, %v", step.status, step.message, refused, all, step.refused, step.all)
		}
	}
}

// A refusal is remembered for the schema or for the model, and only if the request got
// through without what was refused.
func TestWhatWasRefusedIsRemembered(t *testing.T) {
	one, other := json.RawMessage(`{"a":1}`), json.RawMessage(`{"b":1}`)
	refusal := func(message string) error {
		return &failure.Error{Kind: failure.InvalidRequest, Status: 400, Message: message}
	}
	for _, step := range []struct {
		refusal     error
		then        error
		here, there Feature // what later requests do without: with the same schema, with another
	}{
		{refusal("Grammar error"), nil, StrictSchema, 0},
		{refusal("json_schema is not supported"), nil, StrictSchema | LooseSchema, StrictSchema | LooseSchema},
		{refusal("Grammar error"), &failure.Error{Kind: failure.RateLimited, Status: 429}, StrictSchema, 0},
		{refusal("Grammar error"), refusal("no"), 0, 0},
		{refusal("Grammar error"), &failure.Error{Kind: failure.Transient, Status: 500}, 0, 0},
		{refusal("Grammar error"), &failure.Error{Kind: failure.Transient}, 0, 0}, // the network broke
		{refusal("no"), nil, 0, 0},
	} {
		var l Lacks
		s := l.For(one)
		if s.down(t.Context(), step.refusal, StrictSchema) && s.down(t.Context(), step.then, 0) {
			t.Errorf("%v, %v: goes on for ever", step.refusal, step.then)
		}
		if here, there := l.For(one).without, l.For(other).without; here != step.here || there != step.there {
			t.Errorf("%v, %v: without %v, and %v with another schema; want %v, %v", step.refusal, step.then, here, there, step.here, step.there)
		}
	}

	var l Lacks
	for i := range maxSchemas + 1 {
		schema := json.RawMessage(fmt.Sprintf(`{"const":%d}`, i))
		s := l.For(schema)
		s.down(t.Context(), refusal("Grammar error"), StrictSchema)
		s.down(t.Context(), nil, 0)
	}
	if len(l.schemas) != 1 {
		t.Errorf("remembers %d schemas", len(l.schemas))
	}
}
