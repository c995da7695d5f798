package picture

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"strings"
	"testing"

	"golang.org/x/image/draw"
	"pgregory.net/rapid"

	"llmcall/failure"
	"llmcall/internal/sniff"
	"llmcall/llm"
)

var providers = []Limits{OpenAI, Anthropic, Gemini}

// fitted returns what Fit makes of a picture, decoded too.
func fitted(t testing.TB, data []byte, limits Limits) (llm.Image, image.Image) {
	t.Helper()
	before := bytes.Clone(data)
	got, err := Fit(llm.Image{Data: data}, limits)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, before) {
		t.Fatal("the caller's bytes were changed")
	}
	return got, decoded(t, got)
}

func decoded(t testing.TB, img llm.Image) image.Image {
	t.Helper()
	h, err := inspect(img.Data)
	if err != nil {
		t.Fatal(err)
	}
	if h.mediaType != img.MediaType {
		t.Fatalf("is %s, said to be %s", h.mediaType, img.MediaType)
	}
	m, err := h.decode(img.Data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func near(a, b color.Color) bool {
	ar, ag, ab, aa := a.RGBA()
	br, bg, bb, ba := b.RGBA()
	for _, d := range [...]int{int(ar) - int(br), int(ag) - int(bg), int(ab) - int(bb), int(aa) - int(ba)} {
		if d < -0x2800 || d > 0x2800 {
			return false
		}
	}
	return true
}

func same(a, b []byte) bool { return len(a) == len(b) && &a[0] == &b[0] }

func TestWhatFitsIsSentAsItIs(t *testing.T) {
	for name, data := range map[string][]byte{
		"PNG": pngOf(t, paint(80, 60)), "JPEG": jpegOf(t, paint(80, 60)), "WebP": testdata(t, "lossy.webp"),
		"upright JPEG": withOrientation(jpegOf(t, paint(80, 60)), 1, binary.LittleEndian), "animated WebP": animatedWebP(),
		"PNG that is a bomb, but not here": claim(7000, 7000, 200_000),
	} {
		for _, limits := range append(providers, Limits{}) {
			var got llm.Image
			var err error
			size := allocated(func() { got, err = Fit(llm.Image{MediaType: "image/x-wrong", Data: data}, limits) })
			if err != nil || !same(got.Data, data) || got.MediaType != sniff.Type(data) {
				t.Errorf("%s, %s: %s, %d bytes, %v", name, limits.Provider, got.MediaType, len(got.Data), err)
			}
			if size > 1<<20 {
				t.Errorf("%s, %s: %d bytes were allocated to look at a header", name, limits.Provider, size)
			}
		}
	}
	address := llm.Image{URL: "https://example.com/x"}
	if got, err := Fit(address, Gemini); err != nil || got.URL != address.URL || got.Data != nil {
		t.Errorf("an address became %+v, %v", got, err)
	}
}

func TestALargeSideIsScaledDown(t *testing.T) {
	for name, data := range map[string][]byte{"PNG": pngOf(t, paint(300, 200)), "JPEG": jpegOf(t, paint(300, 200))} {
		got, m := fitted(t, data, Limits{MaxSide: 90})
		if size := m.Bounds().Size(); size != image.Pt(90, 60) || name != strings.ToUpper(strings.TrimPrefix(got.MediaType, "image/")) {
			t.Errorf("%s: became %s of %v", name, got.MediaType, size)
		}
		corners(t, name, m, "ABCD")
	}
}

// corners compares the corners of a picture with those that paint has at its
// top left (A), top right (B), bottom left (C) and bottom right (D).
func corners(t *testing.T, name string, m image.Image, want string) {
	t.Helper()
	colors := map[rune]color.Color{'A': color.NRGBA{24, 24, 24, 255}, 'B': color.NRGBA{224, 24, 24, 255},
		'C': color.NRGBA{24, 224, 24, 255}, 'D': color.NRGBA{224, 224, 24, 255}}
	b := m.Bounds()
	l, r, top, bottom := b.Min.X+b.Dx()/8, b.Max.X-b.Dx()/8, b.Min.Y+b.Dy()/8, b.Max.Y-b.Dy()/8
	for i, at := range []image.Point{{l, top}, {r, top}, {l, bottom}, {r, bottom}} {
		if c := rune(want[i]); !near(m.At(at.X, at.Y), colors[c]) {
			t.Errorf("%s: %v at %v, want %c %v", name, m.At(at.X, at.Y), at, c, colors[c])
		}
	}
}

// The tag is for whoever shows the picture. A server that ignores it can still look at
// the picture, so a JPEG that can't be turned is not refused for that.
func TestATurnedPictureThatCantBeTurnedIsSentAsItIs(t *testing.T) {
	turned := withOrientation(jpegOf(t, paint(120, 80)), 6, binary.LittleEndian)
	scan := bytes.Index(turned, []byte{0xFF, 0xDA}) + 14
	broken := append(bytes.Clone(turned[:scan+40]), 0xFF, 0xD9) // what no decoder here reads
	for _, limits := range append(providers, Limits{}) {
		got, err := Fit(llm.Image{Data: broken}, limits)
		if err != nil || !same(got.Data, broken) || got.MediaType != JPEG {
			t.Errorf("%s: %s, %d bytes, %v", limits.Provider, got.MediaType, len(got.Data), err)
		}
	}
	if _, err := Fit(llm.Image{Data: broken}, Limits{MaxSide: 50}); err == nil || !strings.Contains(err.Error(), "at most 50 a side; and it can't be decoded") {
		t.Errorf("too large too: %v", err)
	}
}

// An address that is the picture itself is as good as its bytes.
func TestADataURIInAnAddressIsThePicture(t *testing.T) {
	wide := pngOf(t, paint(300, 200))
	uri := "DATA:;base64,\n " + strings.TrimRight(base64.URLEncoding.EncodeToString(wide), "=")
	got, err := Fit(llm.Image{URL: uri}, Limits{})
	if err != nil || !bytes.Equal(got.Data, wide) || got.MediaType != PNG || got.URL != "" {
		t.Errorf("%s, %d bytes, %q, %v", got.MediaType, len(got.Data), got.URL, err)
	}
	got, err = Fit(llm.Image{URL: uri}, Limits{MaxSide: 60})
	if size := decoded(t, got).Bounds().Size(); err != nil || size != image.Pt(60, 40) {
		t.Errorf("is made to fit as %v, %v", size, err)
	}
	for uri, says := range map[string]string{
		"data:image/png;base64,iVB$": "broken base64",
		"data:image/png":             "without a comma",
		"data:text/plain,hello":      "seems to be text",
		"data:image/png;base64,":     "is empty",
	} {
		_, err := Fit(llm.Image{URL: uri}, OpenAI)
		if failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", uri, err, says)
		}
	}
}

// A screenshot or a photo may be turned by Exif in PNG and WebP too.
func TestExifOrientationOfOtherKindsIsHonoured(t *testing.T) {
	for i, want := range []string{"ABCD", "BADC", "DCBA", "CDAB", "ACBD", "CADB", "DBCA", "BDAC"} {
		orientation := uint16(i + 1)
		got, m := fitted(t, withOrientation(pngOf(t, paint(120, 80)), orientation, binary.BigEndian), OpenAI)
		corners(t, fmt.Sprintf("PNG, orientation %d", orientation), m, want)
		if h, _ := inspect(got.Data); h.orientation > 1 || got.MediaType != PNG {
			t.Errorf("PNG, orientation %d: %s, tag %d", orientation, got.MediaType, h.orientation)
		}
		for name, prefix := range map[string]string{"lossy.webp": "", "lossless.webp": "Exif\x00\x00"} {
			before := testdata(t, name)
			given := decoded(t, llm.Image{MediaType: WebP, Data: before})
			got, m := fitted(t, webpWith(before, append([]byte(prefix), exifOf(orientation, binary.LittleEndian)...)), OpenAI)
			turned := m.Bounds().Dx() == given.Bounds().Dy() && m.Bounds().Dy() == given.Bounds().Dx()
			if turned != (orientation >= 5) || (got.MediaType == WebP) != (orientation == 1) {
				t.Errorf("%s, orientation %d: %s of %v", name, orientation, got.MediaType, m.Bounds())
			}
		}
	}
	for length := range 60 { // of a part that is cut off
		data := webpWith(testdata(t, "lossy.webp"), exifOf(6, binary.LittleEndian))
		data = data[:len(data)-length]
		binary.LittleEndian.PutUint32(data[4:], uint32(len(data)-8))
		if h, err := inspect(data); err != nil || h.orientation != 0 && length > 16 {
			t.Errorf("%d bytes less: %+v, %v", length, h, err)
		}
	}
}

func TestExifOrientationIsHonoured(t *testing.T) {
	picture := jpegOf(t, paint(120, 80))
	for i, want := range []string{"ABCD", "BADC", "DCBA", "CDAB", "ACBD", "CADB", "DBCA", "BDAC"} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			for limit, limits := range map[string]Limits{"scaled": {MaxSide: 60}, "as large": {Types: []string{PNG}}, "that fits": {}, "that fits OpenAI": OpenAI} {
				name := fmt.Sprintf("orientation %d, %v, %s", i+1, order, limit)
				got, m := fitted(t, withOrientation(picture, uint16(i+1), order), limits)
				if wide := m.Bounds().Dx() > m.Bounds().Dy(); wide != (i < 4) {
					t.Errorf("%s: %v", name, m.Bounds())
				}
				corners(t, name, m, want)
				if h, _ := inspect(got.Data); h.orientation > 1 {
					t.Errorf("%s: the tag is still there, and would turn it again", name)
				}
			}
		}
	}
	if h, err := inspect(withOrientation(picture, 9, binary.LittleEndian)); err != nil || h.orientation != 0 {
		t.Errorf("orientation 9 is read as %d, %v", h.orientation, err)
	}
}

