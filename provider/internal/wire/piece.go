package wire

import (
	"bufio"
	"io"
	"mime"
	"net/http"
	"strings"
)

// inOnePiece reports whether the response to a request for a stream is a whole
// answer, or a page that a proxy sent instead, and not a stream of events. The
// first byte of the body decides before the Content-Type, which is sometimes
// wrong. Read the returned body instead of the given one.
func inOnePiece(body io.ReadCloser, header http.Header) (io.ReadCloser, bool) {
	buffer := bufio.NewReader(body)
	body = struct {
		io.Reader
		io.Closer
	}{buffer, body}
	switch first, _ := buffer.Peek(1); string(first) { // the next Read returns the error
	case "{", "[", "<":
		return body, true
	case "d", "e", "i", "r", ":": // data, event, id, retry, a comment
		return body, false
	}
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return body, kind == "text/html" || kind == "application/json" || strings.HasSuffix(kind, "+json")
}
