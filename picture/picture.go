// Package picture prepares pictures for a prompt. [File], [Bytes], [DataURI] and [URL]
// make an [llm.Image]; [Fit] and [FitAll] make images fit the [Limits] of a provider,
// such as those of [OpenAI], [Anthropic] and [Gemini].
//
// PNG, JPEG, GIF and WebP are recognised, by their content and never by a file's name or
// by what a data URI claims. A picture is decoded only if it has to be changed, and only
// after its header has shown how much memory that needs, so that a decompression bomb
// does no harm.
package picture

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"llmcall/failure"
	"llmcall/internal/datauri"
	"llmcall/internal/plainfile"
	"llmcall/internal/sniff"
	"llmcall/llm"
)

const (
	// MaxFile is the size of the largest picture that is accepted, in bytes. It is
	// more than any provider accepts.
	MaxFile = 64 << 20

	// MaxPixels is the largest number of pixels, width times height, that is accepted:
	// twice the 50 million of a telephone's camera, and more than the 64 million of
	// the largest picture that a provider accepts. Larger ones are refused by their
	// header: a file of a few kB may claim to be 50,000 pixels wide and high, which
	// is 10 GB in memory.
	MaxPixels = 100_000_000
)

// The media types of the pictures that are recognised.
const (
	PNG  = sniff.PNG
	JPEG = sniff.JPEG
	GIF  = sniff.GIF
	WebP = sniff.WebP
)

// Error says why something can't be sent as a picture. Its failure kind is
// [failure.InvalidRequest]: another attempt would fail in the same way.
type Error struct {
	// Limit is the field of [Limits] that the picture does not fit. It is empty if the
	// data is not a picture, or can't be read.
	Limit   string
	Problem string // what is wrong, and what is accepted
	Err     error  // the decoder's error, or nil
}

// Error returns Problem.
func (e *Error) Error() string { return e.Problem }

// Unwrap returns the decoder's error.
func (e *Error) Unwrap() error { return e.Err }

// FailureKind returns [failure.InvalidRequest].
func (e *Error) FailureKind() failure.Kind { return failure.InvalidRequest }

func refuse(format string, args ...any) error {
	return &Error{Problem: fmt.Sprintf(format, args...)}
}

// File reads a picture from a file of at most [MaxFile] bytes. Only a regular file is
// read, since a named pipe or a terminal could block for ever. The error names the file;
// it wraps an *[Error] if the file's content is not acceptable.
func File(path string) (llm.Image, error) {
	data, err := plainfile.Read(path, MaxFile)
	if refused, ok := errors.AsType[*plainfile.Refusal](err); ok {
		return llm.Image{}, fmt.Errorf("%s: %w", path, refuse("%s", refused.Problem))
	}
	if err != nil {
		return llm.Image{}, err
	}
	image, err := Bytes(data)
	if err != nil {
		return llm.Image{}, fmt.Errorf("%s: %w", path, err)
	}
	return image, nil
}

// Bytes returns a picture with the given content, which must not be modified afterwards.
// It reads the header and the structure, not the pixels. The error is an *[Error] if the
// data is empty, incomplete, larger than [MaxFile] or [MaxPixels], or of another kind,
// which it names. (HEIC, which Gemini accepts, can't be inspected here: make an
// [llm.Image] of it directly, which [Fit] accepts.)
func Bytes(data []byte) (llm.Image, error) {
	h, err := inspect(data)
	if err != nil {
		return llm.Image{}, err
	}
	return llm.Image{MediaType: h.mediaType, Data: data}, nil
}

// DataURI returns the picture in a data URI (RFC 2397), in base64 or percent-encoded. As
// in browsers, base64 may lack its padding, contain white space, and use the URL-safe
// alphabet. The media type in the URI is ignored. The errors are those of [Bytes].
func DataURI(uri string) (llm.Image, error) {
	data, err := fromDataURI(uri)
	if err != nil {
		return llm.Image{}, err
	}
	return Bytes(data)
}

func fromDataURI(uri string) ([]byte, error) {
	data, err := datauri.Decode(uri, MaxFile)
	switch {
	case errors.Is(err, datauri.ErrTooLarge):
		return nil, tooLarge(int64(len(uri)))
	case err != nil:
		return nil, refuse("%v", err)
	}
	return data, nil
}

// URL returns a picture with an address, http or https, from which the provider fetches
// it. Nothing is fetched here. An address of another kind is an *[Error], and so is one with
// a user name or a password, since the provider would read them. A data URI is passed to
// [DataURI].
func URL(address string) (llm.Image, error) {
	if datauri.Is(address) {
		return DataURI(address)
	}
	parsed, err := url.Parse(address)
	if err != nil {
		// What url.Parse says repeats the address, with what may be secret in it.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if strings.Contains(address, "@") {
			err = errors.New("it can't be parsed")
		}
		return llm.Image{}, refuse("no address (%v): takes http://… or https://…", err)
	}
	switch {
	case parsed.Scheme == "":
		return llm.Image{}, refuse("an address without a scheme: takes http://… or https://…")
	case parsed.Scheme == "file":
		return llm.Image{}, refuse("a file: address, which no provider can fetch: takes http://… or https://…, or the path of the file")
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return llm.Image{}, refuse("an address of the scheme %q: takes http://… or https://…", parsed.Scheme)
	case parsed.User != nil:
		return llm.Image{}, refuse("an address with a user name or a password, which the provider would read: takes one without")
	case parsed.Hostname() == "":
		return llm.Image{}, refuse("an address without a host: takes http://… or https://…")
	}
	return llm.Image{URL: address}, nil
}
