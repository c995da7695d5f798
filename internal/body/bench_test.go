package body_test

import (
	"strings"
	"testing"

	"llmcall/internal/body"
)

// A body is read before it is sent, even if it is sent as it is: reading must cost little
// beside a call.
func BenchmarkRead(b *testing.B) {
	words := strings.Repeat("Lorem ipsum. ", 80)
	picture := base64Of(make([]byte, 3<<20))
	for _, c := range []struct{ name, protocol, text string }{
		{"chat 1 KiB", "openai", `{"model":"m","messages":[{"role":"system","content":"Be short."},{"role":"user","content":"` + words + `"}],"temperature":0.5,"stream":true}`},
		{"messages 1 KiB", "anthropic", `{"model":"m","max_tokens":100,"messages":[{"role":"user","content":[{"type":"text","text":"` + words + `"}]}]}`},
		{"gemini 1 KiB", "gemini", `{"contents":[{"role":"user","parts":[{"text":"` + words + `"}]}]}`},
		{"chat 4 MiB picture", "openai", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + picture + `"}}]}]}`},
		{"messages 4 MiB picture", "anthropic", `{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + picture + `"}}]}]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			text := []byte(c.text)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := body.Read(c.protocol, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
