package recorded

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// interaction is a request that was sent to a provider, and what it answered.
type interaction struct {
	source string // where the recording is, for who reads a failure
	url    *url.URL
	asked  []byte // the body of the request
	status int
	header http.Header // of the response
	body   []byte
}

// A collection is a module whose tests come with recordings.
type collection struct {
	module, sum string // the version, and the hash of its files
	under       string // the directory to look in
	ends        []string
	read        func([]byte) ([]interaction, error)
	count       int // how many there are: none may get lost in silence
}

var collections = []collection{
	{"charm.land/fantasy@v0.40.0", "h1:Lknli10idbNTDn33Nqi00sf6LA6Hc4D7ihlxfo3L6XU=", "providertests/testdata", []string{".yaml"}, readVCR, 534},
	{"github.com/tmc/langchaingo@v0.1.14", "h1:o1qWBPigAIuFvrG6cjTFo0cZPFEZ47ZqpOYMjM15yZc=", ".", []string{".httprr", ".httprr.gz"}, readHTTPRR, 265},
}

// fetch returns where the module is, in Go's module cache.
func (c collection) fetch(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", c.module)
	cmd.Dir = t.TempDir() // outside of any module, whose go.sum it would change
	out, err := cmd.Output()
	var module struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &module); jsonErr != nil || err != nil || module.Error != "" {
		t.Fatalf("go mod download %s: %v %s", c.module, err, module.Error)
	}
	if module.Sum != c.sum {
		t.Fatalf("%s has the hash %s, and not %s", c.module, module.Sum, c.sum)
	}
	return module.Dir
}

