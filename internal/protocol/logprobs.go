package protocol

import (
	"hash/fnv"
	"math"
	"strings"
)

// tokenRunes is the size of a token, so that a piece of a stream has two.
const tokenRunes = chunkRunes / 2

// logprobs writes the tokens of a text's parts with invented probabilities, which depend
// only on the token.
func (t *Turn) logprobs(parts []string) raw {
	var tokens [][]byte
	for _, part := range parts {
		for part != "" {
			token := firstRunes(part, tokenRunes)
			part = part[len(token):]
			tokens = append(tokens, t.logprob(token))
		}
	}
	return list(tokens)
}

func firstRunes(text string, n int) string {
	for i := range text {
		if n--; n < 0 {
			return text[:i]
		}
	}
	return text
}

// unlikely are tokens that might be there instead of another, at least maxTopLogprobs.
var unlikely = strings.Fields("the of and to a in is it that for was on are as with they at be this have")

const logprobMembers = `"token":%s,"logprob":%s,"bytes":%s`

func (t *Turn) logprob(token string) []byte {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(token)) // never fails
	p := 0.5 + 0.49*float64(hash.Sum32()%1000)/1000
	top := [][]byte{fill("{"+logprobMembers+"}", token, logOf(p), bytesOf(token))}
	rest := 1 - p
	for _, other := range unlikely {
		rest /= 2
		if other = " " + other; other != token {
			top = append(top, fill("{"+logprobMembers+"}", other, logOf(rest), bytesOf(other)))
		}
	}
	n := min(t.Request.TopLogprobs, len(top))
	return fill("{"+logprobMembers+`,"top_logprobs":%s}`, token, logOf(p), bytesOf(token), list(top[:n]))
}

// logOf is a logarithm with four digits after the point.
func logOf(p float64) float64 { return math.Round(math.Log(p)*1e4) / 1e4 }

// bytesOf returns the bytes of a token as numbers: JSON would write a []byte in base64.
func bytesOf(token string) []int {
	out := make([]int, len(token))
	for i := range out {
		out[i] = int(token[i])
	}
	return out
}
