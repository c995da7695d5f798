package chaos

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
)

// A request for more than largeVectors numbers takes some MB, or up to 700 of them for what
// OpenAI takes at most. Only largeAtOnce of these are served at a time; the others wait.
const (
	largeVectors = 1 << 16
	largeAtOnce  = 2
)

// vector invents the embedding of a text: a vector of length 1 that depends only on the
// text. Texts that share words are near each other, so that a search can be tried.
func vector(text string, dimensions int) []float32 {
	sum := make([]float64, dimensions)
	whole := randomOf(text)
	for i := range sum {
		sum[i] = 0.05 * whole.NormFloat64() / math.Sqrt(float64(dimensions))
	}
	for _, word := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return strings.ContainsRune(" \t\r\n.,;:!?\"'()[]{}", r) }) {
		of := randomOf(word)
		for range wordDimensions {
			sum[of.IntN(dimensions)] += of.NormFloat64()
		}
	}
	var square float64
	for _, x := range sum {
		square += x * x
	}
	out := make([]float32, dimensions)
	for i, x := range sum {
		out[i] = float32(x / math.Sqrt(square))
	}
	return out
}

// wordDimensions is how many numbers of a vector a word changes.
const wordDimensions = 32

// randomOf returns a source of numbers that depends on a text alone.
func randomOf(text string) *rand.Rand {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(text)) // never fails
	return rand.New(rand.NewPCG(1, hash.Sum64()))
}
