package failure

import (
	"errors"
	"testing"
)

func TestMaxTokens(t *testing.T) {
	for _, step := range []struct {
		kind    Kind
		message string
		maximum int
		refused bool
	}{
		// https://github.com/openai/openai-python/issues/687 and the providers' kin.
		{InvalidRequest, "max_tokens is too large: 32768. This model supports at most 16384 completion tokens, whereas you provided 32768.", 16384, true},
		{InvalidRequest, "max_tokens: 32768 > 8192, which is the maximum allowed number of output tokens for claude-3-5-haiku-20241022", 8192, true},
		{InvalidRequest, "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192, true},
		{InvalidRequest, "`max_tokens` must be less than or equal to `8,192`, the maximum value for `max_tokens`", 8192, true},
		{InvalidRequest, "Unable to submit request because it has a maxOutputTokens value of 32768 but the supported range is from 1 (inclusive) to 8193 (exclusive).", 8192, true},
		{InvalidRequest, "max_output_tokens must be from 1 (inclusive) to 8,193 (exclusive)", 8192, true},
		{InvalidRequest, "The maximum tokens you requested exceeds the model limit of 5000. Try again with a maximum tokens value that is lower than 5000.", 5000, true},
		{InvalidRequest, "max_tokens is too large", 0, true},
		{InvalidRequest, "max_tokens is above 1024", 0, true}, // below what was given
		{ContextTooLong, "This model's maximum context length is 8192 tokens. However, you requested 32788 tokens (20 in the messages, 32768 in the completion).", 0, true},
		{InvalidRequest, "'max_tokens' or 'max_completion_tokens' is too large: 32768. This model's maximum context length is 8192 tokens and your request has 20 input tokens (32768 > 8192 - 20).", 0, true},

		{InvalidRequest, "temperature: must be at most 2", 0, false},
		{ContextTooLong, "prompt is too long: 210000 tokens > 200000 maximum", 0, false},
		{RateLimited, "Limit 30000 output tokens per minute", 0, false},
	} {
		maximum, refused := MaxTokens(&Error{Kind: step.kind, Status: 400, Message: step.message}, 4096, 32768)
		if maximum != step.maximum || refused != step.refused {
			t.Errorf("%s: got %d, %v; want %d, %v", step.message, maximum, refused, step.maximum, step.refused)
		}
	}
	for _, err := range []error{nil, errors.New("max_tokens")} {
		if _, refused := MaxTokens(err, 1, 2); refused {
			t.Errorf("%v is no refusal", err)
		}
	}
}
