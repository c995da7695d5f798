package front_test

import (
	"testing"

	"llmcall/gateway/internal/front"
	"llmcall/llm"
)

// BenchmarkText is a piece of a stream.
func BenchmarkText(b *testing.B) {
	for _, p := range protocols() {
		b.Run(p.Name(), func(b *testing.B) {
			s := front.NewStream(p, options(p.Name(), false))
			b.ReportAllocs()
			for b.Loop() {
				s.Text("a few words")
			}
		})
	}
}

// BenchmarkWhole is an answer of a kilobyte.
func BenchmarkWhole(b *testing.B) {
	text := make([]byte, 1<<10)
	for i := range text {
		text[i] = 'a' + byte(i%26)
	}
	resp := said(llm.Text(text))
	for _, p := range protocols() {
		b.Run(p.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				front.Whole(p, resp, options(p.Name(), false))
			}
		})
	}
}