// What a provider does not take is converted: without a loss where nothing was
// lost before.
func TestATypeThatIsNotTakenIsConverted(t *testing.T) {
	twoKinds := Limits{Types: []string{PNG, JPEG}}
	sixteen := image.NewNRGBA64(image.Rect(0, 0, 40, 30))
	draw.Draw(sixteen, sixteen.Rect, paint(40, 30), image.Point{}, draw.Src)
	for name, c := range map[string]struct {
		data   []byte
		limits Limits
		want   string
	}{
		"GIF for Gemini":                {gifOf(t, 1), Gemini, PNG},
		"animated GIF for Gemini":       {gifOf(t, 3), Gemini, PNG},
		"animated GIF for OpenAI":       {gifOf(t, 3), OpenAI, PNG},
		"animated GIF for Anthropic":    {gifOf(t, 3), Anthropic, GIF},
		"lossy WebP":                    {testdata(t, "lossy.webp"), twoKinds, JPEG},
		"lossless WebP":                 {testdata(t, "lossless.webp"), twoKinds, PNG},
		"lossy transparent WebP":        {testdata(t, "lossy-transparent.webp"), twoKinds, PNG},
		"lossless transparent WebP":     {testdata(t, "lossless-transparent.webp"), twoKinds, PNG},
		"progressive JPEG, PNG alone":   {testdata(t, "progressive.jpeg"), Limits{Types: []string{PNG}}, PNG},
		"CMYK JPEG, smaller":            {testdata(t, "cmyk.jpeg"), Limits{MaxSide: 70}, JPEG},
		"CMYK JPEG, PNG alone":          {testdata(t, "cmyk.jpeg"), Limits{Types: []string{PNG}}, PNG},
		"16-bit PNG, JPEG alone":        {pngOf(t, sixteen), Limits{Types: []string{JPEG}}, JPEG},
		"GIF, JPEG alone":               {gifOf(t, 1), Limits{Types: []string{JPEG}}, JPEG},
		"transparent WebP, JPEG alone":  {testdata(t, "lossy-transparent.webp"), Limits{Types: []string{JPEG}}, JPEG},
		"lossy WebP, PNG alone":         {testdata(t, "lossy.webp"), Limits{Types: []string{PNG}}, PNG},
		"PNG of grey, JPEG alone":       {pngOf(t, image.NewGray(image.Rect(0, 0, 9, 9))), Limits{Types: []string{JPEG}}, JPEG},
		"JPEG of one pixel, PNG alone":  {jpegOf(t, paint(1, 1)), Limits{Types: []string{PNG}}, PNG},
		"PNG, a pixel wide, much lower": {pngOf(t, paint(1, 500)), Limits{MaxSide: 10}, PNG},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := inspect(c.data)
			if err != nil {
				t.Fatal(err)
			}
			before, err := h.decode(c.data)
			if err != nil {
				t.Fatal(err)
			}
			got, after := fitted(t, c.data, c.limits)
			if got.MediaType != c.want {
				t.Errorf("became %s, want %s", got.MediaType, c.want)
			}
			if b, a := before.Bounds(), after.Bounds(); c.limits.MaxSide == 0 {
				if a.Size() != b.Size() {
					t.Fatalf("%v became %v", b, a)
				}
				flat := image.NewRGBA(b)
				draw.Draw(flat, b, image.White, image.Point{}, draw.Src)
				draw.Draw(flat, b, before, b.Min, draw.Over)
				for _, p := range []image.Point{{b.Dx() / 3, b.Dy() / 3}, {b.Dx() / 2, b.Dy() * 2 / 3}, {0, 0}} {
					want := before.At(b.Min.X+p.X, b.Min.Y+p.Y)
					if c.want == JPEG {
						want = flat.At(b.Min.X+p.X, b.Min.Y+p.Y)
					}
					if is := after.At(a.Min.X+p.X, a.Min.Y+p.Y); !near(is, want) {
						t.Errorf("%v at %v, was %v", is, p, want)
					}
				}
			}
		})
	}
}

