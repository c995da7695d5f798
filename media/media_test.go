package media

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/picture"
)

const ending = "trailer<</Root 1 0 R>>\nstartxref\n0\n%%EOF\n"

// pdfOf is a PDF with so many pages.
func pdfOf(count int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%%PDF-1.4\n1 0 obj\n<</Type /Catalog /Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type /Pages /Count %d>>\nendobj\n", count)
	for i := range count {
		fmt.Fprintf(&b, "%d 0 obj\n<</Parent 2 0 R/Type/Page>>\nendobj\n", i+3)
	}
	b.WriteString(ending)
	return b.Bytes()
}

// packedPDF is one whose objects are in a stream, as most are since PDF 1.5.
func packedPDF(count int) []byte {
	index, objects := "", ""
	add := func(number int, object string) {
		index += fmt.Sprintf("%d %d ", number, len(objects))
		objects += object + "\n"
	}
	add(2, fmt.Sprintf("<</Type/Pages/Count %d>>", count))
	for i := range count {
		add(i+3, "<</Type/Page/Parent 2 0 R>>")
	}
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	fmt.Fprint(w, index+objects)
	w.Close()
	return fmt.Appendf(nil, "%%PDF-1.5\n1 0 obj\n<</Type /Catalog /Pages 2 0 R>>\nendobj\n9000 0 obj\n<</Type /ObjStm /N %d /First %d /Filter /FlateDecode /Length %d>>\nstream\r\n%s\nendstream\nendobj\n%s",
		count+1, len(index), packed.Len(), packed.Bytes(), ending)
}

// wavOf is a WAV of so many bytes, which are at least 44.
func wavOf(size int) []byte {
	return append([]byte("RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"), make([]byte, size-44)...)
}

func pngOf(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAFileIsThePartThatItsContentIs(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want llm.Part
	}{
		"document":  {pdfOf(1), llm.Document{MediaType: PDF, Name: "named.png"}},
		"recording": {wavOf(44), llm.Audio{MediaType: WAV}},
		"picture":   {pngOf(t, 3, 2), llm.Image{MediaType: picture.PNG}},
	} {
		path := filepath.Join(t.TempDir(), "named.png")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		uri := "data:text/plain;base64," + base64.StdEncoding.EncodeToString(c.data)
		for way, take := range map[string]func() (llm.Part, error){
			"File": func() (llm.Part, error) { return File(path) }, "Bytes": func() (llm.Part, error) { return Bytes(c.data) },
			"DataURI": func() (llm.Part, error) { return DataURI(uri) },
		} {
			got, err := take()
			want := c.want
			switch w := want.(type) {
			case llm.Document:
				w.Data = c.data
				if way != "File" {
					w.Name = ""
				}
				want = w
			case llm.Audio:
				w.Data = c.data
				want = w
			case llm.Image:
				w.Data = c.data
				want = w
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s of a %s: %T, %v", way, name, got, err)
			}
		}
	}
}

