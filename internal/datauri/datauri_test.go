package datauri_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"llmcall/internal/datauri"
)

func TestDecode(t *testing.T) {
	data := []byte("%PDF-1.7 \xfb\xff\xfe?")
	standard := base64.StdEncoding.EncodeToString(data)
	for name, uri := range map[string]string{
		"plain":            "data:application/pdf;base64," + standard,
		"no type":          "data:;base64," + standard,
		"parameters":       "DATA:application/pdf;name=a.pdf;Base64," + standard,
		"no padding":       "data:;base64," + strings.TrimRight(standard, "="),
		"lines":            "data:;base64,\r\n " + standard[:8] + "\n" + standard[8:] + "\n",
		"URL-safe":         "data:;base64," + base64.URLEncoding.EncodeToString(data),
		"encoded base64":   "data:;base64," + url.PathEscape(standard),
		"percent-encoding": "data:application/pdf," + url.PathEscape(string(data)),
	} {
		got, err := datauri.Decode(uri, 100)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for uri, says := range map[string]string{
		"https://example.org": "does not begin with data:",
		"data:secret":         "without a comma",
		"data:;base64,sec$et": "broken base64",
		"data:,secret%zz":     "broken percent-encoding",
	} {
		_, err := datauri.Decode(uri, 100)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", uri, err, says)
		}
	}
	if _, err := datauri.Decode("data:;base64,"+strings.Repeat("?", 31), 10); !errors.Is(err, datauri.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}