func TestAFilmOfManyFramesIsDecodedToItsFirst(t *testing.T) {
	film := gifOf(t, 5000)
	size := allocated(func() {
		if got, m := fitted(t, film, OpenAI); got.MediaType != PNG || m.Bounds().Size() != image.Pt(8, 6) {
			t.Errorf("became %s of %v", got.MediaType, m.Bounds())
		}
	})
	if size > 4<<20 {
		t.Errorf("%d bytes were allocated", size)
	}
}

func TestTooManyBytesAreRecompressed(t *testing.T) {
	noise := pngOf(t, paint(240, 160))
	transparent := paint(240, 160)
	for i := 3; i < len(transparent.Pix); i += 8 {
		transparent.Pix[i] = 0
	}
	for name, c := range map[string]struct {
		data   []byte
		limits Limits
		want   string
		scaled bool
	}{
		"JPEG of less quality":    {jpegOf(t, paint(240, 160)), Limits{MaxBytes: 6_400}, JPEG, false},
		"PNG becomes a JPEG":      {noise, Limits{MaxBytes: 6_400}, JPEG, false},
		"a smaller one":           {noise, Limits{MaxBytes: 900}, JPEG, true},
		"PNG alone":               {noise, Limits{MaxBytes: 6_400, Types: []string{PNG}}, PNG, true},
		"transparent":             {pngOf(t, transparent), Limits{MaxBytes: 9_600}, JPEG, false},
		"transparent, PNG alone":  {pngOf(t, transparent), Limits{MaxBytes: 9_600, Types: []string{PNG}}, PNG, true},
		"the native side as well": {noise, Limits{MaxBytes: 12_800, NativeSide: 48}, PNG, true},
	} {
		got, m := fitted(t, c.data, c.limits)
		if got.MediaType != c.want || len(got.Data) > c.limits.MaxBytes {
			t.Errorf("%s: %s of %d bytes", name, got.MediaType, len(got.Data))
		}
		if scaled := m.Bounds().Size() != image.Pt(240, 160); scaled != c.scaled {
			t.Errorf("%s: became %v", name, m.Bounds())
		}
		if ratio := float64(m.Bounds().Dx()) / float64(m.Bounds().Dy()); ratio < 1.4 || ratio > 1.6 {
			t.Errorf("%s: its sides became %v", name, m.Bounds())
		}
	}
}

