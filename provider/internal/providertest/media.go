package providertest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
)

// A document of one page, a recording of no sound, and their base64.
var (
	onePage = []byte("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n" +
		"3 0 obj<</Type/Page/Parent 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\nstartxref\n0\n%%EOF\n")
	silence    = []byte("RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00")
	onePage64  = base64.StdEncoding.EncodeToString(onePage)
	silence64  = base64.StdEncoding.EncodeToString(silence)
	documentAt = "https://example.org/a.pdf?x=1"
	soundAt    = "https://example.org/a.mp3"
)

// sentMedia are the parts as each provider gets them, or what an adapter says instead of
// sending one.
var sentMedia = map[string]struct{ document, nameless, documentAt, audio, audioAt string }{
	"openai": {
		document:   `{"file":{"file_data":"data:application/pdf;base64,` + onePage64 + `","filename":"a \"b\".pdf"},"type":"file"}`,
		nameless:   `{"file":{"file_data":"data:application/pdf;base64,` + onePage64 + `","filename":"document.pdf"},"type":"file"}`,
		documentAt: "messages[1].parts[1]: has an address, and OpenAI fetches none: put the bytes of the document into data",
		audio:      `{"input_audio":{"data":"` + silence64 + `","format":"wav"},"type":"input_audio"}`,
		audioAt:    "messages[1].parts[1]: has an address, and OpenAI fetches none: put the bytes of the recording into data",
	},
	"openai-responses": {
		document:   `{"file_data":"data:application/pdf;base64,` + onePage64 + `","filename":"a \"b\".pdf","type":"input_file"}`,
		nameless:   `{"file_data":"data:application/pdf;base64,` + onePage64 + `","filename":"document.pdf","type":"input_file"}`,
		documentAt: `{"file_url":"` + documentAt + `","type":"input_file"}`,
		audio:      "messages[1].parts[1]: is a recording: OpenAI's Responses API takes text, PNG, JPEG, WebP, GIF, PDF; recordings are taken by",
		audioAt:    "messages[1].parts[1]: is a recording: OpenAI's Responses API takes",
	},
	"anthropic": {
		document:   `{"source":{"data":"` + onePage64 + `","media_type":"application/pdf","type":"base64"},"title":"a \"b\".pdf","type":"document"}`,
		nameless:   `{"source":{"data":"` + onePage64 + `","media_type":"application/pdf","type":"base64"},"type":"document"}`,
		documentAt: `{"source":{"url":"` + documentAt + `","type":"url"},"type":"document"}`,
		audio:      "messages[1].parts[1]: is a recording: Anthropic takes text, PNG, JPEG, GIF, WebP, PDF; recordings are taken by",
		audioAt:    "messages[1].parts[1]: is a recording: Anthropic takes",
	},
	"gemini": {
		document:   `{"inlineData":{"data":"` + onePage64 + `","mimeType":"application/pdf"}}`,
		nameless:   `{"inlineData":{"data":"` + onePage64 + `","mimeType":"application/pdf"}}`,
		documentAt: `{"fileData":{"fileUri":"` + documentAt + `","mimeType":"application/pdf"}}`,
		audio:      `{"inlineData":{"data":"` + silence64 + `","mimeType":"audio/wav"}}`,
		audioAt:    `{"fileData":{"fileUri":"` + soundAt + `","mimeType":"audio/mp3"}}`,
	},
}

func mediaAreSentOrRefused(t *testing.T, a Adapter) {
	sent, ok := sentMedia[a.Provider]
	if !ok {
		t.Fatalf("%s is not in sentMedia: what does it get?", a.Provider)
	}
	for _, c := range []struct {
		part llm.Part
		want string
	}{
		{llm.Document{MediaType: "text/wrong", Data: onePage, Name: `a "b".pdf`}, sent.document},
		{llm.Document{Data: onePage}, sent.nameless},
		{llm.Document{URL: documentAt}, sent.documentAt},
		{llm.Audio{MediaType: "audio/wrong", Data: silence}, sent.audio},
		{llm.Audio{URL: soundAt}, sent.audioAt},
	} {
		request := Said(llm.RoleUser, llm.Text("What is this?"), c.part)
		e := NewEcho(t, Reply(200, a.Hello))
		m := a.model(t, e.Server, nil)
		if strings.HasPrefix(c.want, "{") {
			if body := e.Sent(t, m, request); !strings.Contains(canonical(t, body), canonical(t, c.want)) {
				t.Errorf("%T: sent %s, want %s", c.part, body, c.want)
			}
			continue
		}
		notSent(t, e, m, request, c.want)
	}
	// What is wrong with a part is said before it is sent, and without its content.
	picture := append([]byte("\x89PNG\r\n\x1a\n"), "SECRET"...)
	for _, c := range []struct {
		part llm.Part
		want string
	}{
		{llm.Document{Data: picture}, "messages[1].parts[1]: is PNG, which is not a document: send it as an llm.Image"},
		{llm.Document{Data: silence}, "messages[1].parts[1]: is WAV, which is not a document: send it as an llm.Audio"},
		{llm.Document{Data: onePage[:100], Name: "SECRET"}, "messages[1].parts[1]: is a broken PDF: it ends before its end"},
		{llm.Document{Data: []byte("SECRET")}, "messages[1].parts[1]: seems to be text: takes PDF"},
		{llm.Document{URL: "data:application/pdf;base64,SECRET$"}, "messages[1].parts[1]: a data URI with broken base64"},
		{llm.Document{}, "messages[1].parts[1]: must have data or a url"},
	} {
		e := NewEcho(t, Reply(200, a.Hello))
		notSent(t, e, a.model(t, e.Server, nil), Said(llm.RoleUser, llm.Text("What is this?"), c.part), c.want)
	}
}

