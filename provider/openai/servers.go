package openai

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"llmcall/provider/internal/wire"
)

// Server is a provider, or a program that serves models, which speaks OpenAI's
// protocol.
type Server struct {
	Name            string // the start of full names: "groq"
	BaseURL         string // its address; "" if it has no fixed one
	BaseURLVariable string // the environment variable of an address to use instead; may be ""
	KeyVariable     string // the environment variable of its key
	KeyOptional     bool   // it may need no key, wherever it runs
	// MaxTokens is the field that limits the answer. All servers but OpenAI
	// support max_tokens; some silently ignore the newer name.
	MaxTokens string
	Schema    SchemaMode // how an answer of a given shape is requested
	Model     string     // the model to use when none is named; may be ""
	Responses bool       // it has the Responses API too, for [NewResponses]
}

const (
	newer  = "max_completion_tokens"
	legacy = "max_tokens"
)

// servers is the table of the servers. Where json_schema depends on the model
// (OpenRouter, Groq, Together, Ollama's cloud), the row says yes, and a refusal
// is remembered; see Options.Schema. The schema is shown in the prompt too where
// the server may silently drop it (OpenRouter), or constrains the model without
// telling it the shape.
//
// Sources, of keys and addresses, of response_format, of the models:
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

// Servers returns the servers that Options.Server accepts, OpenAI first.
func Servers() []Server { return slices.Clone(servers) }

// serverNamed returns the row of a name; "" is OpenAI.
func serverNamed(name string) (Server, error) {
	var names []string
	for _, s := range servers {
		if s.Name == name || name == "" {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Server{}, fmt.Errorf("openai: Server %q: must be one of %s", name, strings.Join(names, ", "))
}

// ownHost reports whether host is OpenAI's, one of its regions, or Azure's.
func ownHost(host string) bool {
	host = strings.ToLower(host)
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com") || strings.HasSuffix(host, ".openai.azure.com")
}

// The environment variables of Azure OpenAI, by the names that OpenAI's SDKs
// use. A version is needed only for what the v1 API, which has no versions, does
// not offer.
const (
	AzureKeyVariable        = "AZURE_OPENAI_API_KEY"
	AzureEndpointVariable   = "AZURE_OPENAI_ENDPOINT" // "https://mine.openai.azure.com"
	AzureAPIVersionVariable = "OPENAI_API_VERSION"    // "2024-10-21"
)

const azure = "azure"

// azureBase returns the address that the path of an API is added to. An address
// with a path is used unchanged. To the bare address of a resource the path of
// the v1 API is added, or, if the version is a date, that of the older API, which
// includes the deployment except for the Responses API.
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
