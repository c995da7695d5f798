package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"

	"golang.org/x/image/draw"

	"llmcall/internal/datauri"
	"llmcall/internal/sniff"
	"llmcall/llm"
)

// maxDecoded bounds what decoding one picture may take, in bytes. Scaling it
// takes as much again at most.
const maxDecoded = 512 << 20

// maxEncoded is the longest side that JPEG has a number for.
const maxEncoded = 65535

// qualities are those at which a JPEG is tried, before it is made smaller.
var qualities = [...]int{90, 80, 70, 55}

// Fit returns a picture that fits limits. One that already does, by its header, is
// returned with the same bytes and their actual media type. Another one is scaled down
// and encoded again: as PNG if it was lossless (PNG, GIF, lossless WebP) or has
// transparency; as JPEG, of decreasing quality and size, if it was lossy or the PNG is too
// large. Then only the first frame of an animated GIF is kept, transparency becomes white
// in a JPEG, and everything but the pixels is lost, such as a colour profile.
//
// A JPEG, PNG or WebP whose Exif orientation says that it is to be turned is turned and
// encoded again, even if it fits: some servers ignore the tag (Ollama, llama.cpp), and
// their models see a photo on its side. If that alone can't be done, it is returned as it
// is.
//
// A data URI in URL is read as [DataURI] does, and becomes Data. Another picture without
// Data is returned as it is. For one that can't be made to fit the error is an *[Error],
// whose Limit names the field.
//
// To make a picture fit takes about one second of processor time for 12 million pixels
// and five for [MaxPixels]. It takes at most about 600 MB of memory, or twice that with
// limits that have a MaxSide or Types but no NativeSide.
func Fit(img llm.Image, limits Limits) (llm.Image, error) {
	if err := limits.validate(); err != nil {
		return llm.Image{}, err
	}
	return fit(img, limits, remake)
}

// fit is Fit with the function that encodes a picture again.
func fit(img llm.Image, limits Limits, encodeAgain func([]byte, header, Limits) (llm.Image, error)) (llm.Image, error) {
	if len(img.Data) == 0 {
		if !datauri.Is(img.URL) {
			return img, nil
		}
		data, err := fromDataURI(img.URL)
		if err != nil {
			return llm.Image{}, err
		}
		img.Data, img.URL = data, ""
	}
	h := header{mediaType: sniff.Type(img.Data)}
	switch h.mediaType {
	case sniff.HEIC, sniff.HEIF, sniff.AVIF:
		// Can't be looked into here, but a provider may take it.
		if !limits.takes(h.mediaType) {
			limit, how := limits.misfit(h, len(img.Data))
			return llm.Image{}, &Error{Limit: limit, Problem: how + "; it can't be converted here"}
		}
		if limit, how := limits.misfit(h, len(img.Data)); limit != "" {
			return llm.Image{}, &Error{Limit: limit, Problem: how + "; it can't be made smaller here"}
		}
	default:
		var err error
		if h, err = inspect(img.Data); err != nil {
			return llm.Image{}, err
		}
		limit, _ := limits.misfit(h, len(img.Data))
		if limit != "" || h.orientation > 1 {
			made, err := encodeAgain(img.Data, h, limits)
			if err == nil || limit != "" {
				img.Data, img.MediaType = made.Data, made.MediaType
				return img, err
			}
		}
	}
	img.MediaType = h.mediaType
	return img, nil
}

// remake encodes a picture again so that it fits.
func remake(data []byte, h header, limits Limits) (llm.Image, error) {
	limit, how := limits.misfit(h, len(data))
	if !limits.takes(PNG) && !limits.takes(JPEG) {
		return llm.Image{}, &Error{Limit: limit, Problem: how + "; only PNG and JPEG can be made here"}
	}
	if h.memory > maxDecoded {
		return llm.Image{}, &Error{Limit: limit, Problem: fmt.Sprintf("%s; to change a picture of %d x %d pixels would take about %d MiB of memory: at most %d are taken",
			how, h.width, h.height, h.memory>>20, maxDecoded>>20)}
	}
	decoded, err := h.decode(data)
	if err != nil {
		return llm.Image{}, &Error{Limit: limit, Problem: fmt.Sprintf("%s; and it can't be decoded: %v", how, err), Err: err}
	}
	side := maxEncoded
	for _, most := range []int{limits.MaxSide, limits.NativeSide} {
		if most > 0 {
			side = min(side, most)
		}
	}
	lossless := h.mediaType != JPEG && isLossless(decoded)
	picture := orient(scale(decoded, side), h.orientation)
	for {
		made, err := encode(picture, lossless, limits)
		if err != nil {
			return llm.Image{}, &Error{Limit: limit, Problem: fmt.Sprintf("%s; and it can't be encoded: %v", how, err), Err: err}
		}
		size := len(made.Data)
		if limits.MaxBytes == 0 || size <= limits.MaxBytes {
			made.Data = bytes.Clone(made.Data) // the encoder's buffer may be twice as large
			return made, nil
		}
		long := longSide(picture)
		if long == 1 {
			return llm.Image{}, &Error{Limit: "MaxBytes", Problem: fmt.Sprintf("is %d bytes, and as one pixel still %d: %s takes at most %d",
				len(data), size, limits.who(), limits.MaxBytes)}
		}
		// Bytes grow about as the pixels do.
		shrink := 0.95 * math.Sqrt(float64(limits.MaxBytes)/float64(size))
		picture = scale(picture, max(1, int(float64(long)*min(max(shrink, 0.1), 0.9))))
	}
}

