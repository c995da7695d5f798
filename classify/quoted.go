package classify

import (
	"slices"
	"strings"
)

// longestRead is how much of a message is looked at for words.
const longestRead = 16 << 10

// unquoted returns a message without what is in quotes: a server that finds
// fault with a request quotes it, and what the caller wrote decides nothing. The
// quoted message of another server, as a proxy hands it on, is kept.
func unquoted(s string) string {
	s = s[:min(len(s), longestRead)]
	var b strings.Builder
	var open [256]bool // quotes of this kind that open have no end
	kept := -1         // the end of a message that is kept
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			b.WriteString(s[i : i+2])
			i++
			continue
		}
		b.WriteByte(c)
		if c != '\'' && c != '"' && c != '`' || i == kept || open[c] || i > 0 && isWord(s[i-1]) { // an apostrophe
			continue
		}
		switch end := quoteEnd(s, i); {
		case end < 0:
			open[c] = true
		case isMessage(s[:i]):
			kept = end
		default:
			b.WriteByte(c)
			i = end
		}
	}
	return b.String()
}

// quoteEnd returns where the quote that opens at i ends; -1, if it does not.
func quoteEnd(s string, i int) int {
	for end := i + 1; end < len(s); end++ {
		switch {
		case s[end] == '\\':
			end++
		case s[end] == s[i] && (end+1 == len(s) || !isWord(s[end+1])):
			return end
		}
	}
	return -1
}

// isMessage reports whether what follows is the value of a field of JSON, or of
// Python's way to print it, that has a server's own words.
func isMessage(before string) bool {
	before, ok := strings.CutSuffix(strings.TrimRight(before, " "), ":")
	return ok && slices.ContainsFunc(ownWords, func(name string) bool { return strings.HasSuffix(before, name) })
}

var ownWords = []string{
	`"message"`, `"msg"`, `"error"`, `"detail"`, `'message'`, `'msg'`, `'error'`, `'detail'`,
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c >= 0x80
}