// notSent makes a call, whole and streamed, that must fail before its request.
func notSent(t *testing.T, e *Echo, m llm.Streamer, request *llm.Request, want string) {
	t.Helper()
	_, err := m.Complete(t.Context(), request)
	if failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
		return
	}
	if strings.Contains(err.Error(), "SECRET") {
		t.Errorf("the error quotes the content: %v", err)
	}
	if _, streamErr := Streamed(t, t.Context(), m, request); streamErr == nil || streamErr.Error() != err.Error() {
		t.Errorf("streamed: got %v, want %v", streamErr, err)
	}
	if e.Body != nil {
		t.Errorf("%s: was sent: %s", want, e.Body)
	}
}

// Whoever gives an address that is the content itself has given the content.
func dataURIsAreWhatTheyHold(t *testing.T, a Adapter) {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	// With a wrong type, the URL-safe alphabet, a line break, and no padding.
	uri := func(data []byte) string {
		text := strings.TrimRight(base64.URLEncoding.EncodeToString(data), "=")
		return "DATA:text/plain;base64," + text[:20] + "\r\n" + text[20:]
	}
	for _, c := range []struct{ data, uri llm.Part }{
		{llm.Image{Data: picture.Bytes()}, llm.Image{URL: uri(picture.Bytes())}},
		{llm.Document{Data: onePage, Name: "a.pdf"}, llm.Document{URL: uri(onePage), Name: "a.pdf"}},
		{llm.Audio{Data: silence}, llm.Audio{URL: uri(silence)}},
	} {
		e := NewEcho(t, Reply(200, a.Hello))
		m := a.model(t, e.Server, nil)
		if _, err := m.Complete(t.Context(), Said(llm.RoleUser, llm.Text("x"), c.data)); err != nil {
			notSent(t, e, m, Said(llm.RoleUser, llm.Text("x"), c.uri), "is a recording")
			continue
		}
		if want, got := string(e.Body), e.Sent(t, m, Said(llm.RoleUser, llm.Text("x"), c.uri)); got != want {
			t.Errorf("%T: sent %s, want %s", c.uri, got, want)
		}
	}
}

// A server may ignore the Exif orientation, and its model sees the photo turned.
func photosAreUpright(t *testing.T, a Adapter) {
	photo := image.NewGray(image.Rect(0, 0, 32, 16))
	for x := range 32 {
		photo.SetGray(x, 3, color.Gray{200})
	}
	var plain bytes.Buffer
	if err := jpeg.Encode(&plain, photo, nil); err != nil {
		t.Fatal(err)
	}
	exif := "Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
	turned := append([]byte("\xFF\xD8\xFF\xE1"), binary.BigEndian.AppendUint16(nil, uint16(len(exif)+2))...)
	turned = append(append(turned, exif...), plain.Bytes()[2:]...)
	e := NewEcho(t, Reply(200, a.Hello))
	m := a.model(t, e.Server, nil)
	if body := e.Sent(t, m, Said(llm.RoleUser, llm.Image{Data: plain.Bytes()})); !strings.Contains(body, base64.StdEncoding.EncodeToString(plain.Bytes())) {
		t.Errorf("an upright photo was changed: %s", body)
	}
	body := e.Sent(t, m, Said(llm.RoleUser, llm.Image{Data: turned}))
	_, text, found := strings.Cut(body, "/9j/") // how a JPEG begins
	text, _, _ = strings.Cut(text, `"`)
	data, err := base64.StdEncoding.DecodeString("/9j/" + text)
	if !found || err != nil {
		t.Fatalf("no JPEG was sent: %v: %s", err, body)
	}
	if config, err := jpeg.DecodeConfig(bytes.NewReader(data)); err != nil || config.Width != 16 || config.Height != 32 || bytes.Contains(data, []byte("Exif")) {
		t.Errorf("sent %d x %d, %v", config.Width, config.Height, err)
	}
}

// canonical returns JSON with the members of its objects in order.
func canonical(t *testing.T, text string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	sorted, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}
