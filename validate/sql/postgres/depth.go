package postgres

import (
	"regexp"
	"strings"
	"sync"
)

// maxDepth is the deepest syntax tree that is parsed. PostgreSQL's parser has no limit
// that can be set, and its time grows with the cube of the depth: milliseconds for 100,
// seconds for 1000.
const maxDepth = 200

// token matches a token of PostgreSQL's lexical grammar, as far as it matters for
// the depth of a tree (https://www.postgresql.org/docs/current/sql-syntax-lexical.html). It is
// compiled when it is needed: all letters of all scripts take 7 ms.
var token = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?is)^(?:` + strings.Join([]string{
		`\s+`,
		`--[^\n]*`,
		`(?:e'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*")`,
		`[\pL_\x80-\x{10FFFF}][\pL\pN_$\x80-\x{10FFFF}]*`,
		`[0-9.][0-9a-z_.]*`,
		`.`,
	}, "|") + `)`)
})

// depth returns an upper bound for the depth of a text's syntax tree, and the offset
// at which it first exceeds maxDepth.
func depth(text string) (deepest, offset int) {
	// For each open bracket: the number of operators that may be nested in one
	// another, and of joins and set operations.
	type level struct{ operators, joins int }
	levels := []level{{}}
	sum := 0
	for at := 0; at < len(text); {
		rest := text[at:]
		size := len(token().FindString(rest))
		if size == 0 {
			size = 1
		}
		top := &levels[len(levels)-1]
		switch word := strings.ToLower(rest[:size]); {
		case strings.HasPrefix(rest, "/*"):
			size = commentEnd(rest)
		case rest[0] == '$':
			size = dollarEnd(rest)
		case word == "(" || word == "[" || word == "case":
			levels = append(levels, level{})
			sum++
		case word == ")" || word == "]" || word == "end":
			if len(levels) > 1 {
				sum -= 1 + top.operators + top.joins
				levels = levels[:len(levels)-1]
			}
		case word == ";":
			levels, sum = []level{{}}, 0
		case word == "," || word == "and" || word == "or":
			sum -= top.operators
			top.operators = 0
		case word == "join" || word == "union" || word == "intersect" || word == "except":
			top.joins++
			sum++
		case word == "not" || word == "collate" || word == "is" || word == "between" || word == "like" || word == "ilike" || word == "at" ||
			size == 1 && strings.ContainsRune("+-*/<>=~!@#%^&|`?:", rune(rest[0])):
			top.operators++
			sum++
		}
		if sum > deepest {
			deepest = sum
			if sum > maxDepth {
				return deepest, at
			}
		}
		at += size
	}
	return deepest, len(text)
}

// commentEnd returns the length of the comment that a text begins with; comments nest.
func commentEnd(text string) int {
	open := 0
	for at := 0; at+1 < len(text); at++ {
		switch text[at : at+2] {
		case "/*":
			open++
			at++
		case "*/":
			at++
			if open--; open == 0 {
				return at + 1
			}
		}
	}
	return len(text)
}

// dollarEnd returns the length of the dollar-quoted string that a text begins with,
// or 1 if it does not begin with one.
func dollarEnd(text string) int {
	end := 1
	for end < len(text) && (text[end] == '_' || text[end] >= 0x80 || 'a' <= text[end]|0x20 && text[end]|0x20 <= 'z' || '0' <= text[end] && text[end] <= '9' && end > 1) {
		end++
	}
	if end == len(text) || text[end] != '$' {
		return 1
	}
	quote := text[:end+1]
	closing := strings.Index(text[end+1:], quote)
	if closing < 0 {
		return len(text)
	}
	return end + 1 + closing + len(quote)
}
