package transport

import (
	"net/http"
	"slices"
	"strings"
)

// CheckRedirect is for the field CheckRedirect of an [http.Client] that calls language
// models. By default, http.Client follows a redirect to another host with the whole
// prompt and with an API key in X-Api-Key, X-Goog-Api-Key or Api-Key, and turns a POST
// into a GET for status 301 or 302.
//
// With CheckRedirect
//   - a redirect to the same scheme, host and port is followed if the method stays the
//     same, or the status is 303 (See Other);
//   - a GET or HEAD is followed to another host, as downloads need it, but only with
//     headers such as Accept and Range: without key, cookie and referer, even if a later
//     redirect leads back;
//   - any other redirect, and the tenth, is not followed: its response is returned as
//     it is.
func CheckRedirect(request *http.Request, via []*http.Request) error {
	first, last := via[0], via[len(via)-1]
	away := !sameOrigin(first, request) ||
		slices.ContainsFunc(via, func(r *http.Request) bool { return !sameOrigin(first, r) })
	reading := request.Method == http.MethodGet || request.Method == http.MethodHead
	seeOther := request.Response != nil && request.Response.StatusCode == http.StatusSeeOther
	switch {
	case len(via) >= maxRedirects, request.Method != last.Method && !seeOther, away && !reading:
		return http.ErrUseLastResponse
	case away:
		for name := range request.Header {
			if !slices.Contains(harmless, name) {
				delete(request.Header, name)
			}
		}
	}
	return nil
}

const maxRedirects = 10 // as in net/http

// harmless are the headers that any host may see.
var harmless = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Range", "User-Agent",
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
}

// sameOrigin compares origins: scheme, host and port (RFC 6454).
func sameOrigin(a, b *http.Request) bool {
	return a.URL.Scheme == b.URL.Scheme && strings.EqualFold(a.URL.Hostname(), b.URL.Hostname()) && port(a) == port(b)
}

func port(r *http.Request) string {
	switch given := r.URL.Port(); {
	case given != "":
		return given
	case r.URL.Scheme == "https":
		return "443"
	}
	return "80"
}
