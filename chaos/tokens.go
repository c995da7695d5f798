package chaos

import "unicode/utf8"

// charsPerToken is approximately that of English text.
const charsPerToken = 4

func tokenCount(text string) int {
	return (utf8.RuneCountInString(text) + charsPerToken - 1) / charsPerToken
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}
