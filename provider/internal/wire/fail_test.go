package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/failure"
)

// Whatever comes from outside, no error has the key in any of its texts, whole or
// broken over lines, and none is longer than its limit.
func TestErrorsHideTheKey(t *testing.T) {
	e := made(t)
	half := len(secret) / 2
	for name, step := range map[string]struct{ text, want string }{
		"nothing to hide":    {"no such model", "no such model"},
		"the key alone":      {secret, "[key]"},
		"within":             {"bad key " + secret + ".", "bad key [key]."},
		"twice":              {secret + " " + secret, "[key] [key]"},
		"twice, joined":      {secret + secret, "[key][key]"},
		"after its start":    {"sk-REC" + secret, "sk-REC[key]"},
		"its start alone":    {"sk-RECOG", "sk-RECOG"},
		"on two lines":       {"bad key " + secret[:half] + "\n" + secret[half:], "bad key [key]"},
		"on two, indented":   {"bad key " + secret[:half] + "\r\n\t  " + secret[half:] + "\nend", "bad key [key] end"},
		"a letter a line":    {strings.Join(strings.Split(secret, ""), "\n"), "[key]"},
		"another line end":   {"bad key " + secret[:half] + "\u2028" + secret[half:], "bad key [key]"},
		"a control code":     {"bad key " + secret[:half] + "\x00" + secret[half:], "bad key [key]"},
		"at the limit":       {strings.Repeat("x", maxMessage-5) + secret, strings.Repeat("x", maxMessage-5) + "[key]"},
		"over the limit":     {strings.Repeat("x", maxMessage-4) + secret, strings.Repeat("x", maxMessage-4) + "…"},
		"longer than limit":  {strings.Repeat("x", 2000), strings.Repeat("x", maxMessage-3) + "…"},
		"several lines":      {"a\nb\tc", "a b c"},
		"another key's text": {strings.Replace(secret, "ABLE", "ABLY", 1), strings.Replace(secret, "ABLE", "ABLY", 1)},
	} {
		for field, err := range map[string]error{
			"Message": e.Fail(failure.Error{Message: step.text}),
			"Err":     e.Fail(failure.Error{Err: errors.New(step.text)}),
		} {
			got := failed(t, err)
			if name != "over the limit" && got.Message != step.want || len(got.Message) > maxMessage {
				t.Errorf("%s in %s: got %q, want %q", name, field, got.Message, step.want)
			}
			mustHide(t, err)
		}
	}
	all := e.Fail(failure.Error{Message: secret, Code: secret, RequestID: secret, Err: fmt.Errorf("the client: %w", errors.New(secret))})
	if got := failed(t, all); got.Code != "[key]" || got.RequestID != "[key]" || got.Provider != "openai" || got.Model != "openai/m" {
		t.Errorf("got %#v", got)
	}
	mustHide(t, all)
	long := failed(t, e.Fail(failure.Error{Code: strings.Repeat("x", 200), RequestID: strings.Repeat("x", 200)}))
	if len(long.Code) != maxLabel || len(long.RequestID) != maxLabel {
		t.Errorf("got %d, %d", len(long.Code), len(long.RequestID))
	}
	kept := errors.New("harmless")
	if got := failed(t, e.Fail(failure.Error{Err: kept})); got.Err != kept || got.Message != "harmless" {
		t.Errorf("got %#v", got)
	}
	if got := failed(t, e.Fail(failure.Error{Err: kept, Message: "told"})); got.Err != kept || got.Message != "told" {
		t.Errorf("got %#v", got)
	}
}

func failed(t *testing.T, err error) *failure.Error {
	t.Helper()
	f, ok := errors.AsType[*failure.Error](err)
	if !ok {
		t.Fatalf("got %T", err)
	}
	return f
}

