package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"llmcall/internal/proxies"
)

// asks opens a connection to a server and asks for pieces.
func asks(t *testing.T, h http.Handler, pieces int) *caller {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := dial(proxies.Target{URL: server.URL, Model: "model"}, pieces, time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	return c
}

func TestDriverAndProvider(t *testing.T) {
	c := asks(t, providerHandler(), 0)
	if n := len(c.text[strings.Index(string(c.text), "\r\n\r\n")+4:]); n != size {
		t.Errorf("a request has %d bytes", n)
	}
	for range 3 { // the connection is kept
		if err := c.whole(); err != nil {
			t.Fatal(err)
		}
	}
	all, ended, err := asks(t, providerHandler(), 5).pieces()
	if len(all) != 5 || !ended || err != nil {
		t.Fatal(len(all), ended, err)
	}
	for _, a := range all {
		if a.came.Before(a.sent) || time.Since(a.sent) > time.Minute {
			t.Errorf("sent %v, came %v", a.sent, a.came)
		}
	}
}

// What a gateway does wrong is found, not measured as if it were quick.
func TestWhatIsLostIsFound(t *testing.T) {
	written := func(status int, text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
		})
	}
	piece := func(n string) string { return `data: {"content":"<` + n + ` 1>"}` + "\n\n" }
	const done = "data: [DONE]\n\n"
	for name, c := range map[string]struct {
		text  string
		ended bool
		fails bool
		n     int
	}{
		"all":                   {piece("0") + piece("1") + done, true, false, 2},
		"the last is lost":      {piece("0") + done, true, false, 1},
		"the end is lost":       {piece("0") + piece("1"), false, false, 2},
		"the first is lost":     {piece("1") + done, false, true, 0},
		"one is lost":           {piece("0") + piece("2") + done, false, true, 1},
		"one comes twice":       {piece("0") + piece("0") + done, false, true, 1},
		"no piece has a number": {`data: {"content":"<x 1>"}` + "\n\n" + done, false, true, 0},
	} {
		all, ended, err := asks(t, written(http.StatusOK, c.text), 2).pieces()
		if len(all) != c.n || ended != c.ended || (err != nil) != c.fails {
			t.Errorf("%s: %d, %t, %v", name, len(all), ended, err)
		}
	}
	for name, h := range map[string]http.Handler{
		"an error":       written(http.StatusBadGateway, string(wholeAnswer())),
		"half a body":    written(http.StatusOK, string(wholeAnswer()[:size/2])),
		"another answer": written(http.StatusOK, strings.Repeat(" ", size)),
	} {
		if err := asks(t, h, 0).whole(); err == nil {
			t.Errorf("%s is taken for an answer", name)
		}
	}
}
