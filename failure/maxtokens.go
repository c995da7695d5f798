package failure

import (
	"strconv"
	"strings"
	"unicode"
)

// MaxTokens reports whether an error refuses the token limit of a request, and returns the
// largest limit between the given and the raised one that it names, or 0. Servers say for
// example:
//
//	max_tokens is too large: 32768. This model supports at most 16384 completion tokens, whereas you provided 32768.
//	max_tokens: 32768 > 8192, which is the maximum allowed number of output tokens for claude-3-haiku
//	Invalid max_tokens value, the valid range of max_tokens is [1, 8192]
//	it has a maxOutputTokens value of 99999 but the supported range is from 1 (inclusive) to 65537 (exclusive)
//
// The maximum of the context window, which the prompt shares, is not that of the answer.
func MaxTokens(err error, given, raised int) (maximum int, refused bool) {
	var f *Error // the outermost
	Find(err, func(e error) (ok bool) {
		f, ok = e.(*Error)
		return ok
	})
	if f == nil || f.Kind != InvalidRequest && f.Kind != ContextTooLong {
		return 0, false
	}
	words := strings.ReplaceAll(strings.ToLower(f.Message), ",", "") // 16,384
	if !aboutLimit(words) {
		return 0, false
	}
	if f.Kind == ContextTooLong || strings.Contains(words, "context length") {
		return 0, true
	}
	for _, digits := range strings.FieldsFunc(words, func(r rune) bool { return !unicode.IsDigit(r) }) {
		n, err := strconv.Atoi(digits)
		if err != nil {
			continue
		}
		if strings.Contains(words, digits+" (exclusive)") {
			n--
		}
		if n > given && n < raised {
			maximum = max(maximum, n)
		}
	}
	return maximum, true
}

func aboutLimit(words string) bool {
	for _, name := range []string{
		"max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "maxoutputtokens", "max tokens", "maximum tokens",
		"completion tokens", "in the completion", "output tokens",
	} {
		if strings.Contains(words, name) {
			return true
		}
	}
	return false
}