// mustHide looks for the key, and for most of it, in all that prints an error.
func mustHide(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		printed := fmt.Sprintf("%v %+v %#v %q", err, err, err, err)
		for _, part := range []string{secret, secret[:len(secret)-4], secret[4:]} {
			if strings.Contains(strings.Join(strings.Fields(printed), ""), part) {
				t.Errorf("shows the key: %s", printed)
			}
		}
	}
}

// A text without the key is as it was; one with it has all but the key.
func TestHide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[ab\-]{8,12}`).Draw(t, "key")
		blank := rapid.SampledFrom([]string{"", "\n", " ", "\r\n\t", "\x00"})
		var text, want strings.Builder
		for range rapid.IntRange(0, 4).Draw(t, "pieces") {
			if plain := rapid.StringMatching(`[xyz \n]{0,5}`).Draw(t, "plain"); plain != "" {
				text.WriteString(plain)
				want.WriteString(plain)
				continue
			}
			for i, letter := range strings.Split(key, "") {
				if i > 0 {
					text.WriteString(blank.Draw(t, "blank"))
				}
				text.WriteString(letter)
			}
			want.WriteString("[key]")
		}
		if got := hide(key)(text.String()); got != want.String() {
			t.Fatalf("%q without %q: got %q, want %q", text.String(), key, got, want.String())
		}
	})
}

func TestHideOfShortKeysAndNone(t *testing.T) {
	for _, step := range []struct{ key, text, want string }{
		{"", "a b", "a b"},
		{"x", "context_length_exceeded, x", "context_length_exceeded, x"},
		{"ollama", "The model ollama-latest does not exist", "The model ollama-latest does not exist"},
		{"abcdefg", "abcdef g abcdefg", "abcdef g abcdefg"},
		{"abcdefgh", "abcdefg h", "[key]"},
	} {
		if got := hide(step.key)(step.text); got != step.want {
			t.Errorf("%q in %q: got %q", step.key, step.text, got)
		}
	}
}

func TestBadRequest(t *testing.T) {
	wrong := errors.New("Seed: the API has none")
	got := failed(t, made(t).BadRequest(wrong))
	if got.Kind != failure.InvalidRequest || got.Err != wrong || got.Message != wrong.Error() || got.Model != "openai/m" {
		t.Errorf("got %#v", got)
	}
}

// A request without a response is of the network's kind, unless the context
// ended: then it is the context's, whatever the network says.
func TestBroken(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	told := &failure.Error{Kind: failure.Overloaded, RetryAfter: time.Second, Told: true, NoRetry: true}
	for _, step := range []struct {
		name string
		ctx  context.Context
		err  error
		want failure.Error
	}{
		{"reset", t.Context(), syscall.ECONNRESET, failure.Error{Kind: failure.Transient, Err: syscall.ECONNRESET}},
		{"cancelled", ended, syscall.ECONNRESET, failure.Error{Kind: failure.Cancelled, Err: context.Canceled}},
		{"a client that classifies", t.Context(), told, failure.Error{Kind: failure.Overloaded, RetryAfter: time.Second, Told: true, NoRetry: true, Err: told}},
		{"the key in the address", t.Context(), &url.Error{Op: "Post", URL: "https://x/?key=" + secret, Err: io.EOF}, failure.Error{Kind: failure.Transient}},
	} {
		x, _, _, err := recorded(t, true, 200, http.Header{"X-Request-Id": {"req_1"}}, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for requestID, err := range map[string]error{"": made(t).Broken(step.ctx, step.err), "req_1": x.Broken(step.ctx, step.err)} {
			got := failed(t, err)
			if got.Kind != step.want.Kind || step.want.Err != nil && got.Err != step.want.Err || got.RequestID != requestID ||
				got.RetryAfter != step.want.RetryAfter || got.Told != step.want.Told || got.NoRetry != step.want.NoRetry {
				t.Errorf("%s: got %#v", step.name, got)
			}
			mustHide(t, err)
		}
	}
}

func TestResponsesThatAreNoAnswer(t *testing.T) {
	header := http.Header{"X-Request-Id": {"req_1"}, "Retry-After": {"7"}}
	x := func(status int, content string) *Exchange {
		t.Helper()
		exchange, _, _, err := recorded(t, false, status, header, io.NopCloser(strings.NewReader(content)))
		if err != nil {
			t.Fatal(err)
		}
		return exchange
	}
	api := errors.New("the SDK's")
	moved := x(308, "")
	moved.Response.Header = http.Header{"Location": {"https://me:word@elsewhere.example.com/v2?token=1"}}
	for _, step := range []struct {
		name string
		err  error
		want failure.Error
	}{
		{"refused", x(429, `{"error":{"message":"Slow down, `+secret+`","code":"rate_limit_exceeded"}}`).Refused(api),
			failure.Error{Kind: failure.RateLimited, Status: 429, Code: "rate_limit_exceeded", Message: "Slow down, [key]", Told: true, RetryAfter: 7 * time.Second, Err: api}},
		{"redirected", moved.Refused(nil),
			failure.Error{Kind: failure.InvalidRequest, Status: 308, Message: "the server redirects to https://elsewhere.example.com/v2: give its address as the base URL"}},
		{"an error in the body", x(200, `{"error":{"message":"No, `+secret+`","code":502}}`).ErrorWithin([]byte(`{"error":{"message":"No, ` + secret + `","code":502}}`)),
			failure.Error{Kind: failure.Transient, Status: 200, Code: "502", Message: "No, [key]", Told: true, RetryAfter: 7 * time.Second}},
		{"withheld", x(200, ``).Withheld(failure.ContentFiltered, "refusal", "I can't"),
			failure.Error{Kind: failure.ContentFiltered, Status: 200, Code: "refusal", Message: "I can't"}},
		{"garbled", x(200, `<html>`+secret).Garbled(errors.New("is no JSON")),
			failure.Error{Kind: failure.Transient, Status: 200, Message: "is no JSON: <html>[key]"}},
		{"a part garbled", x(200, `whole`).GarbledPart([]byte("part"), errors.New("is no JSON")),
			failure.Error{Kind: failure.Transient, Status: 200, Message: "is no JSON: part"}},
	} {
		got := failed(t, step.err)
		if got.Kind != step.want.Kind || got.Status != step.want.Status || got.Code != step.want.Code || got.Message != step.want.Message ||
			got.Told != step.want.Told || got.RetryAfter != step.want.RetryAfter || got.Err != step.want.Err {
			t.Errorf("%s:\ngot  %#v\nwant %#v", step.name, got, &step.want)
		}
		if got.RequestID != "req_1" && step.name != "redirected" {
			t.Errorf("%s: request %q", step.name, got.RequestID)
		}
		mustHide(t, step.err)
	}
	if err := x(200, `{}`).ErrorWithin([]byte(`{"choices":[]}`)); err != nil {
		t.Errorf("no error: got %v", err)
	}
	if err := failed(t, x(200, ``).GarbledPart(slices.Repeat([]byte("x"), 2*MaxProblem), io.EOF)); len(err.Message) > maxMessage {
		t.Errorf("got %d bytes", len(err.Message))
	}
}

// The words of encoding/json, and of the SDKs' copies of it, are about Go.
func TestErrorsDoNotSpeakOfGoTypes(t *testing.T) {
	var to struct {
		Choices []struct{ Message struct{ Content string } }
	}
	for body, want := range map[string]string{
		`[1]`:                           "the answer is not in the API's form: it is an array",
		`true`:                          "the answer is not in the API's form: it is true or false",
		`{"Choices":{}}`:                "the answer is not in the API's form: Choices is an object",
		`{"Choices":[{"Message":"x"}]}`: "the answer is not in the API's form: Choices.Message is a string",
		`{"Choices":[{"Message":{"Content":7.5}}]}`: "the answer is not in the API's form: Choices.Message.Content is a number",
		`{`: "unexpected end of JSON input",
	} {
		if got := inWords(json.Unmarshal([]byte(body), &to)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}
