package protocol

import (
	"hash/fnv"
	"math"
	"strings"
)

// tokenRunes is the size of a token, so that a piece of a stream has two.
const tokenRunes = chunkRunes / 2

// logprobs writes the tokens of a text with their probabilities, as OpenAI does.
func (t *Turn) logprobs(text string) raw {
	var tokens [][]byte
	for _, token := range split(text, tokenRunes) {
		of := likely(token)
		var top [][]byte
		for _, other := range of[:min(len(of), t.Request.TopLogprobs)] {
			top = append(top, fill("{%s}", other.openai()))
		}
		tokens = append(tokens, fill(`{%s,"top_logprobs":%s}`, of[0].openai(), list(top)))
	}
	return list(tokens)
}

// unlikely are tokens that might be there instead of another, at least maxTopLogprobs.
var unlikely = strings.Fields("the of and to a in is it that for was on are as with they at be this have")

// probable is a token and the logarithm of its probability.
type probable struct {
	token   string
	logprob float64
}

func (p probable) openai() raw {
	return fill(`"token":%s,"logprob":%s,"bytes":%s`, p.token, p.logprob, bytesOf(p.token))
}

func (p probable) gemini() []byte {
	return fill(`{"token":%s,"logProbability":%s}`, p.token, p.logprob)
}

// likely returns a token and others that might be there instead, with invented
// probabilities, which depend only on the token.
func likely(token string) []probable {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(token)) // never fails
	p := 0.5 + 0.49*float64(hash.Sum32()%1000)/1000
	all := []probable{{token, logOf(p)}}
	rest := 1 - p
	for _, other := range unlikely {
		rest /= 2
		if other = " " + other; other != token {
			all = append(all, probable{other, logOf(rest)})
		}
	}
	return all
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
