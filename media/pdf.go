package media

import (
	"bytes"
	"compress/zlib"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
)

// isCutOff reports whether a PDF has none of the marks that end one
// (ISO 32000-1, 7.5.5). Readers forgive what comes after them, and a wrong place, but a
// file of which the last half is missing has no table of its objects.
func isCutOff(data []byte) bool {
	return !bytes.Contains(data, []byte("%%EOF")) && !bytes.Contains(data, []byte("startxref"))
}

// isEncrypted reports whether a trailer of a PDF, or a stream that replaces one, names a
// dictionary of its encryption (ISO 32000-1, 7.5.5, 7.5.8 and 7.6.1). A PDF that opens
// without a password may be encrypted too.
func isEncrypted(data []byte) bool {
	for _, body := range objectsIn(data) {
		head := body
		if stream := startsData.FindIndex(body); stream != nil {
			head = body[:stream[0]]
		}
		if isTable.Match(head) && encryption.Match(head) {
			return true
		}
	}
	for rest := data; ; {
		_, after, found := bytes.Cut(rest, []byte("trailer"))
		if !found {
			return false
		}
		trailer, next, _ := bytes.Cut(after, []byte("startxref"))
		if encryption.Match(trailer) {
			return true
		}
		rest = next
	}
}

// maxInflated bounds what is unpacked of a PDF to count its pages.
const maxInflated = 64 << 20

var (
	isPage     = regexp.MustCompile(`/Type\s*/Page\b`)
	isPages    = regexp.MustCompile(`/Type\s*/Pages\b`)
	isTable    = regexp.MustCompile(`/Type\s*/XRef\b`)
	encryption = regexp.MustCompile(`/Encrypt\s*(?:\d+\s+\d+\s+R\b|<<)`)
	isObjects  = regexp.MustCompile(`/Type\s*/ObjStm\b`)
	countOf    = regexp.MustCompile(`/Count\s+(\d{1,9})\b`)
	firstOf    = regexp.MustCompile(`/First\s+(\d{1,9})\b`)
	objectsOf  = regexp.MustCompile(`/N\s+(\d{1,9})\b`)
	startsData = regexp.MustCompile(`\bstream\r?\n`)
)

// pages returns how many pages a PDF has at least: 0 if they can't be counted, as in one
// that is encrypted. They are counted twice, as objects that are pages and as their root
// says, of which the lower number counts: so neither a page that a later revision of the
// file took out nor a root of an earlier one makes it too high.
func pages(data []byte) int {
	p := pdf{pages: map[string]bool{}, counts: map[string]int{}, inflated: maxInflated}
	for number, body := range objectsIn(data) {
		p.object(number, body)
	}
	root := 0
	if len(p.counts) > 0 {
		root = slices.Max(slices.Collect(maps.Values(p.counts)))
	}
	return max(0, min(len(p.pages), root))
}

// objectsIn yields the number of each object ("12 0 obj") and what follows it, up to the
// next one.
func objectsIn(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(number string, body []byte) bool) {
		const keyword = "obj"
		number, begin := "", 0
		for at := 0; ; {
			next := bytes.Index(data[at:], []byte(keyword))
			if next < 0 {
				break
			}
			next += at
			at = next + len(keyword)
			numbered := numberBefore(data[max(0, next-24):next])
			if numbered == "" { // such as endobj
				continue
			}
			if begin > 0 && !yield(number, data[begin:next]) {
				return
			}
			number, begin = numbered, at
		}
		if begin > 0 {
			yield(number, data[begin:])
		}
	}
}

// numberBefore returns "12" of a text that ends in "12 0 ", or "".
func numberBefore(text []byte) string {
	const space, digits = " \t\r\n", "0123456789"
	for _, chars := range [...]string{space, digits, space} {
		rest := bytes.TrimRight(text, chars)
		if len(rest) == len(text) {
			return ""
		}
		text = rest
	}
	return string(text[len(bytes.TrimRight(text, digits)):])
}

// pdf is what the objects of a file are, by their numbers. A later object replaces one of
// the same number.
type pdf struct {
	pages    map[string]bool
	counts   map[string]int // of the roots and branches of the pages
	inflated int64          // what may still be unpacked
}

// object reads an object that is not in a stream of objects, or begins one.
func (p *pdf) object(number string, body []byte) {
	head := body
	stream := startsData.FindIndex(body)
	if stream != nil {
		head = body[:stream[0]]
	}
	p.dictionary(number, head)
	if stream == nil || !isObjects.Match(head) {
		return
	}
	n, first := numberIn(objectsOf, head), numberIn(firstOf, head)
	unpacked := p.unpack(body[stream[1]:])
	if n < 0 || first < 0 || first > len(unpacked) {
		return
	}
	index := bytes.Fields(unpacked[:first])
	at := func(i int) int { // of object i of the stream
		if 2*i+1 >= len(index) || i >= n {
			return len(unpacked)
		}
		offset, err := strconv.Atoi(string(index[2*i+1]))
		if err != nil || offset < 0 || offset > len(unpacked)-first {
			return len(unpacked)
		}
		return first + offset
	}
	for i := 0; i < n && 2*i+1 < len(index); i++ {
		if begin, end := at(i), at(i+1); begin < end {
			p.dictionary(string(index[2*i]), unpacked[begin:end])
		}
	}
}

func (p *pdf) dictionary(number string, dictionary []byte) {
	delete(p.counts, number)
	delete(p.pages, number)
	if isPage.Match(dictionary) {
		p.pages[number] = true
	}
	if isPages.Match(dictionary) {
		p.counts[number] = numberIn(countOf, dictionary)
	}
}

// unpack returns the content of a stream that is packed by zlib; nil if it is not.
func (p *pdf) unpack(stream []byte) []byte {
	reader, err := zlib.NewReader(bytes.NewReader(stream))
	if err != nil || p.inflated <= 0 {
		return nil
	}
	unpacked, _ := io.ReadAll(io.LimitReader(reader, p.inflated)) // what could be read counts
	p.inflated -= int64(len(unpacked))
	return unpacked
}

// numberIn returns the first number that a pattern finds, or -1.
func numberIn(pattern *regexp.Regexp, text []byte) int {
	found := pattern.FindSubmatch(text)
	if found == nil {
		return -1
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		return -1
	}
	return n
}
