package openai

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"llmcall/failure"
)

func TestReadProblem(t *testing.T) {
	for _, step := range []struct {
		body string
		want problem
	}{
		{`{"error":{"message":"m","type":"t","param":null,"code":"c"}}`, problem{Code: "c", Type: "t", Message: "m"}},
		{`{"error":{"message":"m","type":"t","code":null}}`, problem{Type: "t", Message: "m"}},
		{`{"error":{"message":"m","code":502,"metadata":{"provider_name":"x","raw":"upstream"}}}`, problem{Status: 502, Code: "502", Message: "m: upstream"}},
		{`{"error":{"message":"m","code":7}}`, problem{Code: "7", Message: "m"}},
		{`{"error":{"message":"m","metadata":"odd","code":"c"}}`, problem{Code: "c", Message: "m"}},
		{`{"error":{"message":["a","b"]}}`, problem{Message: `["a","b"]`}},
		{` [{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}] `, problem{Status: 429, Code: "429", Type: "RESOURCE_EXHAUSTED", Message: "m"}},
		{`{"error":"text"}`, problem{Message: "text"}},
		{`{"object":"error","message":"m","type":"t","code":400}`, problem{Status: 400, Code: "400", Type: "t", Message: "m"}},
		{`{"detail":"Not Found"}`, problem{Message: "Not Found"}},
		{`{"detail":[{"loc":["body"],"msg":"odd"}]}`, problem{Message: `[{"loc":["body"],"msg":"odd"}]`}},
		{`{"error":{}}`, problem{Message: `{"error":{}}`}},
		{`{"error":null}`, problem{Message: `{"error":null}`}},
		{`{"status":"down"}`, problem{Message: `{"status":"down"}`}},
		{`<html><body>502 Bad Gateway</body></html>`, problem{Message: `<html><body>502 Bad Gateway</body></html>`}},
		{`{"error":{"message":"cut`, problem{Message: `{"error":{"message":"cut`}},
		{`[]`, problem{Message: `[]`}},
		{`"text"`, problem{Message: `"text"`}},
		{``, problem{}},
	} {
		if got := readProblem([]byte(step.body)); got != step.want {
			t.Errorf("%s: got %+v, want %+v", step.body, got, step.want)
		}
	}
}

func TestLineIsOnePrintableLineWithoutTheKey(t *testing.T) {
	m := &Model{hide: hide("sk-secret")}
	for _, step := range []struct{ text, want string }{
		{"", ""},
		{"  two\r\n\tlines\u2028and a third  ", "two lines and a third"},
		{"\x1b[31mred\x1b[0m", "[31mred [0m"},
		{"\u202eright to left", "right to left"},
		{"bad \xff\xfe bytes", "bad \ufffd\ufffd bytes"},
		{"Bearer sk-secret, sk-secret.", "Bearer [key], [key]."},
		{strings.Repeat("ä", 40), strings.Repeat("ä", 18) + "…"},
		{"0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789"},
		{strings.Repeat("x", 36) + "sk-secret", strings.Repeat("x", 36) + "[…"},
	} {
		if got := m.line(step.text, 40); got != step.want {
			t.Errorf("%q: got %q, want %q", step.text, got, step.want)
		}
	}
	if got := (&Model{hide: hide("")}).line("no key, no change", 40); got != "no key, no change" {
		t.Errorf("got %q", got)
	}
}

func FuzzReadProblem(f *testing.F) {
	for _, body := range []string{
		`{"error":{"message":"m","type":"t","param":null,"code":"c"}}`, `[{"error":{"code":429,"message":"m","status":"S"}}]`,
		`{"error":"text"}`, `{"message":"m","code":400}`, `{"detail":[{}]}`, `{"error":{"metadata":{"raw":"r"}}}`,
		`<html>`, ``, `null`, `[`, `[null]`, `{"error":{"message":"sk-secret \u0000\ud800"}}`,
	} {
		f.Add([]byte(body), 500)
	}
	m := &Model{name: "openai/x", hide: hide("sk-secret")}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		p := readProblem(body)
		p.Status = status
		classify(p)
		text := m.fail(failure.Error{Kind: classify(p), Status: status, Code: p.Code, Message: p.Message}).Error()
		if strings.Contains(text, "sk-secret") || !utf8.ValidString(text) || len(text) > 1000 ||
			strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: %q", body, text)
		}
	})
}
