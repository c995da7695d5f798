package openai_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/gif"
	"os"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

const pdf = "%PDF-1.4\n%%EOF\n"

// What a server takes is in its documentation; what that leaves open is the server's to
// decide.
func TestServersTakeWhatTheirDocumentationSays(t *testing.T) {
	document, documentAt := llm.Document{Data: []byte(pdf)}, llm.Document{URL: "https://example.org/a.pdf"}
	wav, m4a := llm.Audio{Data: []byte("RIFF\x04\x00\x00\x00WAVE")}, llm.Audio{Data: []byte("\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00")}
	file := `"file":{"file_data":"data:application/pdf;base64,` + base64.StdEncoding.EncodeToString([]byte(pdf)) + `"`
	for _, c := range []struct {
		server string
		part   llm.Part
		sent   string // a piece of the body
		says   string // a piece of the refusal
	}{
		{"openai", document, file, ""}, {"openai", m4a, "", "is M4A: OpenAI takes WAV, MP3"},
		{"azure", wav, `"format":"wav"`, ""}, {"azure", llm.Audio{Data: append([]byte("RIFF\x04\x00\x00\x00WAVE"), make([]byte, 20<<20)...)}, "", "Azure takes at most 20971520"},
		{"openrouter", document, file, ""}, {"openrouter", documentAt, `"file_data":"https://example.org/a.pdf"`, ""}, {"openrouter", m4a, `"format":"m4a"`, ""},
		{"openrouter", llm.Audio{URL: "https://example.org/a.mp3"}, "", "OpenRouter fetches none"},
		{"llamacpp", document, "", "is a document: llama.cpp takes text, PNG, JPEG, GIF, WAV, MP3; documents are taken by"}, {"llamacpp", wav, `"format":"wav"`, ""}, {"llamacpp", m4a, "", "llama.cpp takes WAV, MP3"},
		{"ollama", document, "", "is a document: Ollama takes"}, {"ollama", wav, `"format":"wav"`, ""},
		{"vllm", document, file, ""}, {"vllm", llm.Audio{Data: []byte("fLaC\x00")}, `"format":"flac"`, ""}, {"vllm", documentAt, "", "vllm fetches none"},
		{"groq", document, file, ""}, {"together", wav, `"format":"wav"`, ""}, {"deepseek", document, file, ""},
	} {
		e := providertest.NewEcho(t, providertest.Reply(200, `{"choices":[{"finish_reason":"stop","message":{"role":"assistant","content":"A cat."}}]}`))
		m, err := openai.New("one", openai.Options{Server: c.server, APIKey: "key-of-the-test", BaseURL: e.URL + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Complete(t.Context(), &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{c.part}}}})
		switch {
		case c.says != "":
			if failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), "messages[0].parts[0]: ") || !strings.Contains(err.Error(), c.says) || e.Body != nil {
				t.Errorf("%s, %T: %v, sent %d bytes; want %q", c.server, c.part, err, len(e.Body), c.says)
			}
		case err != nil || !strings.Contains(string(e.Body), c.sent) || !json.Valid(e.Body):
			t.Errorf("%s, %T: %v, sent %s; want %q", c.server, c.part, err, e.Body, c.sent)
		}
	}
}

// OpenAI's limits of pictures are OpenAI's and Azure's. Other servers are held to what their
// own documentation says.
func TestPicturesAreHeldToTheServersOwnLimits(t *testing.T) {
	animated := &gif.GIF{Delay: []int{1, 1}}
	for range 2 {
		animated.Image = append(animated.Image, image.NewPaletted(image.Rect(0, 0, 8, 6), color.Palette{color.White, color.Black}))
	}
	var film bytes.Buffer
	if err := gif.EncodeAll(&film, animated); err != nil {
		t.Fatal(err)
	}
	webp, err := os.ReadFile("../../picture/testdata/lossless.webp")
	if err != nil {
		t.Fatal(err)
	}
	heic := []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
	for _, c := range []struct {
		server string
		data   []byte
		sent   string // the media type
		says   string // of a refusal
	}{
		{"openai", film.Bytes(), "image/png", ""}, {"azure", film.Bytes(), "image/png", ""},
		{"groq", film.Bytes(), "image/gif", ""}, {"vllm", film.Bytes(), "image/gif", ""}, {"openrouter", film.Bytes(), "image/gif", ""},
		{"openai", webp, "image/webp", ""}, {"ollama", webp, "image/webp", ""}, {"llamacpp", webp, "image/png", ""},
		{"openai", heic, "", "is HEIC: OpenAI takes"}, {"azure", heic, "", "is HEIC: Azure takes"}, {"ollama", heic, "", "is HEIC: Ollama takes"}, {"groq", heic, "", "is HEIC: groq takes"},
	} {
		e := providertest.NewEcho(t, providertest.Reply(200, `{"choices":[{"finish_reason":"stop","message":{"role":"assistant","content":"A cat."}}]}`))
		m, err := openai.New("one", openai.Options{Server: c.server, APIKey: "key-of-the-test", BaseURL: e.URL + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Complete(t.Context(), &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{llm.Image{Data: c.data}}}}})
		if c.says != "" {
			if failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %q", c.server, err, c.says)
			}
			continue
		}
		if err != nil || !strings.Contains(string(e.Body), `"url":"data:`+c.sent+`;`) {
			t.Errorf("%s: %v, want %s in %.200s", c.server, err, c.sent, e.Body)
		}
	}
}
