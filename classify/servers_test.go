package classify_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"llmcall/classify"
	"llmcall/failure"
)

// Bodies of servers, as they were reported. The comments have the reports.
func TestKindsOfServersAsReported(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   failure.Kind
	}{
		// https://github.com/ggml-org/llama.cpp/issues/19774
		{"llama.cpp, context", 500, `{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}`, failure.ContextTooLong},
		// https://github.com/ggml-org/llama.cpp/pull/15780
		{"llama.cpp, context of a slot", 500, `{"error":{"code":500,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":1407,"n_ctx":256}}`, failure.ContextTooLong},
		// https://github.com/fedora-copr/logdetective-website/pull/193
		{"llama-cpp-python, context", 500, `{"error":{"message":"Requested tokens (2285) exceed context window of 2048","type":"internal_server_error","param":null,"code":null}}`, failure.ContextTooLong},
		// https://github.com/Gabesarch/grounded-rl/issues/16
		{"SGLang, context", 400, `{"object":"error","message":"The input (5000 tokens) is longer than the model's context length (4096 tokens).","type":"BadRequestError","code":400}`, failure.ContextTooLong},
		{"Ollama, context", 400, `{"error":"the input length exceeds the context length"}`, failure.ContextTooLong},
		{"Moonshot, context", 400, `{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192","type":"invalid_request_error"}}`, failure.ContextTooLong},
		{"vLLM, context", 400, `{"object":"error","message":"The decoder prompt (length 10127) is longer than the maximum model length of 8192. Make sure that ` + "`max_model_len`" + ` is no smaller than the number of text tokens plus multimodal tokens.","type":"BadRequestError","param":null,"code":400}`, failure.ContextTooLong},
		// https://github.com/vllm-project/vllm/issues/12165
		{"vLLM, context with pictures", 400, `{"object":"error","message":"The prompt (total length 25938) is too long to fit into the model (context length 4096).","type":"BadRequestError","param":null,"code":400}`, failure.ContextTooLong},
		// https://docs.litellm.ai/docs/exception_mapping
		{"LiteLLM, context", 400, `{"error":{"message":"litellm.BadRequestError: litellm.ContextWindowExceededError: the prompt does not fit","type":null,"param":null,"code":"400"}}`, failure.ContextTooLong},

		// https://github.com/BerriAI/litellm/pull/16231
		{"LiteLLM, policy", 400, `{"error":{"message":"litellm.BadRequestError: litellm.ContentPolicyViolationError: litellm.ContentPolicyViolationError: AzureException - The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.","type":null,"param":null,"code":"400"}}`, failure.ContentFiltered},
		// https://github.com/BerriAI/litellm/issues/4941
		{"LiteLLM, policy, as a 500", 500, `{"error":{"message":"litellm.ContentPolicyViolationError: AzureException - filtered","type":null,"param":null,"code":"500"}}`, failure.ContentFiltered},
		// https://github.com/666ghj/BettaFish/issues/108
		{"DeepSeek, policy", 400, `{"error":{"message":"Content Exists Risk","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}`, failure.ContentFiltered},
		// https://github.com/deepseek-ai/DeepSeek-V2/issues/30
		{"DeepSeek, policy, another form", 400, `{"detail":"Content Exists Risk"}`, failure.ContentFiltered},

		// https://github.com/BerriAI/litellm/pull/37000, https://github.com/OWASP/OpenCRE/pull/1102
		{"LiteLLM, budget, as a 429", 429, `{"error":{"message":"LiteLLM User: engineer-1, exceeded budget for model=claude-opus-4-8","type":"budget_exceeded","param":null,"code":"429"}}`, failure.QuotaExhausted},
		{"LiteLLM, budget, as a 400", 400, `{"error":{"message":"Budget has been exceeded! Current cost: 5.0, Max budget: 1.0","type":"budget_exceeded","param":null,"code":"400"}}`, failure.QuotaExhausted},
		// https://github.com/BerriAI/litellm/issues/4208
		{"LiteLLM, budget, as an error of the key", 400, `{"error":{"message":"Budget has been exceeded! Current cost: 0.0010747, Max budget: 0.0","type":"auth_error","param":null,"code":400}}`, failure.QuotaExhausted},
		// https://github.com/BerriAI/litellm/issues/14144
		{"LiteLLM, budget, of a server behind it", 400, `{"error":{"message":"litellm.BadRequestError: OpenAIException - Budget has been exceeded! Current cost: 14.2, Max budget: 100. Received Model Group=meta.llama3-8b-instruct-v1:0\nAvailable Model Group Fallbacks=None","type":null,"param":null,"code":"400"}}`, failure.QuotaExhausted},
		{"LiteLLM, budget of a deployment", 429, `{"error":{"message":"No deployments available - crossed budget: Exceeded budget for deployment model_name: x, model_id: y: 0.363 >= 1d","type":"None","param":"None","code":"429"}}`, failure.QuotaExhausted},
		// https://github.com/OWASP/OpenCRE/pull/1102
		{"LiteLLM, budget of an end user", 401, `{"error":{"message":"ExceededBudget: End User=ishaan3 over budget. Spend=0.0008869, Budget=0.0001","type":"auth_error","param":"None","code":401}}`, failure.QuotaExhausted},
		// https://github.com/RooCodeInc/Roo-Code/issues/515, https://github.com/MCPJam/inspector/issues/1287
		{"OpenRouter, limit of a key", 403, `{"error":{"message":"Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys","code":403}}`, failure.QuotaExhausted},
		// https://github.com/tailcallhq/forgecode/issues/571
		{"OpenRouter, credits", 402, `{"error":{"message":"More credits are required to run this request. 128000 token capacity required, 19484 available.","code":402}}`, failure.QuotaExhausted},

		// https://github.com/orbi-build/orbi/issues/561
		{"Groq, a model that the organization blocks", 403, `{"error":{"message":"The model ` + "`groq/compound`" + ` is blocked at the organization level.","type":"permissions_error","code":"model_permission_blocked_org"}}`, failure.ModelNotFound},
		// https://github.com/NVIDIA-NeMo/Guardrails/issues/563
		{"Groq, an organization that is blocked", 400, `{"error":{"message":"Organization has been restricted. Please reach out to support if you believe this was in error.","type":"invalid_request_error","code":"organization_restricted"}}`, failure.Unauthorized},
		// https://github.com/HeyPuter/puter/issues/3168
		{"Together, not serverless", 400, `{"id":"o","error":{"message":"Unable to access non-serverless model mistralai/Mistral-Small-24B-Instruct-2501.","type":"invalid_request_error","param":null,"code":"model_not_available"}}`, failure.ModelNotFound},
		{"Together, not running", 400, `{"id":"o","error":{"message":"The dedicated endpoint for mistralai/Mixtral-8x22B-Instruct-v0.1 is not running.","type":"invalid_request_error","param":null,"code":"dedicated_endpoint_not_running"}}`, failure.ModelNotFound},
		// https://docs.litellm.ai/docs/proxy/virtual_keys
		{"LiteLLM, a model that the key may not use", 401, `{"error":{"message":"key not allowed to access model. This key can only access models=['fast']. Tried to access x","type":"key_model_access_denied","param":"model","code":"401"}}`, failure.ModelNotFound},

		// https://github.com/home-assistant/core/issues/120072
		{"OpenAI, region", 403, `{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}`, failure.Unauthorized},
		// https://github.com/continuedev/continue/issues/11449
		{"OpenAI, region, at the top", 403, `{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}`, failure.Unauthorized},
		// https://github.com/OpenRouterTeam/ai-sdk-provider/issues/187
		{"OpenRouter, region of Gemini", 400, `{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\n \"error\": {\n \"code\": 400,\n \"message\": \"User location is not supported for the API use.\",\n \"status\": \"FAILED_PRECONDITION\"\n }\n}\n","provider_name":"Google AI Studio"}}}`, failure.Unauthorized},
		// https://github.com/anomalyco/opencode/issues/47949
		{"OpenCode, a model's region", 403, `{"type":"error","error":{"type":"RegionError","message":"This model is not available in your country."}}`, failure.ModelNotFound},
		// https://github.com/anomalyco/opencode/issues/42046
		{"a model's region", 403, `{"error":{"message":"This model is not available in your region.","code":403}}`, failure.ModelNotFound},
	} {
		f := classify.Read(classify.Reply{Provider: classify.OpenAI, Status: test.status, Header: http.Header{}, Body: []byte(test.body)})
		if f.Kind != test.want {
			t.Errorf("%s: %v, want %v: %s", test.name, f.Kind, test.want, f.Message)
		}
	}
}

