package chaos

import "unicode/utf8"

// charsPerToken is what English text has, about.
const charsPerToken = 4

func tokenCount(text string) int {
	return (utf8.RuneCountInString(text) + charsPerToken - 1) / charsPerToken
}
