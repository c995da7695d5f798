package wire

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"llmcall/internal/asis"
)

// writes is a connection that counts what is written to it.
type writes struct {
	net.Conn
	n *atomic.Int32
}

func (w writes) Write(p []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(p)
}

// A body of the usual size goes with its header: in two packets, a server would wake up
// twice. A large one is not copied, and arrives as it is.
func TestABodyGoesWithItsHeader(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got = string(text)
	}))
	defer server.Close()
	var n atomic.Int32
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return writes{conn, &n}, err
	}}}
	defer client.CloseIdleConnections()
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := &Direct{Protocol: Chat, Whole: to, Sign: func(http.Header) {}}
	for _, size := range []int{1 << 10, 3 << 10, joined, joined + 1, 1 << 20} {
		n.Store(0)
		long := strings.Repeat("a", size-6)
		resp, err := client.Do(d.request(t.Context(), &asis.Exchange{}, [][]byte{[]byte("one"), []byte(long), []byte("two")}, false))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got != "one"+long+"two" || resp.Request.ContentLength != int64(size) {
			t.Errorf("of %d bytes %d arrived", size, len(got))
		}
		if size < 4<<10 && n.Load() != 1 { // net/http's buffer
			t.Errorf("%d bytes are sent in %d writes", size, n.Load())
		}
	}
}
