package redact

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestKeysAreHidden(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "the-key-of-the-provider")
	t.Setenv("OTHER_API_KEY", "the-key-of-another")
	t.Setenv("SHORT_API_KEY", "none")
	f := New([]string{"given-to-the-filter", "given-to-the-filter-too"}, 0)
	for text, want := range map[string]string{
		"":                             "",
		"none of these words is a key": "none of these words is a key",
		"a the-key-of-the-provider b":  "a [key] b",
		"a the-key-of-another b":       "a [key] b",
		"given-to-the-filter-too":      "[key]",
		"Authorization: Bearer abcdefghijklmnop1234":                                  "Authorization: Bearer [key]",
		"authorization: basic dXNlcjpwYXNzd29yZA==":                                   "authorization: basic [key]",
		"sk-ant-api03-aaaaaaaaaaaaaaaaaaaaaa!":                                        "[key]!",
		`{"key":"sk-proj-aaaaaaaaaaaaaaaaaaaa"}`:                                      `{"key":"[key]"}`,
		"AIzaSyA1234567890123456789012345678901":                                      "[key]",
		"AKIAABCDEFGHIJKLMNOP":                                                        "[key]",
		"llmcall_abcdefghijklmnopqrstuvwxyz":                                          "[key]",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig":                                    "[key]",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter": "[key]\nafter",
		"-----BEGIN PRIVATE KEY-----\nMIIE, cut":                                      "[key]",
		"not \xff\xfe UTF-8":                                                          "not \uFFFD UTF-8",
		"a task-force-of-seventeen-people":                                            "a task-force-of-seventeen-people",
	} {
		if got := f.Text(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// However long a text is, and wherever a key is in it: no part of the key that could be used
// is left, and the text is not longer than it may be.
func TestNoKeyIsCutInHalf(t *testing.T) {
	const key = "0123456789abcdefghijklmnopqrstuv"
	f := New([]string{key}, 50)
	rapid.Check(t, func(t *rapid.T) {
		before := strings.Repeat("ä ", rapid.IntRange(0, 60).Draw(t, "before"))
		after := strings.Repeat(" b", rapid.IntRange(0, 60).Draw(t, "after"))
		got := f.Text(before + key + after)
		if strings.Contains(got, key[:8]) || strings.Contains(got, key[24:]) || !utf8.ValidString(got) || utf8.RuneCountInString(got) > 50+40 {
			t.Errorf("%q", got)
		}
	})
}
