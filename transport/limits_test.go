package transport_test

import (
	"math"
	"net/http"
	"testing"

	"llmcall/transport"
)

func TestABodyIsWholeWithoutALimitOnItsLength(t *testing.T) {
	v := serve()
	r := post(t, chat, `{"model":"m"}`)
	r.GetBody, r.ContentLength = nil, -1
	key := ""
	tr := newTransport(t, v, func(c *transport.Config) {
		c.MaxBody = math.MaxInt64
		c.Key = func(r *http.Request, body func() []byte) string {
			key = transport.ByModel(r, body)
			return key
		}
	})
	if got, err := send(tr, r); got != "200 fine" || err != nil || v.got[0] != `{"model":"m"}` || key != "api.example.com/m" {
		t.Errorf("%q, %v; sent %q for %s", got, err, v.got, key)
	}
}

