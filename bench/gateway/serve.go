package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const roleProvider = "provider"

// size is that of a request and of a whole answer, in bytes.
const size = 1 << 10

// wish is what the driver asks the provider for, in the field user of a request, which
// gateways hand on: the number of pieces and the nanoseconds between two of them.
func wish(pieces int, interval time.Duration) string {
	return strconv.Itoa(pieces) + " " + strconv.FormatInt(int64(interval), 10)
}

func serveProvider(port int) error { return listen(port, providerHandler()) }

// providerHandler answers chat completions, at once or in paced pieces.
func providerHandler() http.Handler {
	whole := wholeAnswer()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		var asked struct {
			Stream bool   `json:"stream"`
			User   string `json:"user"`
		}
		if err := json.Unmarshal(body, &asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !asked.Stream {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(whole) // a client that is gone is no news
			return
		}
		var pieces int
		var interval time.Duration
		if _, err := fmt.Sscan(asked.User, &pieces, (*int64)(&interval)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		stream(w, r, pieces, interval)
	})
}

// stream sends pieces, each with its number and the time at which it is sent.
func stream(w http.ResponseWriter, r *http.Request, pieces int, interval time.Duration) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	next := time.Now()
	for i := range pieces {
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Until(next)):
		}
		next = next.Add(interval)
		fmt.Fprintf(w, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[{"index":0,"delta":{"content":"<%d %d>"},"finish_reason":null}]}`+"\n\n", i, time.Now().UnixNano())
		if out.Flush() != nil {
			return
		}
	}
	fmt.Fprint(w, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
}

// wholeAnswer returns a chat completion of the size.
func wholeAnswer() []byte {
	const form = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"model","choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":200,"total_tokens":400}}`
	return fmt.Appendf(nil, form, strings.Repeat("a", size-len(form)+len("%s")))
}

// serveProxy is httputil.ReverseProxy as one would write it.
func serveProxy(port int, host string) error {
	target := &url.URL{Scheme: "http", Host: host}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, 256
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1,
	}
	return listen(port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Else the first flush closes the request's body, and where the transport has not
		// yet read its end, it drops the stream: one of ten on loopback.
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1 has it
		proxy.ServeHTTP(w, r)
	}))
}

func listen(port int, h http.Handler) error {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return http.Serve(ln, h)
}
