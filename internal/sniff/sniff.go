// Package sniff recognises pictures, documents and recordings by their content, and never
// by a name or by what somebody claims.
package sniff

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// The media types of what is recognised.
const (
	PNG  = "image/png"
	JPEG = "image/jpeg"
	GIF  = "image/gif"
	WebP = "image/webp"
	HEIC = "image/heic"
	HEIF = "image/heif"
	AVIF = "image/avif"

	PDF = "application/pdf"

	WAV  = "audio/wav"
	MP3  = "audio/mpeg"
	FLAC = "audio/flac"
	OGG  = "audio/ogg"
	AAC  = "audio/aac"
	AIFF = "audio/aiff"
	M4A  = "audio/mp4"
)

// Pictures are the types that can be looked into, and that are accepted by default.
var Pictures = []string{PNG, JPEG, GIF, WebP}

// Type returns the media type of a content, or "".
func Type(data []byte) string {
	has := func(prefix string) bool { return bytes.HasPrefix(data, []byte(prefix)) }
	form := "" // of a RIFF or IFF file
	if len(data) >= 12 {
		form = string(data[8:12])
	}
	switch {
	case has("\x89PNG\r\n\x1a\n"):
		return PNG
	case has("\xFF\xD8\xFF"):
		return JPEG
	case has("GIF87a"), has("GIF89a"):
		return GIF
	case has("RIFF") && form == "WEBP":
		return WebP
	case (has("RIFF") || has("RF64")) && form == "WAVE":
		return WAV
	case has("FORM") && (form == "AIFF" || form == "AIFC"):
		return AIFF
	case isFLAC(data):
		return FLAC
	case has("OggS\x00"):
		return ogg(data)
	case len(data) >= 12 && string(data[4:8]) == "ftyp":
		return isoMedia(data, form)
	case isPDF(data):
		return PDF
	}
	return framed(data)
}

// isPDF reports whether a content has the header of a PDF. Readers accept one anywhere in
// the first 1,024 bytes (ISO 32000-1, Annex H, implementation note 13 of PDF 1.7).
func isPDF(data []byte) bool {
	at := bytes.Index(data[:min(len(data), 1024)], []byte("%PDF-"))
	// A text may speak of the header.
	return at == 0 || at > 0 && (!isText(data[:at]) || strings.TrimLeft(string(data[:at]), "\uFEFF \t\r\n") == "")
}

// isFLAC reports whether the first block of a stream follows its name (RFC 9639, 8).
func isFLAC(data []byte) bool {
	return len(data) >= 5 && string(data[:4]) == "fLaC" && data[4]&0x7F == 0
}

// ogg returns "" for a film. The first page has the header of a codec
// (RFC 3533, RFC 7845).
func ogg(data []byte) string {
	if bytes.Contains(data[:min(len(data), 512)], []byte("\x80theora")) {
		return ""
	}
	return OGG
}

// isoMedia reads the brand of a file of ISO's base media format, and for the brands that
// films and recordings share its tracks (ISO/IEC 14496-12).
func isoMedia(data []byte, brand string) string {
	switch brand {
	case "heic", "heix", "hevc", "hevx", "heim", "heis":
		return HEIC
	case "mif1", "msf1":
		return HEIF
	case "avif", "avis":
		return AVIF
	case "M4A ", "M4B ":
		return M4A
	}
	sound, other := false, false
	boxes(data, func(kind string, body []byte) {
		if kind != "moov" {
			return
		}
		boxes(body, func(kind string, body []byte) {
			if kind != "trak" {
				return
			}
			switch handler(body) {
			case "soun":
				sound = true
			case "vide":
				other = true
			}
		})
	})
	if sound && !other {
		return M4A
	}
	return ""
}

// handler returns what the media of a track are.
func handler(track []byte) (what string) {
	boxes(track, func(kind string, body []byte) {
		if kind != "mdia" {
			return
		}
		boxes(body, func(kind string, body []byte) {
			if kind == "hdlr" && len(body) >= 12 {
				what = string(body[8:12])
			}
		})
	})
	return what
}

// boxes calls see for each box that is whole.
func boxes(data []byte, see func(kind string, body []byte)) {
	for len(data) >= 8 {
		size, header := uint64(binary.BigEndian.Uint32(data)), uint64(8)
		switch {
		case size == 0: // to the end
			size = uint64(len(data))
		case size == 1 && len(data) >= 16:
			size, header = binary.BigEndian.Uint64(data[8:]), 16
		}
		if size < header || size > uint64(len(data)) {
			return
		}
		see(string(data[4:8]), data[header:size])
		data = data[size:]
	}
}

// framed recognises what begins with a frame, after the tag that music has before it: MP3,
// AAC and FLAC.
func framed(data []byte) string {
	tagged := false
	for len(data) >= 10 && string(data[:3]) == "ID3" && data[3] >= 2 && data[3] <= 4 { // https://id3.org/id3v2.4.0-structure
		size := 10
		for i, b := range data[6:10] {
			if b >= 0x80 {
				return ""
			}
			size += int(b) << (7 * (3 - i))
		}
		if tagged = true; size > len(data) {
			break // only the tag is there
		}
		data = data[size:]
		data = bytes.TrimLeft(data, "\x00") // some pad it
	}
	switch {
	case isFLAC(data):
		return FLAC
	case frames(data, adts):
		return AAC
	case frames(data, mpeg), tagged:
		return MP3
	}
	return ""
}

