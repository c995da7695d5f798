package record

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What can be read can be written, and is then read as the same; and the reader never panics.
func FuzzRead(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join("testdata", "format1", "*.yaml"))
	if err != nil || len(paths) == 0 {
		f.Fatal(paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{
		"recording: 1\nof: model\nrequest: {model: a/b, messages: []}\nanswer: {parts: [x]}\npieces: [{at: 1, size: 3}, {at: 1, size: 0, part: true}, {at: 2, says: [finish, usage, what]}]",
		"recording: 1\nof: http\nrequest: {method: GET, url: 'http://a/?key=1', base64: AAAA}\nfailure: {kind: transient, text: x, is: end}",
		"recording: 1\nof: http\nrequest: {method: GET, url: ':', json: [1.0, 1e400]}\nanswer: {status: 200, headers: {a: [b, c]}, body: x}\nleft: true",
		`{"recording":1,"of":"model","request":{"model":"m","messages":null,"extra":{"a":1e999}},"failure":{"kind":"unknown"}}`,
		"recording: 1\nof: model\nrequest: {model: a/b, messages: []}\nanswer: {parts: [x]}\npieces: [{at: 1, size: -3}]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := unmarshal(text)
		if err != nil {
			if strings.Contains(err.Error(), "Go struct") || strings.Contains(err.Error(), "go-yaml") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		k, err := r.key()
		if err != nil {
			t.Fatalf("%q has no key: %v", text, err)
		}
		if r.HTTP == nil {
			for range chunks(r) {
			}
		}
		_ = r.Failure()
		var failed *fault
		if r.Err != nil {
			failed = modelFault(context.Background(), r.Err)
		}
		written, err := marshal(r, failed)
		if err != nil {
			t.Fatalf("%q can't be written: %v", text, err)
		}
		again, err := unmarshal(written)
		if err != nil {
			t.Fatalf("%q was written as\n%s\n%v", text, written, err)
		}
		if kept, err := again.key(); err != nil || kept != k {
			t.Fatalf("%q is another request once it was written:\n%s", text, written)
		}
		if r.HTTP != nil && (!bytes.Equal(again.HTTP.Body, r.HTTP.Body) || again.HTTP.Status != r.HTTP.Status) {
			t.Fatalf("%q has another body once it was written:\n%s", text, written)
		}
		if (again.Err == nil) != (r.Err == nil) || r.Err != nil && again.Err.Error() != r.Err.Error() {
			t.Fatalf("%q: the failure is %v, was %v", text, again.Err, r.Err)
		}
	})
}
