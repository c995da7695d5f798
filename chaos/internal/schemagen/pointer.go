package schemagen

import (
	"strconv"

	"llmcall/internal/say"
)

// Tokens splits a JSON pointer (RFC 6901).
func Tokens(text string) (path []string, ok bool) {
	path, err := say.Tokens(text)
	return path, err == nil
}

// pointer writes a path as a JSON pointer.
func pointer(path []string) string { return say.Pointer(path...) }

// Index reads a pointer's token as the index of an array.
func Index(token string) (int, bool) {
	i, err := strconv.Atoi(token)
	return i, err == nil && i >= 0 && strconv.Itoa(i) == token
}

// Lookup returns the value at a path.
func Lookup(v any, path []string) (any, bool) {
	for _, token := range path {
		switch c := v.(type) {
		case map[string]any:
			inner, ok := c[token]
			if !ok {
				return nil, false
			}
			v = inner
		case []any:
			i, ok := Index(token)
			if !ok || i >= len(c) {
				return nil, false
			}
			v = c[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// replaced returns v with the value at a path, which is there, replaced. v
// itself stays as it is.
func replaced(v any, path []string, with any) any {
	if len(path) == 0 {
		return with
	}
	switch c := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(c))
		for name, inner := range c {
			out[name] = inner
		}
		out[path[0]] = replaced(c[path[0]], path[1:], with)
		return out
	case []any:
		out := append([]any(nil), c...)
		i, _ := Index(path[0])
		out[i] = replaced(c[i], path[1:], with)
		return out
	}
	return v
}