// load returns all interactions of all collections, in a fixed order.
func load(t *testing.T) []interaction {
	t.Helper()
	var all []interaction
	for _, c := range collections {
		dir, n := c.fetch(t), 0
		err := filepath.WalkDir(filepath.Join(dir, c.under), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !hasSuffix(path, c.ends) {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if strings.HasSuffix(path, ".gz") {
				if data, err = gunzip(data); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
			tape, err := c.read(data)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			for i, x := range tape {
				x.source = fmt.Sprintf("%s #%d", strings.TrimPrefix(path, dir+string(filepath.Separator)), i)
				all = append(all, x)
			}
			n += len(tape)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n != c.count {
			t.Fatalf("%s has %d interactions, want %d", c.module, n, c.count)
		}
	}
	return all
}

func hasSuffix(path string, ends []string) bool {
	for _, end := range ends {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

func gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// readVCR reads a cassette of go-vcr, version 2
// (https://pkg.go.dev/gopkg.in/dnaeon/go-vcr.v4/pkg/cassette).
func readVCR(data []byte) ([]interaction, error) {
	var tape struct {
		Version      int
		Interactions []struct {
			Request struct {
				URL, Body string
			}
			Response struct {
				Code    int
				Headers map[string][]string
				Body    string
			}
		}
	}
	if err := yaml.Unmarshal(data, &tape); err != nil {
		return nil, err
	}
	if tape.Version != 2 {
		return nil, fmt.Errorf("a cassette of version %d, want 2", tape.Version)
	}
	all := make([]interaction, 0, len(tape.Interactions))
	for _, x := range tape.Interactions {
		u, err := url.Parse(x.Request.URL)
		if err != nil {
			return nil, err
		}
		header := http.Header{}
		for name, values := range x.Response.Headers {
			header[http.CanonicalHeaderKey(name)] = values
		}
		all = append(all, interaction{
			url: u, asked: []byte(x.Request.Body), status: x.Response.Code, header: header, body: []byte(x.Response.Body),
		})
	}
	return all, nil
}

const traceLine = "httprr trace v1"

// readHTTPRR reads a trace of httprr
// (https://pkg.go.dev/golang.org/x/oscar/internal/httprr): a line that names the
// format, then for each interaction a line with two numbers, and as many bytes
// of the request and of the response, both as they were on the wire.
func readHTTPRR(data []byte) ([]interaction, error) {
	first, data, ok := bytes.Cut(data, []byte("\n"))
	if !ok || strings.TrimSuffix(string(first), "\r") != traceLine {
		return nil, errors.New("no httprr trace")
	}
	all := []interaction{}
	for len(data) > 0 {
		line, rest, ok := bytes.Cut(data, []byte("\n"))
		a, b, two := strings.Cut(strings.TrimSuffix(string(line), "\r"), " ")
		m, errM := strconv.ParseUint(a, 10, 31)
		n, errN := strconv.ParseUint(b, 10, 31)
		if !ok || !two || errM != nil || errN != nil || m+n > uint64(len(rest)) {
			return nil, fmt.Errorf("interaction %d: %.40q is no pair of lengths of what follows", len(all), line)
		}
		x, err := readWire(rest[:m], rest[m:m+n])
		if err != nil {
			return nil, fmt.Errorf("interaction %d: %w", len(all), err)
		}
		all, data = append(all, x), rest[m+n:]
	}
	return all, nil
}

func readWire(request, response []byte) (interaction, error) {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
	if err != nil {
		return interaction{}, fmt.Errorf("the request: %w", err)
	}
	asked, err := io.ReadAll(req.Body)
	if err != nil {
		return interaction{}, fmt.Errorf("the request's body: %w", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), req)
	if err != nil {
		return interaction{}, fmt.Errorf("the response: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return interaction{}, fmt.Errorf("the response's body: %w", err)
	}
	return interaction{url: req.URL, asked: asked, status: resp.StatusCode, header: resp.Header, body: body}, nil
}

func TestReadHTTPRR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var trace bytes.Buffer
		trace.WriteString(traceLine + "\n")
		want := []interaction{}
		for range rapid.IntRange(0, 3).Draw(t, "interactions") {
			asked := rapid.SliceOf(rapid.Byte()).Draw(t, "asked")
			body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
			status := rapid.SampledFrom([]int{200, 403, 429}).Draw(t, "status")
			request := fmt.Sprintf("POST https://a.example/v1/messages?k=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n%s", len(asked), asked)
			response := fmt.Sprintf("HTTP/2.0 %d %s\r\nContent-Length: %d\r\nVary: A\r\nVary: B\r\n\r\n%s", status, http.StatusText(status), len(body), body)
			fmt.Fprintf(&trace, "%d %d\n%s%s", len(request), len(response), request, response)
			want = append(want, interaction{
				url:   &url.URL{Scheme: "https", Host: "a.example", Path: "/v1/messages", RawQuery: "k=1"},
				asked: asked, status: status, body: body,
				header: http.Header{"Content-Length": {strconv.Itoa(len(body))}, "Vary": {"A", "B"}},
			})
		}
		got, err := readHTTPRR(trace.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read %+v, want %+v", got, want)
		}
		if len(want) == 0 {
			return
		}
		cut := rapid.IntRange(len(traceLine)+2, trace.Len()-1).Draw(t, "cut")
		if short, err := readHTTPRR(trace.Bytes()[:cut]); err == nil && len(short) >= len(want) {
			t.Fatalf("a trace cut at %d of %d bytes has %d interactions", cut, trace.Len(), len(short))
		}
	})
}

const cassette = `version: 2
interactions:
- id: 0
  request:
    url: https://a.example/v1/messages
    body: '{"stream":true}'
    method: POST
  response:
    headers:
      content-type: [text/plain]
    body: %s
    code: 429
`

func TestReadVCR(t *testing.T) {
	for body, want := range map[string]string{
		`'a''b'`:                 "a'b",
		"!!binary AAH/":          "\x00\x01\xff",
		"|-\n      a\n\n      b": "a\n\nb",
		`"\u2028\r\n\ttab"`:      "\u2028\r\n\ttab",
	} {
		got, err := readVCR(fmt.Appendf(nil, cassette, body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		wanted := []interaction{{
			url:   &url.URL{Scheme: "https", Host: "a.example", Path: "/v1/messages"},
			asked: []byte(`{"stream":true}`), status: 429, header: http.Header{"Content-Type": {"text/plain"}}, body: []byte(want),
		}}
		if !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s: read %+v, want %+v", body, got, wanted)
		}
	}
	for _, wrong := range []string{"version: 1", "version: 2\ninteractions: 3", "- a", "version: 2\ninteractions: [{request: {url: ':'}}]"} {
		if got, err := readVCR([]byte(wrong)); err == nil {
			t.Errorf("%q was read as %+v", wrong, got)
		}
	}
}

func FuzzReadHTTPRR(f *testing.F) {
	f.Add([]byte(traceLine + "\n34 21\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\nab"))
	f.Add([]byte(traceLine + "\r\n0 0\r\n"))
	f.Add([]byte(traceLine + "\n9999999999 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tape, err := readHTTPRR(data)
		if err != nil && tape != nil {
			t.Fatalf("an error, and %d interactions", len(tape))
		}
		for _, x := range tape {
			if x.url == nil || x.header == nil {
				t.Fatalf("an interaction that lacks a part: %+v", x)
			}
		}
	})
}
