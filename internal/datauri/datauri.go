// Package datauri reads data URIs (RFC 2397), as kindly as browsers do.
package datauri

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const scheme = "data:"

// Is reports whether an address is a data URI.
func Is(address string) bool {
	return len(address) >= len(scheme) && strings.EqualFold(address[:len(scheme)], scheme)
}

// ErrTooLarge says that a data URI has more bytes than are accepted.
var ErrTooLarge = errors.New("a data URI that is too large")

// Decode returns the bytes in a data URI, in base64 or percent-encoded. As in browsers,
// base64 may lack its padding, contain white space, and use the URL-safe alphabet. The
// media type is left to those who look at the content. A URI that must have more than most
// bytes is [ErrTooLarge] before it is decoded. An error does not quote the content.
func Decode(uri string, most int) ([]byte, error) {
	if !Is(uri) {
		return nil, errors.New("is not a data URI (it does not begin with data:)")
	}
	head, body, found := strings.Cut(uri[len(scheme):], ",")
	if !found {
		return nil, errors.New("a data URI without a comma: takes data:…;base64,…")
	}
	if len(body) > 3*most { // so much is left at least of what is percent-encoded throughout
		return nil, ErrTooLarge
	}
	if strings.Contains(body, "%") {
		var err error
		if body, err = url.PathUnescape(body); err != nil {
			return nil, errors.New("a data URI with a broken percent-encoding")
		}
	}
	if isBase64(head) {
		return decodeBase64(body)
	}
	return []byte(body), nil
}

func isBase64(head string) bool {
	i := strings.LastIndexByte(head, ';')
	return i >= 0 && strings.EqualFold(strings.TrimSpace(head[i+1:]), "base64")
}

func decodeBase64(body string) ([]byte, error) {
	standard := strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n', '\f':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, body)
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(standard, "="))
	if err != nil {
		return nil, fmt.Errorf("a data URI with broken base64 (%w)", err)
	}
	return data, nil
}