func TestWhatIsNotAPart(t *testing.T) {
	whole := pdfOf(9)
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"nothing":     {nil, "is empty"},
		"text":        {[]byte("Hello"), "seems to be text: takes PDF, WAV, MP3, FLAC, OGG, AAC, AIFF, M4A, PNG, JPEG, GIF or WebP"},
		"office":      {[]byte("PK\x03\x04"), "seems to be a ZIP archive (or an office document)"},
		"cut off":     {whole[:len(whole)/2], "is a broken PDF: it ends before its end"},
		"too large":   {make([]byte, MaxFile+1), "is 67108865 bytes: takes at most 67108864 (64 MiB)"},
		"broken PNG":  {[]byte("\x89PNG\r\n\x1a\n"), "is a broken PNG"},
		"Word of old": {[]byte("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"), "seems to be an old office document"},
	} {
		_, err := Bytes(c.data)
		if failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	dir := t.TempDir()
	for path, says := range map[string]string{dir: "is a directory: takes a file", filepath.Join(dir, "missing"): "no such file", os.DevNull: "is a device"} {
		if _, err := File(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
	if _, err := DataURI("data:;base64," + strings.Repeat("A", 3*MaxFile+1)); err == nil || !strings.Contains(err.Error(), "takes at most") {
		t.Errorf("a large data URI: %v", err)
	}
}

func TestPagesAreCounted(t *testing.T) {
	plain, packed := pdfOf(7), packedPDF(12)
	// A later revision took out two pages, and changed one.
	revised := append(bytes.Clone(plain), "2 0 obj<</Type/Pages/Count 5>>endobj\n3 0 obj<</Type/Page/New true>>endobj\n"+ending...)
	for name, c := range map[string]struct {
		data []byte
		want int
	}{
		"plain": {plain, 7}, "packed": {packed, 12}, "revised": {revised, 5}, "nothing": {nil, 0}, "encrypted": {[]byte("%PDF-1.7\n" + ending), 0},
		"a root alone":                  {[]byte("%PDF-1.7\n2 0 obj<</Type/Pages/Count 900>>endobj\n" + ending), 0},
		"a packed part that is cut off": {packed[:bytes.Index(packed, []byte("stream"))+20], 0},
	} {
		if got := pages(c.data); got != c.want {
			t.Errorf("%s: %d pages, want %d", name, got, c.want)
		}
	}
}

// Anthropic's documentation excludes encryption; the others' says nothing of it.
func TestAnEncryptedPDFIsRefusedWhereItIsNotTaken(t *testing.T) {
	trailer := "trailer <</Size 9 /Root 1 0 R /Encrypt 8 0 R>>\nstartxref\n9\n%%EOF\n"
	for name, c := range map[string]struct {
		data      string
		encrypted bool
	}{
		"in the trailer":           {string(pdfOf(2)) + trailer, true},
		"in place":                 {string(pdfOf(2)) + "trailer\n<< /Encrypt<</Filter/Standard>> >>\nstartxref\n0\n%%EOF", true},
		"an earlier revision":      {string(pdfOf(2)) + trailer + "trailer <</Size 10>>\nstartxref\n9\n%%EOF\n", true},
		"in a stream":              {"%PDF-1.7\n9 0 obj<</Type /XRef/Encrypt 8 0 R/Length 3>>stream\nabc\nendstream endobj\nstartxref\n9\n%%EOF", true},
		"none":                     {string(pdfOf(2)), false},
		"none, packed":             {string(packedPDF(2)), false},
		"words of a page":          {"%PDF-1.4\n4 0 obj<</Length 40>>stream\n(/Encrypt 8 0 R) Tj\nendstream endobj\n" + ending, false},
		"a part of another name":   {string(pdfOf(2)) + "trailer <</EncryptMetadata true>>\nstartxref\n9\n%%EOF", false},
		"metadata without a table": {"%PDF-1.4\n4 0 obj<</Encrypt 8 0 R>>endobj\n" + ending, false},
	} {
		document := llm.Document{Data: []byte(c.data)}
		_, err := FitAll(user(document), Anthropic)
		e, refused := errors.AsType[*Error](err)
		if refused != c.encrypted || refused && (e.Limit != "Documents.Unencrypted" || !strings.Contains(err.Error(), "is an encrypted PDF: Anthropic takes none with a password or encryption")) {
			t.Errorf("%s: %v", name, err)
		}
		for _, limits := range []Limits{OpenAI, OpenAIResponses, Gemini} {
			if _, err := FitAll(user(document), limits); err != nil {
				t.Errorf("%s, %s: %v", name, limits.Provider, err)
			}
		}
	}
}

func user(parts ...llm.Part) []llm.Message {
	return []llm.Message{llm.System("x"), {Role: llm.RoleUser, Parts: append([]llm.Part{llm.Text("What is this?")}, parts...)}}
}

func TestLimits(t *testing.T) {
	pdf, wav := llm.Document{Data: pdfOf(3)}, llm.Audio{Data: wavOf(100)}
	document := func(k Kind) Limits { k.Types = []string{PDF}; return Limits{Provider: "P", Documents: k} }
	audio := func(k Kind) Limits { return Limits{Provider: "P", Audio: k} }
	size := len(pdf.Data)
	for name, c := range map[string]struct {
		parts  []llm.Part
		limits Limits
		limit  string // the field; "" if it fits
		says   string
	}{
		"fits":              {[]llm.Part{pdf}, document(Kind{MaxBytes: size, MaxPages: 3, MaxTotalBytes: size, MaxTotalPages: 3}), "", ""},
		"no documents":      {[]llm.Part{pdf}, audio(Kind{Types: []string{WAV}}), "Documents.Types", "messages[1].parts[1]: is a document: P takes text, PNG, JPEG, GIF, WebP, WAV; documents are taken by OpenAI, Azure, Anthropic, Gemini and OpenRouter"},
		"no recordings":     {[]llm.Part{wav}, Anthropic, "Audio.Types", "is a recording: Anthropic takes text, PNG, JPEG, GIF, WebP, PDF; recordings are taken by the models for audio of OpenAI's"},
		"not by address":    {[]llm.Part{llm.Audio{URL: "https://example.org/a.mp3"}}, Limits{}, "Audio.Types", "the provider takes text"},
		"another type":      {[]llm.Part{llm.Audio{Data: []byte("fLaC\x00")}}, OpenAI, "Audio.Types", "is FLAC: OpenAI takes WAV, MP3"},
		"bytes":             {[]llm.Part{pdf}, document(Kind{MaxBytes: size - 1}), "Documents.MaxBytes", fmt.Sprintf("is %d bytes: P takes at most %d", size, size-1)},
		"pages":             {[]llm.Part{pdf}, document(Kind{MaxPages: 2}), "Documents.MaxPages", "has 3 pages: P takes at most 2"},
		"bytes of all":      {[]llm.Part{pdf, pdf}, document(Kind{MaxTotalBytes: 2*size - 1}), "Documents.MaxTotalBytes", "messages: the documents of messages are"},
		"pages of all":      {[]llm.Part{pdf, pdf}, document(Kind{MaxTotalPages: 5}), "Documents.MaxTotalPages", "have 6 pages together: P takes at most 5 in a request"},
		"Anthropic's pages": {[]llm.Part{llm.Document{Data: packedPDF(400)}, llm.Document{Data: packedPDF(201)}}, Anthropic, "Documents.MaxTotalPages", "have 601 pages together"},
		"Gemini's pages":    {[]llm.Part{llm.Document{Data: packedPDF(1001)}}, Gemini, "Documents.MaxPages", "has 1001 pages: Gemini takes at most 1000"},
		"recordings of all": {[]llm.Part{wav, wav}, audio(Kind{Types: []string{WAV}, MaxTotalBytes: 199}), "Audio.MaxTotalBytes", "recordings of messages are 200 bytes together"},
		"all of all":        {[]llm.Part{pdf, wav}, Limits{Documents: Kind{Types: []string{PDF}}, Audio: Kind{Types: []string{WAV}}, MaxTotalBytes: size + 99}, "MaxTotalBytes", "documents and recordings of messages are"},
		"addresses":         {[]llm.Part{llm.Document{URL: "https://example.org/a.pdf"}}, OpenAI, "Documents.Schemes", "has an address, and OpenAI fetches none"},
		"schemes":           {[]llm.Part{llm.Document{URL: "gs://bucket/secret.pdf"}}, Anthropic, "Documents.Schemes", "url: must be an address of the scheme https, http;"},
		"Google's scheme":   {[]llm.Part{llm.Document{URL: "gs://bucket/a.pdf"}, llm.Audio{URL: "gs://bucket/a.wav"}}, Gemini, "", ""},
	} {
		before := user(c.parts...)
		_, err := FitAll(before, c.limits)
		if c.limit == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Limit != c.limit || failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, address := range []string{"https://me:hunter2@example.org/a.pdf", "https://me:hunter2@a:b/", "ftp://hunter2/"} {
		if _, err := FitAll(user(llm.Document{URL: address}), Gemini); failure.KindOf(err) != failure.InvalidRequest || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, limits := range []Limits{{MaxTotalBytes: -1}, {Documents: Kind{MaxPages: -1}}, {Audio: Kind{MaxBytes: -1}}} {
		if _, err := FitAll(nil, limits); err == nil || !strings.Contains(err.Error(), "must be at least 0 (0: unlimited), got -1") {
			t.Errorf("%+v: %v", limits, err)
		}
	}
}

// Documents and pictures share the size of a request.
func TestPicturesGetWhatDocumentsLeave(t *testing.T) {
	pic, pdf := pngOf(t, 300, 300), llm.Document{Data: pdfOf(3)}
	noise := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	for i := range noise.Pix {
		noise.Pix[i] = byte(i * i * 7 >> 3)
	}
	var large bytes.Buffer
	if err := png.Encode(&large, noise); err != nil {
		t.Fatal(err)
	}
	limits := Limits{Documents: Kind{Types: []string{PDF}}, MaxTotalBytes: len(pdf.Data) + large.Len()/2}
	got, err := FitAll(user(pdf, llm.Image{Data: large.Bytes()}), limits)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(got[1].Parts[2].(llm.Image).Data); size > large.Len()/2 {
		t.Errorf("the picture has %d bytes, %d are left", size, large.Len()/2)
	}
	_, err = FitAll(user(llm.Document{Data: pdf.Data}, llm.Image{Data: pic}), Limits{Documents: Kind{Types: []string{PDF}}, MaxTotalBytes: len(pdf.Data)})
	if failure.KindOf(err) != failure.InvalidRequest {
		t.Errorf("nothing is left: %v", err)
	}
}

func TestFitAllChangesNothingOfTheCallers(t *testing.T) {
	text := []llm.Message{llm.System("x"), llm.User("y"), {Role: llm.RoleUser, Parts: []llm.Part{nil}}}
	if n := testing.AllocsPerRun(100, func() {
		if got, err := FitAll(text, Gemini); err != nil || &got[0] != &text[0] {
			t.Fatal("a conversation of text was changed")
		}
	}); n != 0 {
		t.Errorf("a conversation of text takes %v allocations", n)
	}
	data := pdfOf(1)
	uri := "data:;base64," + base64.RawURLEncoding.EncodeToString(data)
	before := append(user(llm.Document{URL: uri, Name: "a"}, llm.Audio{MediaType: "x", Data: wavOf(50)}), user(llm.Document{Data: data})...)
	after, err := FitAll(before, Gemini)
	if err != nil {
		t.Fatal(err)
	}
	if d := after[1].Parts[1].(llm.Document); !bytes.Equal(d.Data, data) || d.MediaType != PDF || d.URL != "" || d.Name != "a" {
		t.Errorf("became %s, %d bytes, %q", d.MediaType, len(d.Data), d.URL)
	}
	if a := after[1].Parts[2].(llm.Audio); a.MediaType != WAV {
		t.Errorf("became %s", a.MediaType)
	}
	if d := after[3].Parts[1].(llm.Document); &d.Data[0] != &data[0] || d.MediaType != PDF {
		t.Error("the bytes were copied")
	}
	if before[1].Parts[1].(llm.Document).URL != uri || before[1].Parts[2].(llm.Audio).MediaType != "x" || before[3].Parts[1].(llm.Document).MediaType != "" {
		t.Error("the caller's messages were changed")
	}
}

// A count that is too high would refuse what the provider takes.
func TestPagesAreNeverTooMany(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		count := rapid.IntRange(1, 30).Draw(r, "pages")
		data := pdfOf(count)
		if rapid.Bool().Draw(r, "packed") {
			data = packedPDF(count)
		}
		for range rapid.IntRange(0, 4).Draw(r, "damages") {
			data[rapid.IntRange(0, len(data)-1).Draw(r, "at")] = rapid.Byte().Draw(r, "byte")
		}
		_ = pages(data[:rapid.IntRange(0, len(data)).Draw(r, "length")]) // does not panic
		if got := pages(pdfOf(count)); got != count {
			r.Fatalf("%d pages of %d", got, count)
		}
	})
}

func FuzzPages(f *testing.F) {
	f.Add(pdfOf(2))
	f.Add(packedPDF(2))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n := pages(data); n < 0 || n > len(data)+maxInflated {
			t.Errorf("%d pages in %d bytes", n, len(data))
		}
	})
}

func BenchmarkPages(b *testing.B) {
	data := append(packedPDF(600), bytes.Repeat([]byte("\x80\x01binary obj \xff"), 1<<20)...)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		pages(data)
	}
}