// frames reports whether data begin with a frame that another one follows, as far as the
// data go. size returns the length of a frame, or 0 if it is not one.
func frames(data []byte, size func([]byte) int) bool {
	n := size(data)
	return n > 0 && (len(data) < n+4 || size(data[n:]) > 0)
}

// adts returns the length of a frame of AAC (ISO/IEC 13818-7, 6.2).
func adts(data []byte) int {
	if len(data) < 7 || data[0] != 0xFF || data[1]&0xF6 != 0xF0 || data[2]>>2&15 > 12 {
		return 0
	}
	n := int(data[3]&3)<<11 | int(data[4])<<3 | int(data[5])>>5
	if n < 7 {
		return 0
	}
	return n
}

// mpeg returns the length of a frame of MPEG audio of layer III
// (ISO/IEC 11172-3, 2.4.2.3).
func mpeg(data []byte) int {
	if len(data) < 4 || data[0] != 0xFF || data[1]&0xE0 != 0xE0 || data[1]>>1&3 != 1 {
		return 0
	}
	version, rate, sampling := data[1]>>3&3, data[2]>>4, data[2]>>2&3
	if version == 1 || rate == 0 || rate == 15 || sampling == 3 {
		return 0
	}
	kilobits := [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}[rate]
	hertz, samples := [...]int{44100, 48000, 32000}[sampling], 144
	if version != 3 { // MPEG 2 and 2.5
		kilobits = [...]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}[rate]
		hertz, samples = hertz/2, 72
		if version == 0 {
			hertz /= 2
		}
	}
	return samples*kilobits*1000/hertz + int(data[2]>>1&1)
}

// Name is how people call a media type.
func Name(mediaType string) string {
	switch mediaType {
	case WebP:
		return "WebP"
	case MP3:
		return "MP3"
	case M4A:
		return "M4A"
	case PNG, JPEG, GIF, HEIC, HEIF, AVIF, PDF, WAV, FLAC, OGG, AAC, AIFF:
		_, kind, _ := strings.Cut(mediaType, "/")
		return strings.ToUpper(kind)
	}
	return mediaType
}

// Names lists the names of media types.
func Names(mediaTypes []string) string {
	all := make([]string, len(mediaTypes))
	for i, t := range mediaTypes {
		all[i] = Name(t)
	}
	return strings.Join(all, ", ")
}

// Seems guesses what a content is, in words. kind is what was expected: "picture".
func Seems(data []byte, kind string) string {
	if mediaType := Type(data); mediaType != "" {
		return Name(mediaType)
	}
	for _, known := range []struct{ prefix, what string }{
		{"II*\x00", "TIFF"},
		{"MM\x00*", "TIFF"},
		{"\x00\x00\x01\x00", "an icon (ICO)"},
		{"8BPS", "a Photoshop file"},
		{"\xFF\x0A", "JPEG XL"},
		{"\x00\x00\x00\x0CJXL ", "JPEG XL"},
		{"\x00\x00\x00\x0CjP  ", "JPEG 2000"},
		{"PK\x03\x04", "a ZIP archive (or an office document)"},
		{"\xD0\xCF\x11\xE0", "an old office document"},
		{"\x1F\x8B", "gzip"},
		{"\x1A\x45\xDF\xA3", "WebM or Matroska"},
		{"#!AMR", "AMR"},
		{"OggS", "a film (Ogg)"},
		{"data:", "a data URI, as text"},
		{"iVBORw0KGgo", "a PNG in base64"},
		{"/9j/", "a JPEG in base64"},
		{"R0lGOD", "a GIF in base64"},
		{"JVBERi0", "a PDF in base64"},
		{"SUQz", "an MP3 in base64"},
		{"UklGR", "a WebP or a WAV in base64"},
	} {
		if bytes.HasPrefix(data, []byte(known.prefix)) {
			return known.what
		}
	}
	if bytes.HasPrefix(data, []byte("BM")) && len(data) > 14 && binary.LittleEndian.Uint32(data[6:]) == 0 {
		return "BMP"
	}
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		return "a film (MP4 or QuickTime)"
	}
	beginning := data[:min(len(data), 1024)]
	text := strings.ToLower(strings.TrimLeft(strings.TrimPrefix(string(beginning), "\uFEFF"), " \t\r\n"))
	switch {
	case strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"):
		return "HTML"
	case strings.HasPrefix(text, "<") && strings.Contains(text, "<svg"):
		return "SVG"
	case isText(beginning):
		return "text"
	}
	return "no " + kind + " of a kind that is known here"
}

func isText(data []byte) bool {
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return !utf8.FullRune(data) // cut in the middle of a letter
		}
		if r < ' ' && !strings.ContainsRune("\t\r\n\f\x1b", r) {
			return false
		}
		data = data[size:]
	}
	return true
}
