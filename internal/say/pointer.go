package say

import (
	"errors"
	"fmt"
	"strings"
)

var (
	escapes   = strings.NewReplacer("~", "~0", "/", "~1")
	unescapes = strings.NewReplacer("~0", "~", "~1", "/")
	noEscapes = strings.NewReplacer("~0", "", "~1", "")
)

// Pointer writes tokens as a JSON pointer (RFC 6901, section 3). Without tokens
// it is "", which points to the whole value. What it writes can be added to
// another pointer.
func Pointer(tokens ...string) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteByte('/')
		b.WriteString(escapes.Replace(token))
	}
	return b.String()
}

// maxPointer is how long a pointer that [ShortPointer] writes may be, in bytes.
const maxPointer = 250

// ShortPointer is [Pointer], but a long one ends early: it points to what the
// value is in.
func ShortPointer(tokens []string) string {
	n := 0
	for i, token := range tokens {
		if n+len(token) > maxPointer {
			return Pointer(tokens[:i]...)
		}
		n += len(Pointer(token))
	}
	return Pointer(tokens...)
}

// Tokens reads a JSON pointer (RFC 6901, sections 3 and 4). The error says what
// is wrong with one that is not.
func Tokens(pointer string) ([]string, error) {
	if pointer == "" {
		return nil, nil
	}
	rest, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return nil, errors.New("it must begin with /")
	}
	tokens := strings.Split(rest, "/")
	for i, token := range tokens {
		if strings.Contains(noEscapes.Replace(token), "~") {
			return nil, fmt.Errorf("%q has a ~ that neither 0 nor 1 follows", Short(token, 60))
		}
		tokens[i] = Unescape(token)
	}
	return tokens, nil
}

// Unescape returns what one token of a JSON pointer stands for. A ~ that is not
// part of an escape stays as it is.
func Unescape(token string) string { return unescapes.Replace(token) }