func TestWhatCannotBeMadeToFitNamesTheLimit(t *testing.T) {
	big := claim(9000, 9000, 700_000)
	big[24] = 16 // bits
	copy(big[29:], binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(big[12:29])))
	damaged := jpegOf(t, paint(40, 30))
	scan := bytes.Index(damaged, []byte{0xFF, 0xDA})
	damaged = append(damaged[:scan+20], 0xFF, 0xD9)
	heicData := []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
	for name, c := range map[string]struct {
		data   []byte
		limits Limits
		limit  string
		says   []string
	}{
		"too few bytes":      {pngOf(t, paint(30, 20)), Limits{Provider: "Acme", MaxBytes: 60}, "MaxBytes", []string{"as one pixel still", "Acme takes at most 60"}},
		"no kind to make":    {pngOf(t, paint(30, 20)), Limits{Types: []string{GIF, WebP}}, "Types", []string{"is PNG", "takes GIF, WebP", "only PNG and JPEG can be made"}},
		"animated WebP":      {animatedWebP(), Limits{Types: []string{PNG}}, "Types", []string{"is WebP", "takes PNG", "is animated"}},
		"memory":             {big, Limits{MaxSide: 8000}, "MaxSide", []string{"is 9000 x 9000 pixels", "at most 8000 a side", "617 MiB", "at most 512"}},
		"broken pixels":      {damaged, Limits{MaxSide: 10}, "MaxSide", []string{"is 40 x 30", "can't be decoded"}},
		"HEIC for OpenAI":    {heicData, OpenAI, "Types", []string{"is HEIC", "OpenAI takes PNG, JPEG, WebP, GIF", "can't be converted"}},
		"HEIC that is large": {heicData, Limits{Types: []string{sniff.HEIC}, MaxBytes: 10}, "MaxBytes", []string{"is 24 bytes", "at most 10", "can't be made smaller"}},
	} {
		var err error
		size := allocated(func() { _, err = Fit(llm.Image{Data: c.data}, c.limits) })
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Limit != c.limit || failure.KindOf(err) != failure.InvalidRequest {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %q: %v", name, want, err)
			}
		}
		if size > 8<<20 {
			t.Errorf("%s: %d bytes were allocated", name, size)
		}
	}
	if got, err := Fit(llm.Image{Data: heicData}, Gemini); err != nil || got.MediaType != sniff.HEIC || !same(got.Data, heicData) {
		t.Errorf("HEIC for Gemini: %+v, %v", got, err)
	}
	if _, err := Fit(llm.Image{Data: []byte("hello")}, Limits{}); err == nil || !strings.Contains(err.Error(), "seems to be text") {
		t.Errorf("text: %v", err)
	}
	for _, limits := range []Limits{{MaxBytes: -1}, {MaxSide: -1}, {NativeSide: -1}, {MaxImages: -1}, {MaxTotalBytes: -1}, {ManyImages: -1}, {ManySide: -1}} {
		if _, err := Fit(llm.Image{}, limits); err == nil || !strings.Contains(err.Error(), "must be at least 0 (0: unlimited), got -1") {
			t.Errorf("%+v: %v", limits, err)
		}
	}
}

