package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func pngFile(t *testing.T, name string, width int) (path, dataURI string) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, 2))); err != nil {
		t.Fatal(err)
	}
	return file(t, name, b.String()), "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
}

// The pictures come after the text, in the order of the flags, as the provider's
// own server sees them.
func TestImagesFollowThePrompt(t *testing.T) {
	path, uri := pngFile(t, "named.txt", 3)
	_, other := pngFile(t, "other.png", 4)
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Messages []struct {
				Role    string
				Content []struct {
					Type     string
					Text     string
					ImageURL struct{ URL string } `json:"image_url"`
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Messages) != 1 || body.Messages[0].Role != "user" {
			t.Errorf("%+v, %v", body, err)
			return
		}
		for _, part := range body.Messages[0].Content {
			sent = append(sent, part.Text+part.ImageURL.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "A cat."}}]}`)
	}))
	defer server.Close()
	got := command(t, "", "call", "--base-url", server.URL, "--model", "openai/test-images",
		"--image", path, "--image", "https://example.com/cat.png?a=1,2", "--image", strings.Replace(other, "data:image/png", "DATA:image/jpeg", 1), "What is this?")
	if got.code != 0 || got.stdout != "A cat.\n" {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if want := []string{"What is this?", uri, "https://example.com/cat.png?a=1,2", other}; !slices.Equal(sent, want) {
		t.Errorf("sent %q, want %q", sent, want)
	}
}

func TestThePracticeModelTakesImages(t *testing.T) {
	path, _ := pngFile(t, "cat.png", 3)
	server, args := serve(t, "{}")
	got := command(t, "", append(args, "--image", path, "What is this?")...)
	if got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if m := server.Requests()[0].Messages; len(m) != 1 || m[0].Text != "What is this?" {
		t.Errorf("sent %+v", m)
	}
}

// Each is exit code 2 and names the flag and the file, and no call is made.
func TestABadImageIsNamedBeforeAnyCall(t *testing.T) {
	dir := t.TempDir()
	pdf, empty := file(t, "cat.png", "%PDF-1.7\n"), file(t, "empty.png", "")
	good, uri := pngFile(t, "good.png", 3)
	for name, c := range map[string]struct {
		image string
		says  []string
	}{
		"missing":              {filepath.Join(dir, "missing.png"), []string{"missing.png", "no such file"}},
		"directory":            {dir, []string{dir, "is a directory"}},
		"of another kind":      {pdf, []string{pdf, "seems to be PDF", "takes PNG, JPEG, GIF or WebP"}},
		"empty file":           {empty, []string{empty, "is empty"}},
		"standard input":       {"-", []string{"got - (standard input)"}},
		"nothing":              {"", []string{"got an empty string"}},
		"file address":         {"file://" + good, []string{"file://", "takes http://"}},
		"ftp":                  {"ftp://example.com/cat.png", []string{"ftp://", "takes http://"}},
		"password":             {"https://me:hunter2@example.com/cat.png", []string{"https://", "password"}},
		"broken base64":        {"data:image/png;base64,???" + strings.Repeat("A", 1000), []string{"data:image/png;base64,???AAA", "broken base64"}},
		"data URI of no image": {"data:text/plain,hello", []string{"data:text/plain,hello", "seems to be text"}},
		"cut off":              {uri[:len(uri)-24], []string{"broken PNG"}},
	} {
		t.Run(name, func(t *testing.T) {
			server, args := serve(t, "{}")
			got := command(t, "", append(args, "--image", good, "--image", c.image, "What is this?")...)
			if got.code != 2 || got.stdout != "" || len(server.Requests()) != 0 {
				t.Errorf("exit %d, standard output %q, %d calls", got.code, got.stdout, len(server.Requests()))
			}
			for _, want := range append(c.says, "--image") {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("the error does not say %q: %s", want, got.stderr)
				}
			}
			if strings.Contains(got.stderr, "hunter2") || len(got.stderr) > 500 {
				t.Errorf("the error repeats too much: %s", got.stderr)
			}
		})
	}
}
