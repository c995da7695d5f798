// Package media prepares documents and recordings for a prompt, beside pictures. [File],
// [Bytes] and [DataURI] make the part of a message that a content is: an [llm.Document]
// of a PDF, an [llm.Audio] of a recording, an [llm.Image] of a picture. [FitAll] makes the
// parts of a conversation fit the [Limits] of a provider, or says which one does not and
// who takes it.
//
// PDF; WAV, MP3, FLAC, Ogg, AAC, AIFF and M4A; and what package picture knows are
// recognised, by their content and never by a file's name or by what a data URI claims.
package media

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"llmcall/failure"
	"llmcall/internal/datauri"
	"llmcall/internal/plainfile"
	"llmcall/internal/sniff"
	"llmcall/llm"
	"llmcall/picture"
)

// MaxFile is the size of the largest document or recording that is accepted, in bytes. It
// is more than a PDF may have at any provider.
const MaxFile = 64 << 20

// The media types of the documents and recordings that are recognised.
const (
	PDF  = sniff.PDF
	WAV  = sniff.WAV
	MP3  = sniff.MP3
	FLAC = sniff.FLAC
	OGG  = sniff.OGG // with Opus, Vorbis or another codec
	AAC  = sniff.AAC // in ADTS, without a container
	AIFF = sniff.AIFF
	M4A  = sniff.M4A // AAC in MPEG-4
)

// recordings are the media types of an [llm.Audio].
var recordings = []string{WAV, MP3, FLAC, OGG, AAC, AIFF, M4A}

// Error says why something can't be sent as a document or a recording. Its failure kind
// is [failure.InvalidRequest]: another attempt would fail in the same way.
type Error struct {
	// Limit is the field of [Limits] that it does not fit: "Documents.MaxBytes". It is
	// empty if the content is broken, or of a kind that is not known.
	Limit   string
	Problem string // what is wrong, and what is accepted
}

// Error returns Problem.
func (e *Error) Error() string { return e.Problem }

// FailureKind returns [failure.InvalidRequest].
func (e *Error) FailureKind() failure.Kind { return failure.InvalidRequest }

func refuse(format string, args ...any) error { return &Error{Problem: fmt.Sprintf(format, args...)} }

// File reads a file of at most [MaxFile] bytes and returns the part that its content is,
// as [Bytes] does. A document has the file's name, without its folder. Only a regular file
// is read, since a named pipe or a terminal could block for ever. The error names the
// file; it wraps an *[Error], or for a picture a *[picture.Error], if the file's content
// is not acceptable.
func File(path string) (llm.Part, error) {
	data, err := plainfile.Read(path, MaxFile)
	if refused, ok := errors.AsType[*plainfile.Refusal](err); ok {
		return nil, fmt.Errorf("%s: %w", path, refuse("%s", refused.Problem))
	}
	if err != nil {
		return nil, err
	}
	part, err := Bytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if document, ok := part.(llm.Document); ok {
		document.Name = filepath.Base(path)
		part = document
	}
	return part, nil
}

// Bytes returns the part that a content is: an [llm.Document], an [llm.Audio] or, by
// [picture.Bytes], an [llm.Image]. The data must not be modified afterwards. The error is
// an *[Error] if the data are empty, larger than [MaxFile], a PDF that was cut off, or of
// another kind, which it names; for a picture a *[picture.Error].
func Bytes(data []byte) (llm.Part, error) {
	mediaType, err := inspect(data)
	switch {
	case err != nil:
		return nil, err
	case mediaType == PDF:
		return llm.Document{MediaType: mediaType, Data: data}, nil
	case strings.HasPrefix(mediaType, "audio/"):
		return llm.Audio{MediaType: mediaType, Data: data}, nil
	}
	image, err := picture.Bytes(data)
	if err != nil {
		return nil, err
	}
	return image, nil
}

// DataURI returns the part in a data URI, which is read as by [picture.DataURI]. The media
// type in the URI is ignored. The errors are those of [Bytes].
func DataURI(uri string) (llm.Part, error) {
	data, err := fromDataURI(uri)
	if err != nil {
		return nil, err
	}
	return Bytes(data)
}

func fromDataURI(uri string) ([]byte, error) {
	data, err := datauri.Decode(uri, MaxFile)
	switch {
	case errors.Is(err, datauri.ErrTooLarge):
		return nil, tooLarge(len(uri))
	case err != nil:
		return nil, refuse("%v", err)
	}
	return data, nil
}

// inspect returns the media type of a content, which may be a picture's.
func inspect(data []byte) (string, error) {
	switch {
	case len(data) == 0:
		return "", refuse("is empty: takes a document, a recording or a picture")
	case len(data) > MaxFile:
		return "", tooLarge(len(data))
	}
	mediaType := sniff.Type(data)
	switch {
	case mediaType == "":
		return "", refuse("seems to be %s: takes PDF, %s, PNG, JPEG, GIF or WebP", sniff.Seems(data, "file"), sniff.Names(recordings))
	case mediaType == PDF && isCutOff(data):
		return "", refuse("is a broken PDF: it ends before its end")
	}
	return mediaType, nil
}

func tooLarge(size int) error {
	return refuse("is %d bytes: takes at most %d (%d MiB)", size, MaxFile, MaxFile>>20)
}