// A provider counts base64.
func TestTheLimitsAreWithinWhatTheProvidersCount(t *testing.T) {
	for _, c := range []struct{ have, provider int }{
		{Anthropic.MaxBytes, 10_000_000}, {Anthropic.MaxTotalBytes, 32 << 20}, {OpenAI.MaxTotalBytes, 50_000_000}, {Gemini.MaxTotalBytes, 100_000_000},
	} {
		if n := base64.StdEncoding.EncodedLen(c.have); n > c.provider || n < c.provider*9/10 {
			t.Errorf("%d bytes are %d in base64, of %d", c.have, n, c.provider)
		}
	}
}

// Strips leave no seams: the result is that of scaling at once.
func TestResampleInStripsIsResampleAtOnce(t *testing.T) {
	for _, c := range []struct{ w, h, dw, dh int }{{100, 70, 37, 26}, {64, 64, 63, 63}, {333, 17, 50, 3}, {15, 200, 2, 30}, {1, 90, 1, 9}} {
		source := paint(c.w, c.h)
		want := image.NewRGBA(image.Rect(0, 0, c.dw, c.dh))
		draw.CatmullRom.Scale(want, want.Rect, source, source.Rect, draw.Src, nil)
		got := resample(source, c.dw, c.dh)
		for i := range want.Pix {
			if d := int(got.Pix[i]) - int(want.Pix[i]); d < -3 || d > 3 {
				t.Fatalf("%+v: byte %d is %d, at once %d", c, i, got.Pix[i], want.Pix[i])
			}
		}
	}
}