func longSide(m image.Image) int { return max(m.Bounds().Dx(), m.Bounds().Dy()) }

// isLossless tells the two kinds of WebP apart: the lossy one has its colours
// as brightness and hue.
func isLossless(decoded image.Image) bool {
	switch decoded.(type) {
	case *image.YCbCr, *image.NYCbCrA:
		return false
	}
	return true
}

// encode returns the first encoding that fits MaxBytes, or the smallest that
// was tried.
func encode(m image.Image, lossless bool, limits Limits) (llm.Image, error) {
	var smallest llm.Image
	fits := func(mediaType string, data []byte) bool {
		if len(smallest.Data) == 0 || len(data) < len(smallest.Data) {
			smallest = llm.Image{MediaType: mediaType, Data: data}
		}
		return limits.MaxBytes == 0 || len(data) <= limits.MaxBytes
	}
	opaque := isOpaque(m)
	if limits.takes(PNG) && (lossless || !opaque || !limits.takes(JPEG)) {
		var out bytes.Buffer
		if err := png.Encode(&out, m); err != nil {
			return llm.Image{}, err
		}
		if fits(PNG, out.Bytes()) {
			return smallest, nil
		}
	}
	if !limits.takes(JPEG) {
		return smallest, nil
	}
	if !opaque {
		white := image.NewRGBA(m.Bounds())
		draw.Draw(white, white.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
		draw.Draw(white, white.Bounds(), m, m.Bounds().Min, draw.Over)
		m = white
	}
	for _, quality := range qualities {
		var out bytes.Buffer
		if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: quality}); err != nil {
			return llm.Image{}, err
		}
		if fits(JPEG, out.Bytes()) {
			break
		}
	}
	return smallest, nil
}

func isOpaque(m image.Image) bool {
	o, ok := m.(interface{ Opaque() bool })
	return ok && o.Opaque()
}

// scale returns a picture whose sides are at most side, in a form that the
// encoders know well.
func scale(m image.Image, side int) image.Image {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	if long := max(w, h); long > side {
		ratio := float64(side) / float64(long)
		return resample(m, max(1, int(math.Round(float64(w)*ratio))), max(1, int(math.Round(float64(h)*ratio))))
	}
	switch m.(type) {
	case *image.RGBA, *image.NRGBA, *image.Gray, *image.Paletted, *image.YCbCr:
		return m
	}
	return toRGBA(m)
}

func toRGBA(m image.Image) *image.RGBA {
	if rgba, ok := m.(*image.RGBA); ok && rgba.Rect.Min == (image.Point{}) {
		return rgba
	}
	rgba := image.NewRGBA(image.Rect(0, 0, m.Bounds().Dx(), m.Bounds().Dy()))
	draw.Draw(rgba, rgba.Rect, m, m.Bounds().Min, draw.Src)
	return rgba
}

// resample scales by Catmull-Rom, first across and then down, a strip at a
// time. At once it would need 32 bytes for each row of the source and column of
// the result, 2.5 GB from 9,000 x 9,000 to 8,000 x 8,000. Strips leave no seams:
// along the side that keeps its length the kernel is 1 at the pixel itself and 0
// at all others.
func resample(m image.Image, width, height int) *image.RGBA {
	const strip = 16
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	across := image.NewRGBA(image.Rect(0, 0, width, h))
	rows := image.NewRGBA(image.Rect(0, 0, w, min(strip, h)))
	scaler := draw.CatmullRom.NewScaler(width, rows.Rect.Dy(), w, rows.Rect.Dy())
	for y := 0; y < h; y += strip {
		n := min(strip, h-y)
		if n < rows.Rect.Dy() {
			scaler = draw.CatmullRom.NewScaler(width, n, w, n)
		}
		part := image.Rect(0, 0, w, n)
		draw.Draw(rows, part, m, m.Bounds().Min.Add(image.Pt(0, y)), draw.Src)
		scaler.Scale(across, image.Rect(0, y, width, y+n), rows, part, draw.Src, nil)
	}
	result := image.NewRGBA(image.Rect(0, 0, width, height))
	scaler = draw.CatmullRom.NewScaler(min(strip, width), height, min(strip, width), h)
	for x := 0; x < width; x += strip {
		n := min(strip, width-x)
		if n < min(strip, width) {
			scaler = draw.CatmullRom.NewScaler(n, height, n, h)
		}
		scaler.Scale(result, image.Rect(x, 0, x+n, height), across, image.Rect(x, 0, x+n, h), draw.Src, nil)
	}
	return result
}

// orient turns a picture as its Exif orientation, 1 to 8, says (Exif 2.3, 4.6.4 A).
func orient(m image.Image, exif int) image.Image {
	if exif < 2 {
		return m
	}
	from := toRGBA(m)
	w, h := from.Rect.Dx(), from.Rect.Dy()
	to := image.NewRGBA(image.Rect(0, 0, w, h))
	if exif >= 5 {
		to = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range to.Rect.Dy() {
		for x := range to.Rect.Dx() {
			var sx, sy int
			switch exif {
			case 2:
				sx, sy = w-1-x, y
			case 3:
				sx, sy = w-1-x, h-1-y
			case 4:
				sx, sy = x, h-1-y
			case 5:
				sx, sy = y, x
			case 6:
				sx, sy = y, h-1-x
			case 7:
				sx, sy = w-1-y, h-1-x
			case 8:
				sx, sy = w-1-y, x
			}
			copy(to.Pix[to.PixOffset(x, y):][:4], from.Pix[from.PixOffset(sx, sy):])
		}
	}
	return to
}