// A server that has nothing at an address says so in many ways. The error has the address,
// and what may be wrong with it; that a model is not there has neither.
func TestAWrongAddressIsNamed(t *testing.T) {
	const nginx = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n</body>\r\n</html>"
	for _, test := range []struct {
		name, provider, address string
		status                  int
		body                    string
		says                    []string // "" alone: nothing of an address
	}{
		// https://github.com/jakobdylanc/llmcord/issues/56
		{"Ollama", classify.OpenAI, "http://127.0.0.1:11434/chat/completions", 404, "404 page not found", []string{"http://127.0.0.1:11434/chat/completions", "ends in /v1", "404 page not found"}},
		// https://github.com/tsundereraws/aisub-translator/issues/2
		{"nginx", classify.OpenAI, "https://api.example.com/chat/completions", 404, nginx, []string{"ends in /v1", "<title>404 Not Found"}},
		// https://github.com/harry0703/MoneyPrinterTurbo/issues/57
		{"OpenAI, the whole path", classify.OpenAI, "https://api.openai.com/v1/chat/completions/chat/completions", 404,
			`{"error":{"message":"Invalid URL (POST /v1/chat/completions/chat/completions)","type":"invalid_request_error","param":null,"code":null}}`, []string{"must end before /chat/completions"}},
		// https://github.com/microsoft/TaskWeaver/issues/11
		{"OpenAI, without /v1", classify.OpenAI, "https://api.openai.com/chat/completions", 404, `{"error":{"message":"Invalid URL (POST /chat/completions)","type":"invalid_request_error","param":null,"code":null}}`, []string{"ends in /v1"}},
		// https://github.com/nomic-ai/gpt4all/issues/3214
		{"OpenAI, newer", classify.OpenAI, "https://api.openai.com/chat/completions", 404, `{"error":{"type":"invalid_request_error","code":"unknown_url","message":"Unknown request URL: POST /chat/completions. Please check the URL for typos, or see the docs at https://platform.openai.com/docs/api-reference/.","param":null}}`, []string{"ends in /v1"}},
		// https://fastapi.tiangolo.com: vLLM, SGLang, LiteLLM
		{"FastAPI", classify.OpenAI, "http://10.0.0.2:8000/chat/completions", 404, `{"detail":"Not Found"}`, []string{"ends in /v1"}},
		// https://github.com/open-webui/open-webui/issues/8048
		{"Open WebUI", classify.OpenAI, "http://localhost:3000/v1/chat/completions", 405, `{"detail":"Method Not Allowed"}`, []string{"is the base URL right? It says"}},
		// https://github.com/ggml-org/llama.cpp, tools/server
		{"llama.cpp", classify.OpenAI, "http://localhost:8080/v2/chat/completions", 404, `{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}`, []string{"/v2/chat/completions"}},
		// https://github.com/stulzq/azure-openai-proxy/issues/52
		{"Azure", classify.OpenAI, "https://x.openai.azure.com/chat/completions", 404, `{"error":{"code":"404","message": "Resource not found"}}`, []string{"x.openai.azure.com"}},
		// https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/618
		{"LM Studio, as a 200", classify.OpenAI, "http://localhost:1234/chat/completions", 200, `{"error":"Unexpected endpoint or method. (POST /chat/completions)"}`, []string{"ends in /v1"}},
		{"Anthropic, the version twice", classify.Anthropic, "https://api.anthropic.com/v1/v1/messages", 404, `{"type":"error","error":{"type":"not_found_error","message":"Not Found"}}`, []string{"must end before /v1,"}},
		{"Anthropic, the whole path", classify.Anthropic, "https://api.anthropic.com/v1/messages/v1/messages", 404, "", []string{"must end before /messages"}},
		{"Gemini", classify.Gemini, "https://generativelanguage.googleapis.com/models/x:generateContent", 404, "<!DOCTYPE html>", []string{"is the base URL right? It says"}},
		{"an address that is not known", classify.OpenAI, "", 404, "404 page not found", []string{"nothing at the address: is the base URL right?"}},
		{"another path than a model's", classify.OpenAI, "https://pay.example.com/charges", 404, nginx, []string{"is the base URL right? It says"}},

		{"no model, OpenAI", classify.OpenAI, "https://api.openai.com/v1/chat/completions", 404, `{"error":{"message":"The model x does not exist","type":"invalid_request_error","param":null,"code":"model_not_found"}}`, nil},
		{"no model, Ollama", classify.OpenAI, "http://localhost:11434/v1/chat/completions", 404, `{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error"}}`, nil},
		{"no model, vLLM", classify.OpenAI, "http://localhost:8000/v1/chat/completions", 404, `{"object":"error","message":"The model x does not exist.","type":"NotFoundError","code":404}`, nil},
		{"no model, Anthropic", classify.Anthropic, "https://api.anthropic.com/v1/messages", 404, `{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}`, nil},
	} {
		reply := classify.Reply{Provider: test.provider, Status: test.status, Header: http.Header{}, Body: []byte(test.body)}
		if test.address != "" {
			address, err := url.Parse(test.address + "?key=AIzaSECRET")
			if err != nil {
				t.Fatal(err)
			}
			reply.Address = address
		}
		f, ok := classify.ReadError(reply)
		if test.status != 200 {
			f, ok = classify.Read(reply), true
		}
		if !ok || f.Kind != failure.ModelNotFound || strings.Contains(f.Message, "SECRET") {
			t.Errorf("%s: %v: %s", test.name, f.Kind, f.Message)
		}
		if named := strings.Contains(f.Message, "the server has nothing at"); named != (test.says != nil) {
			t.Errorf("%s: %s", test.name, f.Message)
		}
		for _, want := range test.says {
			if !strings.Contains(f.Message, want) {
				t.Errorf("%s: no %q in %s", test.name, want, f.Message)
			}
		}
	}
}