func TestWhateverFitReturnsFitsAndDecodes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := image.Image(paint(rapid.IntRange(1, 120).Draw(r, "width"), rapid.IntRange(1, 120).Draw(r, "height")))
		if rapid.Bool().Draw(r, "transparent") {
			m.(*image.NRGBA).Pix[3] = 17
		}
		var data []byte
		switch rapid.SampledFrom([]string{"png", "jpeg", "turned jpeg", "gif", "webp"}).Draw(r, "kind") {
		case "png":
			data = pngOf(t, m)
		case "jpeg":
			data = jpegOf(t, m)
		case "turned jpeg":
			data = withOrientation(jpegOf(t, m), uint16(rapid.IntRange(1, 8).Draw(r, "orientation")), binary.BigEndian)
		case "gif":
			data = gifOf(t, rapid.IntRange(1, 3).Draw(r, "frames"))
		case "webp":
			data = testdata(t, rapid.SampledFrom([]string{"lossy.webp", "lossless.webp", "lossless-transparent.webp"}).Draw(r, "file"))
		}
		limits := Limits{
			Types:      rapid.SliceOfDistinct(rapid.SampledFrom([]string{PNG, JPEG, GIF, WebP}), rapid.ID).Draw(r, "types"),
			MaxBytes:   rapid.OneOf(rapid.Just(0), rapid.IntRange(500, 20_000)).Draw(r, "bytes"),
			MaxSide:    rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 100)).Draw(r, "side"),
			NativeSide: rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 100)).Draw(r, "native"),
			StillGIF:   rapid.Bool().Draw(r, "still"),
		}
		got, err := Fit(llm.Image{Data: data}, limits)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Limit == "" {
				r.Fatalf("no limit is named: %v", err)
			}
			if limits.takes(PNG) && limits.takes(JPEG) && (limits.MaxBytes == 0 || limits.MaxBytes > 1000) {
				r.Fatalf("that could be made to fit: %v", err)
			}
			return
		}
		out := decoded(t, got)
		h, _ := inspect(got.Data)
		if limit, how := limits.misfit(h, len(got.Data)); limit != "" {
			r.Fatalf("%s: %s", limit, how)
		}
		if !limits.takes(got.MediaType) || limits.MaxBytes > 0 && len(got.Data) > limits.MaxBytes || limits.MaxSide > 0 && longSide(out) > limits.MaxSide {
			r.Fatalf("%s of %d bytes, %v", got.MediaType, len(got.Data), out.Bounds())
		}
		again, err := Fit(got, limits)
		if err != nil || !same(again.Data, got.Data) {
			r.Fatalf("what fits is changed again: %v", err)
		}
	})
}

func FuzzDataURI(f *testing.F) {
	f.Add("data:image/png;base64," + base64.StdEncoding.EncodeToString(pngOf(f, paint(2, 2))))
	f.Add("data:image/gif,GIF89a%01%00%01%00%00%00%00")
	f.Add("data:;base64")
	f.Fuzz(func(t *testing.T, uri string) {
		got, err := DataURI(uri)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if got.MediaType == "" || len(got.Data) == 0 || got.URL != "" {
			t.Errorf("%+v", got)
		}
		// The plainest form of the same picture is the same picture.
		again, err := DataURI("data:" + got.MediaType + ";base64," + base64.StdEncoding.EncodeToString(got.Data))
		if err != nil || !bytes.Equal(again.Data, got.Data) {
			t.Errorf("a second time: %v", err)
		}
	})
}

func FuzzFit(f *testing.F) {
	small := paint(9, 7)
	for _, data := range [][]byte{
		pngOf(f, small), jpegOf(f, small), withOrientation(jpegOf(f, small), 6, binary.BigEndian), gifOf(f, 1), gifOf(f, 2),
		testdata(f, "lossless.webp"), testdata(f, "lossy.webp"), testdata(f, "progressive.jpeg"), animatedWebP(), claim(50_000, 50_000, 9),
	} {
		f.Add(data)
	}
	limits := Limits{Types: []string{PNG, JPEG}, MaxBytes: 2000, MaxSide: 8, StillGIF: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		given, err := Bytes(data)
		if err != nil {
			return
		}
		if h, err := inspect(data); err != nil || h.pixels() > 1<<20 {
			return // large ones take their time: tests have them
		}
		got, err := Fit(given, limits)
		if err != nil {
			return
		}
		if len(got.Data) > limits.MaxBytes || !limits.takes(got.MediaType) {
			t.Errorf("%s of %d bytes", got.MediaType, len(got.Data))
		}
		if h, err := inspect(got.Data); err != nil || max(h.width, h.height) > limits.MaxSide {
			t.Errorf("%+v, %v", h, err)
		} else if _, err := h.decode(got.Data); err != nil && !same(got.Data, data) {
			t.Error(err)
		}
	})
}

func BenchmarkFit(b *testing.B) {
	photo, screenshot := jpegOf(b, paint(4000, 3000)), pngOf(b, paint(3000, 2000))
	for _, c := range []struct {
		name   string
		data   []byte
		limits Limits
	}{
		{"as it is", photo, Limits{MaxSide: 8000}},
		{"JPEG of 12 Mpx to 2576", photo, Limits{MaxSide: 2576}},
		{"PNG of 6 Mpx to 1568", screenshot, Limits{MaxSide: 1568}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Fit(llm.Image{Data: c.data}, c.limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
