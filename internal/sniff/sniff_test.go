package sniff_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"llmcall/internal/sniff"
)

func box(kind string, bodies ...string) string {
	body := strings.Join(bodies, "")
	return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + kind + body
}

func track(handler string) string {
	return box("trak", box("tkhd", "x"), box("mdia", box("hdlr", "\x00\x00\x00\x00\x00\x00\x00\x00"+handler+"\x00\x00\x00\x00")))
}

// mp3 is a frame of MPEG 1, layer III, 128 kbit/s at 44,100 Hz: 417 bytes.
var mp3 = "\xFF\xFB\x90\x00" + strings.Repeat("\x00", 413)

// aac is a frame of AAC in ADTS of 32 bytes.
var aac = "\xFF\xF1\x50\x80\x04\x00\xFC" + strings.Repeat("\x21", 25)

func tag(size int) string {
	return "ID3\x04\x00\x00" + string([]byte{byte(size >> 21 & 127), byte(size >> 14 & 127), byte(size >> 7 & 127), byte(size & 127)}) + strings.Repeat("t", size)
}

func TestType(t *testing.T) {
	film := box("ftyp", "isom", "\x00\x00\x02\x00", "isomiso2") + box("mdat", "x")
	for name, c := range map[string]struct{ data, want string }{
		"PNG": {"\x89PNG\r\n\x1a\n", sniff.PNG}, "JPEG": {"\xFF\xD8\xFF\xE0", sniff.JPEG}, "GIF": {"GIF89a", sniff.GIF},
		"WebP": {"RIFF\x00\x00\x00\x00WEBPVP8 ", sniff.WebP}, "HEIC": {"\x00\x00\x00\x18ftypheic", sniff.HEIC}, "AVIF": {"\x00\x00\x00\x18ftypavif", sniff.AVIF},

		"PDF": {"%PDF-1.7\n", sniff.PDF}, "PDF after a line": {"\uFEFF\r\n%PDF-1.4", sniff.PDF}, "PDF after bytes": {"\x00\x01junk%PDF-1.4", sniff.PDF},
		"text about PDF": {"The header is %PDF-1.7, at the start.", ""}, "PDF too late": {"\x00" + strings.Repeat(" ", 1024) + "%PDF-1.7", ""},

		"WAV": {"RIFF\x24\x00\x00\x00WAVEfmt ", sniff.WAV}, "WAV of 64 bits": {"RF64\xFF\xFF\xFF\xFFWAVEds64", sniff.WAV}, "film in RIFF": {"RIFF\x24\x00\x00\x00AVI LIST", ""},
		"AIFF": {"FORM\x00\x00\x00\x00AIFFCOMM", sniff.AIFF}, "AIFF-C": {"FORM\x00\x00\x00\x00AIFCFVER", sniff.AIFF},
		"FLAC": {"fLaC\x00\x00\x00\x22", sniff.FLAC}, "FLAC with a tag": {tag(20) + "fLaC\x00", sniff.FLAC},
		"Opus": {"OggS\x00\x02" + strings.Repeat("\x00", 22) + "OpusHead", sniff.OGG}, "Vorbis": {"OggS\x00\x02" + strings.Repeat("\x00", 22) + "\x01vorbis", sniff.OGG},
		"Theora": {"OggS\x00\x02" + strings.Repeat("\x00", 22) + "\x80theora", ""},
		"MP3":    {mp3 + mp3, sniff.MP3}, "MP3, one frame": {mp3, sniff.MP3}, "MP3 with a tag": {tag(300) + mp3 + mp3, sniff.MP3}, "MP3, the tag alone": {tag(300)[:200], sniff.MP3},
		"MP3 with padding": {tag(30) + "\x00\x00\x00" + mp3, sniff.MP3}, "MPEG 2": {"\xFF\xF3\x40\xC0" + strings.Repeat("\x00", 100), sniff.MP3},
		"one frame of luck": {mp3 + "and then something else", ""}, "layer II": {"\xFF\xFD\x90\x00", ""}, "UTF-16": {"\xFF\xFEh\x00e\x00l\x00l\x00o\x00", ""},
		"AAC": {aac + aac, sniff.AAC}, "AAC with a tag": {tag(30) + aac + aac, sniff.AAC},
		"texts": {"ID3 is an algorithm for trees.", ""}, "of radio": {"ADIF Export from a logbook", ""}, "on Ogg": {"OggS begins a page", ""}, "on FLAC": {"fLaC begins a stream", ""},
		"M4A": {box("ftyp", "M4A ", "\x00\x00\x00\x00"), sniff.M4A}, "MP4 of sound": {film + box("moov", box("mvhd", "x"), track("soun")), sniff.M4A},
		"film": {film + box("moov", track("soun"), track("vide")), ""}, "film of nothing": {film, ""}, "film cut off": {(film + box("moov", track("soun")))[:len(film)+20], ""},

		"nothing": {"", ""}, "text": {"Hello", ""}, "WebM": {"\x1A\x45\xDF\xA3\x01\x00", ""}, "a broken tag": {"ID3\x04\x00\x00\xFF\xFF\xFF\xFF", ""},
	} {
		if got := sniff.Type([]byte(c.data)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSeems(t *testing.T) {
	for data, want := range map[string]string{
		"%PDF-1.7": "PDF", mp3: "MP3", "\x1A\x45\xDF\xA3": "WebM or Matroska", "OggS\x00\x02\x80theora": "a film (Ogg)",
		"JVBERi0xLjcK": "a PDF in base64", "\x00\x00\x00\x18ftypisom": "a film (MP4 or QuickTime)", "hello": "text",
		"\x00\x01": "no file of a kind that is known here",
	} {
		if got := sniff.Seems([]byte(data), "file"); got != want {
			t.Errorf("%.20q: %s, want %s", data, got, want)
		}
	}
	for mediaType, want := range map[string]string{sniff.WebP: "WebP", sniff.MP3: "MP3", sniff.M4A: "M4A", sniff.PDF: "PDF", sniff.OGG: "OGG", "video/mp4": "video/mp4"} {
		if got := sniff.Name(mediaType); got != want {
			t.Errorf("%s: %s, want %s", mediaType, got, want)
		}
	}
}

func FuzzType(f *testing.F) {
	for _, seed := range []string{"%PDF-1.7", mp3 + mp3, tag(20) + aac, box("ftyp", "isom") + box("moov", track("soun"))} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		mediaType := sniff.Type(data)
		if seems := sniff.Seems(data, "file"); seems == "" || mediaType != "" && seems != sniff.Name(mediaType) {
			t.Errorf("is %q, seems %q", mediaType, seems)
		}
	})
}
