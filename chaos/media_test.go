package chaos_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"llmcall/chaos"
	"llmcall/llm"
	"llmcall/provider"
	_ "llmcall/provider/all"
)

// A program that sends documents and recordings can be tried against each protocol.
func TestDocumentsAndRecordingsAreTaken(t *testing.T) {
	document := llm.Document{Data: []byte("%PDF-1.4\n%%EOF\n"), Name: "a.pdf"}
	documentAt := llm.Document{URL: "https://example.org/a.pdf"}
	recording := llm.Audio{Data: []byte("RIFF\x04\x00\x00\x00WAVE")}
	practice, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(practice)
	defer server.Close()
	for name, parts := range map[string][]llm.Part{
		"openai/gpt-audio":      {document, recording},
		"openai-responses/gpt":  {document, documentAt},
		"anthropic/claude":      {document, documentAt},
		"gemini/gemini-3-flash": {document, documentAt, recording, llm.Audio{URL: "https://example.org/a.mp3"}},
	} {
		base := server.URL
		if strings.HasPrefix(name, "openai") {
			base += "/v1"
		}
		model, err := provider.Open(name, provider.Options{APIKey: "of-the-test", BaseURL: base})
		if err != nil {
			t.Fatal(err)
		}
		request := &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: append([]llm.Part{llm.Text("What is this?")}, parts...)}}}
		answer, err := model.Complete(t.Context(), request)
		if err != nil || answer.Text() == "" {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
		for _, err := range model.(llm.Streamer).Stream(t.Context(), request) {
			if err != nil {
				t.Errorf("%s, streamed: %v", name, err)
			}
		}
	}
	for _, seen := range practice.Requests() {
		if seen.Messages[0].Text != "What is this?" {
			t.Errorf("was seen as %+v", seen.Messages)
		}
	}
}

// Anthropic names the field of a document that it can't read.
func TestABrokenDocumentIsRefused(t *testing.T) {
	practice, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for source, says := range map[string]string{
		`{"type":"base64","media_type":"text/html","data":"AA=="}`: `messages.0.content.0.document.source.base64.media_type: Input should be 'application/pdf'`,
		`{"type":"base64","media_type":"application/pdf"}`:         `document cannot be empty`,
		`{"type":"url"}`:  `messages.0.content.0.document.source.url.url: Field required`,
		`{"type":"disk"}`: `Input tag 'disk' found`,
	} {
		body := `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":` + source + `}]}]}`
		request := httptest.NewRequest("POST", "/v1/messages", strings.NewReader(body))
		request.Header.Set("Anthropic-Version", "2023-06-01")
		answer := httptest.NewRecorder()
		practice.ServeHTTP(answer, request)
		if answer.Code != 400 || !strings.Contains(answer.Body.String(), says) {
			t.Errorf("%s: %d %s, want %q", source, answer.Code, answer.Body, says)
		}
	}
}
