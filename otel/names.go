package otel

import (
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"llmcall/internal/say"
)

// The names of GenAI are in this file alone, since they are all in development, and being
// renamed. They were read on 2026-11-26 from two pages:
//
//   - v1410: the last release of the conventions of OpenTelemetry's core that has them, v1.41.0,
//     https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai
//   - latest: the repository to which they have moved, at commit 32c328e of the guide that lists
//     each change since,
//     https://github.com/open-telemetry/semantic-conventions-genai/blob/32c328e85013588c6fe32ebc30934ab5b1752b6a/docs/gen-ai/non-normative/migration.md
//
// Names that both have are constants.
const (
	operationName  = "gen_ai.operation.name"
	providerName   = "gen_ai.provider.name"
	requestModel   = "gen_ai.request.model"
	workflowName   = "gen_ai.workflow.name"
	toolName       = "gen_ai.tool.name"
	inputMessages  = "gen_ai.input.messages"
	outputMessages = "gen_ai.output.messages"
	inputTokens    = "gen_ai.usage.input_tokens"
	outputTokens   = "gen_ai.usage.output_tokens"
	cacheRead      = "gen_ai.usage.cache_read.input_tokens"
	reasoning      = "gen_ai.usage.reasoning.output_tokens"
	tokenType      = "gen_ai.token.type"     // v1410 alone
	tokenModality  = "gen_ai.token.modality" // latest alone

	opWorkflow = "invoke_workflow"
	opChat     = "chat"
)

// names are the names that differ.
type names struct {
	cacheWrite string // an attribute of spans
	duration   string // a metric: of an attempt
	tokens     bool   // the metric gen_ai.client.token.usage; else counters and histograms of each kind
}

var (
	v1410  = names{"gen_ai.usage.cache_creation.input_tokens", "gen_ai.client.operation.duration", true}
	latest = names{"gen_ai.usage.cache_write.input_tokens", "gen_ai.client.inference.duration", false}
)

// The metrics of tokens.
const (
	tokenUsage       = "gen_ai.client.token.usage" // v1410
	usageInput       = "gen_ai.client.inference.usage.input_tokens"
	usageOutput      = "gen_ai.client.inference.usage.output_tokens"
	usageCacheRead   = "gen_ai.client.inference.usage.cache_read.input_tokens"
	usageCacheWrite  = "gen_ai.client.inference.usage.cache_write.input_tokens"
	usageReasoning   = "gen_ai.client.inference.usage.reasoning.output_tokens"
	operationInput   = "gen_ai.client.inference.operation.input_tokens"
	operationOutput  = "gen_ai.client.inference.operation.output_tokens"
	callDuration     = "llmcall.call.duration"
	attemptDelay     = "llmcall.attempt.delay"
	attemptCost      = "llmcall.cost"
	checkTokens      = "llmcall.checks.tokens"
	optInVariable    = "OTEL_SEMCONV_STABILITY_OPT_IN"
	optInLatest      = "gen_ai_latest_experimental"
	captureVariable  = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
	errorType        = "error.type"
	resendCount      = "http.request.resend_count"
	callID           = "llmcall.call.id"
	callReason       = "llmcall.reason"
	callAttempts     = "llmcall.attempts"
	callModel        = "llmcall.model"
	callPerson       = "llmcall.person"
	attemptNumber    = "llmcall.attempt"
	attemptStage     = "llmcall.stage"
	attemptWhy       = "llmcall.why"
	attemptOutcome   = "llmcall.outcome"
	attemptWaited    = "llmcall.delay"
	attemptReason    = "llmcall.delay_reason"
	attemptChecks    = "llmcall.checks"
	attemptComplains = "llmcall.complaints"
	attemptNotes     = "llmcall.notes"
	attemptCircuit   = "llmcall.circuit"
	attemptDollars   = "llmcall.cost_usd"
	attemptHedge     = "llmcall.hedge"
	checkInput       = "llmcall.checks.input_tokens"
	checkOutput      = "llmcall.checks.output_tokens"
	eventWait        = "llmcall.wait"
	waitReason       = "llmcall.wait.reason"
	waitSeconds      = "llmcall.wait.seconds"
	eventTool        = "llmcall.tool"
	toolSeconds      = "llmcall.tool.seconds"
	toolBytes        = "llmcall.tool.bytes"
)

// optedIn returns the names that the environment asks for.
func optedIn() names {
	for word := range strings.SplitSeq(os.Getenv(optInVariable), ",") {
		if strings.TrimSpace(word) == optInLatest {
			return latest
		}
	}
	return v1410
}

// captures reports whether the environment asks for contents on spans. The values are those
// of OpenTelemetry's own instrumentations.
func captures() bool {
	return slices.Contains([]string{"true", "span_only", "span_and_event"}, strings.ToLower(os.Getenv(captureVariable)))
}

// providers are the names that the conventions have for providers whose name is another here.
var providers = map[string]string{
	"openai-responses": "openai", "gemini": "gcp.gemini", "vertex": "gcp.vertex_ai", "bedrock": "aws.bedrock",
	"azure": "azure.ai.openai", "azure-responses": "azure.ai.openai", "mistral": "mistral_ai", "xai": "x_ai", "moonshot": "moonshot_ai",
}

// other is the value of what has no name, or one too many.
const other = "_OTHER"

// longest is how many characters of a model's name are in a span: a gateway's clients may
// send any name.
const longest = 200

// split returns the provider and the model of a full name, as the conventions have them.
func split(fullName string) (provider, model string) {
	fullName = say.Short(strings.ToValidUTF8(fullName, "\uFFFD"), longest)
	provider, model, ok := strings.Cut(fullName, "/")
	if !ok {
		return other, fullName
	}
	if known, ok := providers[provider]; ok {
		provider = known
	}
	return provider, model
}

// about returns the attributes of a request to a model.
func about(fullName string) []attribute.KeyValue {
	provider, model := split(fullName)
	return []attribute.KeyValue{
		attribute.String(operationName, opChat), attribute.String(providerName, provider), attribute.String(requestModel, model),
	}
}
