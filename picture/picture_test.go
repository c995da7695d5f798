package picture

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/webp"

	"llmcall/failure"
	"llmcall/internal/sniff"
	"llmcall/llm"
)

// paint makes a picture in which every corner has another colour, with some
// noise so that it does not compress to nothing.
func paint(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	seed := uint32(1)
	for y := range h {
		for x := range w {
			seed = seed*1664525 + 1013904223
			noise := uint8(seed >> 28)
			c := color.NRGBA{R: 16 + noise, G: 16 + noise, B: 16 + noise, A: 255}
			if x >= w/2 {
				c.R += 200
			}
			if y >= h/2 {
				c.G += 200
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gifOf(t testing.TB, frames int) []byte {
	t.Helper()
	g := &gif.GIF{}
	for range frames {
		m := image.NewPaletted(image.Rect(0, 0, 8, 6), color.Palette{color.White, color.Black})
		m.SetColorIndex(3, 3, 1)
		g.Image, g.Delay = append(g.Image, m), append(g.Delay, 1)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// animatedWebP is one as far as its header says.
func animatedWebP() []byte {
	body := append([]byte("WEBPVP8X\x0a\x00\x00\x00"), 2, 0, 0, 0, 31, 0, 0, 23, 0, 0)
	body = append(body, "ANIM\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

// chunk is a part of a PNG.
func chunk(kind string, content []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(content)))
	b = append(append(b, kind...), content...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// claim is a PNG whose header says that it is so wide and high, whatever follows.
func claim(w, h uint32, packed int) []byte {
	header := binary.BigEndian.AppendUint32(nil, w)
	header = binary.BigEndian.AppendUint32(header, h)
	header = append(header, 8, 6, 0, 0, 0) // 8 bits, with transparency
	b := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", header)...)
	b = append(b, chunk("IDAT", make([]byte, packed))...)
	return append(b, chunk("IEND", nil)...)
}

// exifOf is Exif with an orientation.
func exifOf(orientation uint16, order binary.AppendByteOrder) []byte {
	tiff := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		tiff = []byte("MM\x00*")
	}
	tiff = order.AppendUint32(tiff, 8)
	tiff = order.AppendUint16(tiff, 2)
	tiff = order.AppendUint16(tiff, 0x0100) // another tag before
	tiff = order.AppendUint16(tiff, 3)
	tiff = order.AppendUint32(tiff, 1)
	tiff = order.AppendUint32(tiff, 7)
	tiff = order.AppendUint16(tiff, 0x0112)
	tiff = order.AppendUint16(tiff, 3)
	tiff = order.AppendUint32(tiff, 1)
	tiff = order.AppendUint16(tiff, orientation)
	return append(tiff, 0, 0, 0, 0, 0, 0)
}

// withOrientation puts Exif with an orientation into a JPEG, a PNG or a WebP.
func withOrientation(picture []byte, orientation uint16, order binary.AppendByteOrder) []byte {
	tiff := exifOf(orientation, order)
	switch sniff.Type(picture) {
	case PNG:
		const first = 8 + 12 + 13 // the signature, and IHDR
		return slices.Concat(picture[:first], chunk("eXIf", tiff), picture[first:])
	case WebP:
		return webpWith(picture, tiff)
	}
	segment := append([]byte("Exif\x00\x00"), tiff...)
	b := append([]byte{0xFF, 0xD8, 0xFF, 0xE1}, binary.BigEndian.AppendUint16(nil, uint16(len(segment)+2))...)
	return append(append(b, segment...), picture[2:]...)
}

// webpWith puts Exif into a WebP in the simple form.
func webpWith(picture, exif []byte) []byte {
	config, err := webp.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		panic(err)
	}
	const hasExif = 8
	body := append([]byte("WEBPVP8X\x0a\x00\x00\x00"), hasExif, 0, 0, 0, byte(config.Width-1), byte((config.Width-1)>>8), 0, byte(config.Height-1), byte((config.Height-1)>>8), 0)
	body = append(body, picture[12:]...)
	body = binary.LittleEndian.AppendUint32(append(body, "EXIF"...), uint32(len(exif)))
	body = append(body, exif...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func TestTheKindIsRecognisedByContent(t *testing.T) {
	for want, data := range map[string][]byte{
		PNG: pngOf(t, paint(8, 6)), JPEG: jpegOf(t, paint(8, 6)), GIF: gifOf(t, 1), WebP: testdata(t, "lossy.webp"),
	} {
		path := filepath.Join(t.TempDir(), "picture.txt")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		uri := "data:application/pdf;base64," + base64.StdEncoding.EncodeToString(data)
		for way, take := range map[string]func() (llm.Image, error){
			"Bytes":   func() (llm.Image, error) { return Bytes(data) },
			"File":    func() (llm.Image, error) { return File(path) },
			"DataURI": func() (llm.Image, error) { return DataURI(uri) },
			"URL":     func() (llm.Image, error) { return URL("DATA" + uri[4:]) },
		} {
			got, err := take()
			if err != nil || got.MediaType != want || !bytes.Equal(got.Data, data) || got.URL != "" {
				t.Errorf("%s of %s: %s, %d bytes, %v", way, want, got.MediaType, len(got.Data), err)
			}
		}
	}
}

func TestWhatIsNoPictureIsNamed(t *testing.T) {
	whole := map[string][]byte{"PNG": pngOf(t, paint(40, 30)), "JPEG": jpegOf(t, paint(40, 30)), "GIF": gifOf(t, 1), "WebP": testdata(t, "lossy.webp")}
	noPixels := gifOf(t, 1)
	copy(noPixels[6:], "\x00\x00\x00\x00")
	scan := bytes.Index(whole["JPEG"], []byte{0xFF, 0xDA})
	arithmetic := bytes.Clone(whole["JPEG"])
	arithmetic[bytes.Index(arithmetic, []byte{0xFF, 0xC0})+1] = 0xC9
	damaged := bytes.Clone(whole["PNG"])
	damaged[len(damaged)/2] ^= 1
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"nothing":        {nil, "is empty"},
		"PDF":            {[]byte("%PDF-1.7\n"), "seems to be PDF"},
		"SVG":            {[]byte("<?xml version=\"1.0\"?>\n<svg xmlns=\"x\"/>"), "seems to be SVG"},
		"BMP":            {append([]byte("BM"), make([]byte, 60)...), "seems to be BMP"},
		"TIFF little":    {[]byte("II*\x00\x08\x00\x00\x00"), "seems to be TIFF"},
		"TIFF big":       {[]byte("MM\x00*\x00\x00\x00\x08"), "seems to be TIFF"},
		"HEIC":           {[]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), "seems to be HEIC"},
		"HEIF":           {[]byte("\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00"), "seems to be HEIF"},
		"AVIF":           {[]byte("\x00\x00\x00\x18ftypavif\x00\x00\x00\x00"), "seems to be AVIF"},
		"film":           {[]byte("\x00\x00\x00\x18ftypisom\x00\x00\x00\x00"), "seems to be a film"},
		"HTML":           {[]byte("\uFEFF\n <!DOCTYPE html><p>404</p>"), "seems to be HTML"},
		"text":           {[]byte("Ceci n'est pas une pipe \u2026"), "seems to be text"},
		"a page's text":  {[]byte(strings.Repeat("\u2026", 2000)), "seems to be text"},
		"base64":         {[]byte("iVBORw0KGgoAAAANSUhEUg=="), "seems to be a PNG in base64"},
		"noise":          {[]byte{0, 1, 2, 3, 250}, "no picture of a kind that is known"},
		"PNG cut off":    {whole["PNG"][:len(whole["PNG"])/2], "is a broken PNG: it ends before its end"},
		"PNG, last byte": {whole["PNG"][:len(whole["PNG"])-1], "is a broken PNG: it ends before its end"},
		"PNG damaged":    {damaged, "is a broken PNG: the checksum of its part \"IDAT\" is wrong"},
		"PNG's name":     {whole["PNG"][:8], "is a broken PNG"},
		"JPEG cut off":   {whole["JPEG"][:len(whole["JPEG"])*3/4], "is a broken JPEG: it ends before its end"},
		"JPEG's head":    {whole["JPEG"][:100], "is a broken JPEG"},
		"GIF cut off":    {whole["GIF"][:len(whole["GIF"])-4], "is a broken GIF: it ends before its end"},
		"GIF's head":     {whole["GIF"][:19], "is a broken GIF: it ends before its end"},
		"JPEG's coding":  {arithmetic, "is JPEG of a form that can't be read here"},
		"WebP cut off":   {whole["WebP"][:len(whole["WebP"])-8], "is a broken WebP"},
		"no pixels":      {noPixels, "is a broken GIF: it has no pixels"},
		"GIF's colours":  {whole["GIF"][:15], "is a broken GIF"},
		"JPEG, no scan":  {append(bytes.Clone(whole["JPEG"][:scan]), 0xFF, 0xD9), "is a broken JPEG"},
		"JPEG, a scan's": {whole["JPEG"][:scan+8], "is a broken JPEG"},
		"JPEG, a marker": {whole["JPEG"][:scan+2], "is a broken JPEG"},
		"too many bytes": {make([]byte, MaxFile+1), "takes at most 67108864 (64 MiB)"},
	} {
		_, err := Bytes(c.data)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), c.says) || e.Limit != "" {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if failure.KindOf(err) != failure.InvalidRequest {
			t.Errorf("%s: failure kind %v", name, failure.KindOf(err))
		}
	}
}

// A GIF may lack its trailer, and a JPEG may have a film behind it.
func TestWhatDecodersForgiveIsTaken(t *testing.T) {
	still := gifOf(t, 1)
	for name, data := range map[string][]byte{
		"GIF without a trailer": still[:len(still)-1],
		"JPEG with a film":      append(jpegOf(t, paint(8, 6)), "\x00\x00\x00\x18ftypisom"...),
		"PNG with more":         append(pngOf(t, paint(8, 6)), "more"...),
	} {
		if _, err := Bytes(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestABombIsRefusedBeforeItIsDecoded(t *testing.T) {
	flat := jpegOf(t, image.NewGray(image.Rect(0, 0, 16, 16)))
	at := bytes.Index(flat, []byte{0xFF, 0xC0}) + 5
	binary.BigEndian.PutUint16(flat[at:], 9000)
	binary.BigEndian.PutUint16(flat[at+2:], 9000)
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"PNG of 50,000 x 50,000":    {claim(50_000, 50_000, 4000), "is 50000 x 50000 pixels: takes at most 100 million pixels"},
		"PNG wider than an int32":   {claim(1<<31-1, 1<<31-1, 100), "PNG"},
		"PNG within the pixels":     {claim(9000, 9000, 4000), "fewer bytes than a picture of its size can have"},
		"JPEG within the pixels":    {flat, "fewer bytes than a picture of its size can have"},
		"GIF of 65,535 x 65,535":    {append([]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), gifOf(t, 1)[19:]...), "is 65535 x 65535 pixels"},
		"WebP of 16,777,216 x 1024": {[]byte("RIFF\x1a\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0f\xff\x03\x00"), "pixels: takes at most"},
	} {
		var err error
		size := allocated(func() {
			if _, err = Bytes(c.data); err != nil {
				_, err = Fit(llm.Image{Data: c.data}, Limits{MaxSide: 10})
			}
		})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if size > 1<<20 {
			t.Errorf("%s: %d bytes were allocated for it", name, size)
		}
	}
}

// Exif is written by many hands: what can't be understood turns nothing.
func TestBrokenExifIsNoOrientation(t *testing.T) {
	whole := withOrientation(jpegOf(t, paint(8, 6)), 6, binary.LittleEndian)
	tiff := whole[12 : 12+8+2+2*12]
	if got := orientation(tiff); got != 6 {
		t.Fatalf("whole: %d", got)
	}
	for length := range len(tiff) {
		if got := orientation(tiff[:length]); got != 0 {
			t.Errorf("%d bytes of it: %d", length, got)
		}
	}
	for name, c := range map[string]struct {
		at    int
		value byte
	}{"byte order": {0, 'X'}, "place of the entries": {7, 0xFF}, "tag": {22, 0x13}, "type": {24, 4}, "value 0": {30, 0}, "value 9": {30, 9}} {
		broken := bytes.Clone(tiff)
		broken[c.at] = c.value
		if got := orientation(broken); got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// What decoding takes in memory is known before.
func TestMemoryIsEstimatedFromTheHeader(t *testing.T) {
	interlaced := claim(100, 100, 50)
	interlaced[28] = 1
	copy(interlaced[29:], binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(interlaced[12:29])))
	rect := image.Rect(0, 0, 100, 100)
	for name, c := range map[string]struct {
		data     []byte
		perPixel float64
	}{
		"PNG":                       {pngOf(t, image.NewNRGBA(rect)), 4},
		"PNG, interlaced":           {interlaced, 8},
		"PNG of grey":               {pngOf(t, image.NewGray(rect)), 1},
		"PNG of grey, 16 bits":      {pngOf(t, image.NewGray16(rect)), 2},
		"PNG, 16 bits":              {pngOf(t, image.NewNRGBA64(rect)), 8},
		"PNG with a palette":        {pngOf(t, image.NewPaletted(rect, color.Palette{color.White})), 1},
		"GIF":                       {gifOf(t, 1), 1},
		"JPEG of grey":              {jpegOf(t, image.NewGray(rect)), 1},
		"JPEG, colour at a quarter": {jpegOf(t, image.NewRGBA(rect)), 1.5},
		"JPEG, progressive":         {testdata(t, "progressive.jpeg"), 7.5},
		"JPEG, CMYK":                {testdata(t, "cmyk.jpeg"), 9},
		"WebP, lossy":               {testdata(t, "lossy.webp"), 2},
		"WebP, lossless":            {testdata(t, "lossless.webp"), 8},
		"WebP, with transparency":   {testdata(t, "lossy-transparent.webp"), 10},
	} {
		h, err := inspect(c.data)
		if got := float64(h.memory) / float64(h.pixels()); err != nil || got != c.perPixel {
			t.Errorf("%s: %v bytes a pixel, want %v; %v", name, got, c.perPixel, err)
		}
	}
}

func TestDataURI(t *testing.T) {
	data := pngOf(t, paint(8, 6))
	standard := base64.StdEncoding.EncodeToString(data)
	for name, uri := range map[string]string{
		"plain":            "data:image/png;base64," + standard,
		"no type":          "data:;base64," + standard,
		"parameters":       "data:image/png;name=a.png;charset=utf-8;BASE64," + standard,
		"scheme's case":    "DATA:image/png;base64," + standard,
		"no padding":       "data:image/png;base64," + strings.TrimRight(standard, "="),
		"lines":            "data:image/png;base64,\r\n " + standard[:20] + "\n" + standard[20:] + "\n",
		"URL-safe":         "data:image/png;base64," + base64.URLEncoding.EncodeToString(data),
		"encoded base64":   "data:image/png;base64," + url.PathEscape(standard),
		"percent-encoding": "data:image/png," + url.PathEscape(string(data)),
	} {
		got, err := DataURI(uri)
		if err != nil || !bytes.Equal(got.Data, data) || got.MediaType != PNG {
			t.Errorf("%s: %v", name, err)
		}
	}
	for uri, says := range map[string]string{
		"image/png;base64," + standard: "does not begin with data:",
		"":                             "does not begin with data:",
		"data:image/png;base64":        "without a comma",
		"data:image/png;base64,":       "is empty",
		"data:,":                       "is empty",
		"data:image/png;base64,iVB$":   "broken base64",
		"data:image/png,%zz":           "broken percent-encoding",
		"data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte("%PDF-1.4")): "seems to be PDF",
		"data:image/png,hello": "seems to be text",
		"data:image/png;base64," + strings.Repeat("A", 3*MaxFile+1): "takes at most",
	} {
		if _, err := DataURI(uri); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40s: %v, want %q", uri, err, says)
		}
	}
}

func TestURL(t *testing.T) {
	for _, address := range []string{"https://example.com/cat.png?size=2", "HTTP://example.com:8080/a", "http://[::1]/x"} {
		got, err := URL(address)
		if err != nil || got.URL != address || got.Data != nil || got.MediaType != "" {
			t.Errorf("%s: %+v, %v", address, got, err)
		}
	}
	for address, says := range map[string]string{
		"":                               "without a scheme",
		"example.com/cat.png":            "without a scheme",
		"//example.com/cat.png":          "without a scheme",
		"file:///etc/passwd":             "a file: address",
		"FILE:/etc/passwd":               "a file: address",
		"ftp://example.com/cat.png":      `the scheme "ftp"`,
		"javascript:alert(1)":            `the scheme "javascript"`,
		"https://":                       "without a host",
		"https:cat.png":                  "without a host",
		"https://:443/cat.png":           "without a host",
		"https://me:hunter2@example.com": "with a user name or a password",
		"https://me@example.com/":        "with a user name or a password",
		"https://exa mple.com/":          "no address",
		"https://me:hunter2@a:b/":        "no address",
		"https://example.com/\n":         "no address",
		"data:text/plain,hello":          "seems to be text",
	} {
		_, err := URL(address)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", address, err, says)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the password is in the error: %v", address, err)
		}
	}
}
