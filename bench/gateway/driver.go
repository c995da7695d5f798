package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"llmcall/internal/proxies"
)

// caller is a connection that is kept, and the bytes of its request.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
	text []byte
}

// dial opens a connection for requests: for a whole answer, or for a stream with pieces.
func dial(to proxies.Target, pieces int, interval time.Duration) (*caller, error) {
	u, err := url.Parse(to.URL)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	body := `{"model":"` + to.Model + `","user":"` + wish(pieces, interval) + `","stream":` + fmt.Sprint(pieces > 0) + `,"messages":[{"role":"user","content":"%s"}]}`
	body = strings.Replace(body, "%s", strings.Repeat("q", size-len(body)+len("%s")), 1)
	var text bytes.Buffer
	fmt.Fprintf(&text, "POST %s/v1/chat/completions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer key\r\nContent-Length: %d\r\n", u.Path, u.Host, len(body))
	if err := to.Header.Write(&text); err != nil {
		return nil, err
	}
	text.WriteString("\r\n" + body)
	return &caller{conn, bufio.NewReader(conn), text.Bytes()}, nil
}

// send sends the request and reads the header.
func (c *caller) send() (*http.Response, error) {
	if _, err := c.conn.Write(c.text); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body) // what there is of it says enough
		return nil, fmt.Errorf("status %d: %.200s", resp.StatusCode, body)
	}
	return resp, nil
}

// whole asks for an answer, and looks whether it is one.
func (c *caller) whole() error {
	resp, err := c.send()
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && (len(body) < size || !bytes.Contains(body, []byte(`"finish_reason":"stop"`))) {
		err = fmt.Errorf("no answer: %.200s", body)
	}
	return err
}

// arrival is when a piece was sent and came.
type arrival struct{ sent, came time.Time }

// pieces asks for a stream, and returns its pieces in the order of their coming, and whether
// it ended as it should. Several may come in one event, or be cut into two.
func (c *caller) pieces() (all []arrival, ended bool, err error) {
	resp, err := c.send()
	if err != nil {
		return nil, false, err
	}
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return all, ended, err
		}
		came := time.Now()
		if bytes.HasPrefix(line, []byte("data: [DONE]")) {
			ended = true
		}
		_, mark, found := bytes.Cut(line, []byte(`"content":"<`))
		if !found {
			continue
		}
		var number int
		var sent int64
		if _, err := fmt.Sscanf(string(mark), "%d %d>", &number, &sent); err != nil || number != len(all) {
			return all, false, fmt.Errorf("piece %d is %.40s", len(all), mark)
		}
		all = append(all, arrival{time.Unix(0, sent), came})
	}
}

// load is what a number of callers got.
type load struct {
	latencies []time.Duration
	perSecond float64
}

// drive asks for whole answers at a concurrency for a time.
func drive(ctx context.Context, to proxies.Target, concurrency int, length time.Duration) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var mu sync.Mutex
	var l load
	var failed error
	var wait sync.WaitGroup
	start := time.Now()
	for range concurrency {
		wait.Go(func() {
			its, err := answers(ctx, to)
			mu.Lock()
			defer mu.Unlock()
			l.latencies = append(l.latencies, its...)
			if failed == nil {
				failed = err
			}
		})
	}
	wait.Wait()
	l.perSecond = float64(len(l.latencies)) / time.Since(start).Seconds()
	slices.Sort(l.latencies)
	return l, failed
}

// answers asks one after another until the context ends.
func answers(ctx context.Context, to proxies.Target) (took []time.Duration, err error) {
	c, err := dial(to, 0, 0)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	for ctx.Err() == nil {
		start := time.Now()
		if err := c.whole(); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// quantile returns the value below which a share of sorted values is.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}
