package classify

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"llmcall/internal/say"
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
		{`{"detail":[{"loc":["body"],"msg":"odd"}]}`, problem{Message: "body: odd"}},
		{`{"detail":[{"loc":["body","a",0],"msg":"odd","input":"the prompt"},{"msg":"odder"}]}`, problem{Message: "body.a.0: odd; odder"}},
		{`{"detail":[{"why":"odd"}]}`, problem{Message: `[{"why":"odd"}]`}},
		{`{"error":{}}`, problem{Message: `{"error":{}}`}},
		{`{"error":null}`, problem{Message: `{"error":null}`}},
		{`{"status":"down"}`, problem{Message: `{"status":"down"}`}},
		{`<html><body>502 Bad Gateway</body></html>`, problem{Message: `<html><body>502 Bad Gateway</body></html>`}},
		{`{"error":{"message":"cut`, problem{Message: `{"error":{"message":"cut`}},
		{`[]`, problem{Message: `[]`}},
		{`"text"`, problem{Message: `"text"`}},
		{``, problem{}},
		{`{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}},"request_id":"r"}`,
			problem{Type: "rate_limit_error", Message: "m", Reason: "enforced_spend_limit_reached"}},
		{`{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
			{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"A"},{"quotaId":"B"}]},
			{"@type":"type.googleapis.com/google.rpc.Help","links":[{}]}, 7, {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}`,
			problem{Status: 429, Code: "429", Type: "RESOURCE_EXHAUSTED", Message: "m", Quotas: []string{"A", "B"}, Delay: 34400 * time.Millisecond, Delayed: true}},
		{`{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}`,
			problem{Status: 400, Code: "400", Type: "INVALID_ARGUMENT", Message: "m", Reason: "API_KEY_INVALID"}},
		{`{"error":{"message":"m","details":[{"@type":"google.rpc.RetryInfo","retryDelay":"soon"}]}}`, problem{Message: "m"}},
	} {
		if got := readProblem([]byte(step.body)); !reflect.DeepEqual(got, step.want) {
			t.Errorf("%s: got %+v, want %+v", step.body, got, step.want)
		}
	}
}

func FuzzReadProblem(f *testing.F) {
	for _, body := range []string{
		`{"error":{"message":"m","type":"t","param":null,"code":"c"}}`, `[{"error":{"code":429,"message":"m","status":"S"}}]`,
		`{"error":"text"}`, `{"message":"m","code":400}`, `{"detail":[{}]}`, `{"error":{"metadata":{"raw":"r"}}}`,
		`<html>`, ``, `null`, `[`, `[null]`, `{"error":{"message":"sk-secret \u0000\ud800"}}`,
		`{"error":{"details":[{"@type":"a.RetryInfo","retryDelay":"-1s"},{"@type":"a.QuotaFailure","violations":[{"quotaId":"PerDay"}]}]}}`,
	} {
		f.Add([]byte(body), 500)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		for _, provider := range []string{OpenAI, Anthropic, Gemini} {
			e := Read(Reply{Provider: provider, Status: status, Body: body, At: time.Now()})
			if e.RetryAfter < 0 || e.Kind.String() == "" || e.Status != status && status != 0 {
				t.Errorf("%q: %#v", body, e)
			}
			if line := say.Line(e.Message, 500); len(line) > 500 || !utf8.ValidString(line) ||
				strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q: %q", body, line)
			}
		}
	})
}
