package say

import "strings"

// minSecret is the length of the shortest key that is removed from texts. A shorter one,
// such as the "x", "none" or "ollama" that one's own servers accept, is not a secret, and is
// part of other words: without it "context_length_exceeded" would be "conte[key]t_length_e[key]ceeded".
const minSecret = 8

// hidden is the text that replaces a key.
const hidden = "[key]"

// Hide returns a text without a key, which is replaced by "[key]" even where it is broken
// by spaces and line ends, as by a program that prints requests and wraps long lines. A key
// of fewer than 8 bytes is left.
func Hide(text, key string) string {
	if len(key) < minSecret {
		return text
	}
	var kept strings.Builder
	done := 0 // how much of text is in kept or was removed
	for at := 0; at < len(text); {
		first := strings.IndexByte(text[at:], key[0])
		if first < 0 {
			break
		}
		at += first
		n := spread(text[at:], key)
		if n == 0 {
			at++
			continue
		}
		kept.WriteString(text[done:at] + hidden)
		at += n
		done = at
	}
	return kept.String() + text[done:]
}

// spread returns how many bytes at the start of text are the key, ignoring white
// space and control characters; 0 if text does not begin with the key.
func spread(text, key string) int {
	found := 0
	for i := range len(text) {
		switch {
		case text[i] == key[found]:
			found++
			if found == len(key) {
				return i + 1
			}
		case text[i] > ' ':
			return 0
		}
	}
	return 0
}
