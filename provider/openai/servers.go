package openai

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/provider/internal/wire"
)

// Server describes a service, or a program that serves models, which speaks
// OpenAI's protocol.
type Server struct {
	Name            string // "groq", as in a full name
	BaseURL         string // its own address; "" if it has no fixed one
	BaseURLVariable string // the environment variable for an address to use instead; "" if there is none
	KeyVariable     string // the environment variable for its key
	KeyOptional     bool   // it may work without a key at any address
	// MaxTokens is the field that limits the answer: "max_completion_tokens" or
	// "max_tokens". All servers but OpenAI's and Azure's support the latter, and
	// some silently ignore the former.
	MaxTokens string
	Schema    SchemaMode // how to request an answer that fits a schema
	Model     string     // the model to use if the user names none; "" if the user must
	Responses bool       // it has the Responses API too: registers "NAME-responses"; [NewResponses] does not check it
}

const (
	newer  = "max_completion_tokens"
	legacy = "max_tokens"
)

// servers is the table of servers. If json_schema depends on the model
// (OpenRouter, Groq, Together, Ollama's cloud), the row has it, and a refusal is
// remembered; see Options.Schema. The mode is SchemaShown if the server may
// silently drop the schema (OpenRouter), or constrains the model without showing
// it the schema.
//
// Sources of addresses and keys, of response_format, and of the models:
//   - openai: https://developers.openai.com/api/docs/guides/structured-outputs,
//     https://developers.openai.com/api/docs/deprecations
//   - azure: https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle;
//     a model there is a deployment, which has the name that its owner gave it
//   - openrouter: https://openrouter.ai/docs/structured-outputs, "require_parameters",
//     https://openrouter.ai/docs/guides/routing/routers/auto-router
//   - groq: https://console.groq.com/docs/structured-outputs.md,
//     https://console.groq.com/docs/deprecations.md
//   - together: https://docs.together.ai/docs/openai-api-compatibility,
//     https://docs.together.ai/docs/json-mode,
//     https://docs.together.ai/docs/inference/overview
//   - deepseek: https://api-docs.deepseek.com/guides/json_mode,
//     https://api-docs.deepseek.com/quick_start/pricing
//   - vllm: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html,
//     https://docs.vllm.ai/en/latest/features/structured_outputs/
//   - llamacpp: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
//   - ollama: https://docs.ollama.com/api/openai-compatibility,
//     https://docs.ollama.com/capabilities/structured-outputs
var servers = []Server{
	{Name: "openai", BaseURL: DefaultBaseURL, BaseURLVariable: BaseURLVariable, KeyVariable: KeyVariable, MaxTokens: newer, Schema: SchemaNative, Model: DefaultModel, Responses: true},
	{Name: azure, BaseURLVariable: AzureEndpointVariable, KeyVariable: AzureKeyVariable, MaxTokens: newer, Schema: SchemaNative, Responses: true},
	{Name: "openrouter", BaseURL: "https://openrouter.ai/api/v1", KeyVariable: "OPENROUTER_API_KEY", MaxTokens: legacy, Schema: SchemaShown, Model: "openrouter/auto"},
	{Name: "groq", BaseURL: "https://api.groq.com/openai/v1", KeyVariable: "GROQ_API_KEY", MaxTokens: legacy, Schema: SchemaNative, Model: "openai/gpt-oss-120b"},
	{Name: "together", BaseURL: "https://api.together.xyz/v1", KeyVariable: "TOGETHER_API_KEY", MaxTokens: legacy, Schema: SchemaShown, Model: "moonshotai/Kimi-K2.5"},
	{Name: "deepseek", BaseURL: "https://api.deepseek.com", KeyVariable: "DEEPSEEK_API_KEY", MaxTokens: legacy, Schema: SchemaObject, Model: "deepseek-v4-flash"},
	{Name: "vllm", BaseURL: "http://127.0.0.1:8000/v1", KeyVariable: "VLLM_API_KEY", KeyOptional: true, MaxTokens: legacy, Schema: SchemaShown},
	{Name: "llamacpp", BaseURL: "http://127.0.0.1:8080/v1", KeyVariable: "LLAMA_API_KEY", KeyOptional: true, MaxTokens: legacy, Schema: SchemaShown},
	{Name: "ollama", BaseURL: "http://127.0.0.1:11434/v1", KeyVariable: "OLLAMA_API_KEY", KeyOptional: true, MaxTokens: legacy, Schema: SchemaShown},
}

// Servers returns the servers that [Options.Server] accepts, OpenAI first.
func Servers() []Server { return slices.Clone(servers) }

// serverNamed returns the server with a name; "" is OpenAI.
func serverNamed(name string) (Server, error) {
	var names []string
	for _, s := range servers {
		if s.Name == name || name == "" {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Server{}, fmt.Errorf("openai: Server must be one of %s, got %s", nearest.List(name, names), nearest.Shown(name, names))
}

// ownHost reports whether host is OpenAI's, one of its regions, or Azure's.
func ownHost(host string) bool {
	host = strings.ToLower(host)
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com") || strings.HasSuffix(host, ".openai.azure.com")
}

// The environment variables that supply [Options.APIKey], [Options.BaseURL] and
// [Options.APIVersion] for Azure OpenAI, with the names that OpenAI's SDKs use. A
// version is needed only for what the v1 API, which has none, does not offer.
const (
	AzureKeyVariable        = "AZURE_OPENAI_API_KEY"
	AzureEndpointVariable   = "AZURE_OPENAI_ENDPOINT" // "https://mine.openai.azure.com"
	AzureAPIVersionVariable = "OPENAI_API_VERSION"    // "2024-10-21"
)

const azure = "azure"

// azureBase returns the address to which the path of an API is appended. An
// address with a path is used unchanged. The address of a resource, which has
// none, gets the path of the v1 API or, if the version is a date, of the older
// API, which includes the deployment except for the Responses API.
func azureBase(base *url.URL, e *wire.Endpoint, version string, responses bool) *url.URL {
	switch dated := version != "" && version[0] >= '0' && version[0] <= '9'; {
	case strings.Trim(base.Path, "/") != "":
		return base
	case !dated:
		return base.JoinPath("openai", "v1")
	case responses:
		return base.JoinPath("openai")
	default:
		return base.JoinPath("openai", "deployments", url.PathEscape(e.Model))
	}
}
