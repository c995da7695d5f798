package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/webp"

	"llmcall/internal/sniff"
)

// header is what is known of a picture before it is decoded.
type header struct {
	mediaType     string
	width, height int
	animated      bool
	orientation   int   // Exif's, 1 to 8; 0 where none is given
	memory        int64 // about what decoding it takes, in bytes
}

var (
	errCutOff = errors.New("it ends before its end")
	errClaim  = errors.New("it has fewer bytes than a picture of its size can have")
)

// inspect reads a picture's header and walks through its parts. It allocates
// next to nothing, whatever the header claims.
func inspect(data []byte) (header, error) {
	if len(data) == 0 {
		return header{}, refuse("is empty: takes a picture")
	}
	if len(data) > MaxFile {
		return header{}, tooLarge(int64(len(data)))
	}
	h := header{mediaType: sniff.Type(data)}
	var err error
	switch h.mediaType {
	case PNG:
		err = h.png(data)
	case JPEG:
		err = h.jpeg(data)
	case GIF:
		err = h.gif(data)
	case WebP:
		err = h.webp(data)
	default:
		return header{}, refuse("seems to be %s: takes PNG, JPEG, GIF or WebP", sniff.Seems(data, "picture"))
	}
	switch {
	case h.pixels() > MaxPixels:
		return header{}, refuse("is %d x %d pixels: takes at most %d million pixels", h.width, h.height, MaxPixels/1_000_000)
	case err == nil && h.pixels() == 0:
		err = errors.New("it has no pixels")
	}
	if err != nil {
		what := "is a broken %s: %v"
		if isUnsupported(err) {
			what = "is %s of a form that can't be read here: %v"
		}
		return header{}, &Error{Problem: fmt.Sprintf(what, sniff.Name(h.mediaType), err), Err: err}
	}
	return h, nil
}

// isUnsupported reports whether a decoder knows a form but can't decode it.
func isUnsupported(err error) bool {
	_, jpegs := errors.AsType[jpeg.UnsupportedError](err)
	_, pngs := errors.AsType[png.UnsupportedError](err)
	return jpegs || pngs
}

func tooLarge(size int64) error {
	return refuse("is %d bytes: takes at most %d (%d MiB)", size, MaxFile, MaxFile>>20)
}

func (h *header) pixels() int64 { return int64(h.width) * int64(h.height) }

func (h *header) png(data []byte) error {
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return err
	}
	h.width, h.height = config.Width, config.Height
	depth, colorType, interlaced := int64(data[24]), data[25], data[28]
	h.memory = h.pixels() * bytesPerPixel(config.ColorModel)
	if interlaced != 0 {
		h.memory *= 2 // each of the seven passes is a picture of its own
	}
	// Of the chunks that a decoder must understand (a capital first letter) the
	// checksum is looked at, as every decoder does.
	var packed int64
	for rest := data[8:]; ; {
		if len(rest) < 12 {
			return errCutOff
		}
		size, kind := int64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		if size > int64(len(rest))-12 {
			return errCutOff
		}
		if kind[0] >= 'A' && kind[0] <= 'Z' && crc32.ChecksumIEEE(rest[4:8+size]) != binary.BigEndian.Uint32(rest[8+size:]) {
			return fmt.Errorf("the checksum of its part %q is wrong", kind)
		}
		if kind == "IEND" {
			break
		}
		switch kind {
		case "IDAT":
			packed += size
		case "eXIf":
			h.turned(rest[8 : 8+size])
		}
		rest = rest[12+size:]
	}
	// Deflate makes at most 1032 bytes of one (https://zlib.net/zlib_tech.html).
	channels := map[byte]int64{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colorType]
	row := 1 + (int64(h.width)*depth*channels+7)/8
	if row*int64(h.height) > packed*1032 {
		return errClaim
	}
	return nil
}

func bytesPerPixel(model color.Model) int64 {
	switch model {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.RGBAModel, color.NRGBAModel:
		return 4
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	}
	return 1 // a palette
}

func (h *header) jpeg(data []byte) error {
	config, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return err
	}
	h.width, h.height = config.Width, config.Height
	scan, err := h.jpegSegments(data)
	if err != nil {
		return err
	}
	// In a scan every byte FF is followed by 00 or by a marker, so that this
	// is the end of the picture and nothing else. What comes after it (a film,
	// a depth map) is not part of it.
	end := bytes.Index(data[scan:], []byte{0xFF, 0xD9})
	if end < 0 {
		return errCutOff
	}
	// A block of 8 x 8 pixels takes one bit at least; twice that is allowed for
	// strange ways of subsampling.
	if h.pixels() > int64(end)*1024 {
		return errClaim
	}
	return nil
}

// jpegSegments walks to the first scan and returns where it begins.
func (h *header) jpegSegments(data []byte) (scan int, err error) {
	for at := 2; ; {
		for at < len(data) && data[at] != 0xFF {
			at++
		}
		for at < len(data) && data[at] == 0xFF {
			at++
		}
		if at+3 > len(data) {
			return 0, errCutOff
		}
		marker := data[at]
		at++
		if marker == 0x00 || marker == 0x01 || marker >= 0xD0 && marker <= 0xD8 {
			continue
		}
		if marker == 0xD9 {
			return 0, errCutOff
		}
		size := int(binary.BigEndian.Uint16(data[at:]))
		if size < 2 || at+size > len(data) {
			return 0, errCutOff
		}
		segment := data[at+2 : at+size]
		switch marker {
		case 0xC0, 0xC1, 0xC2: // the frame
			h.jpegMemory(segment, marker == 0xC2)
		case 0xE1:
			if bytes.HasPrefix(segment, exifBegins) {
				h.turned(segment)
			}
		case 0xDA:
			return at + size, nil
		}
		at += size
	}
}

// jpegMemory estimates what decoding takes: a byte a sample, and four more to
// keep its coefficient where the picture is progressive.
func (h *header) jpegMemory(frame []byte, progressive bool) {
	if len(frame) < 6 {
		return
	}
	var samples, widest, highest int64
	count := int64(frame[5])
	for component := frame[6:]; len(component) >= 3; component = component[3:] {
		across, down := int64(component[1]>>4), int64(component[1]&15)
		samples += across * down
		widest, highest = max(widest, across), max(highest, down)
	}
	perSample := int64(1)
	if progressive {
		perSample = 5
	}
	h.memory = h.pixels() * samples * perSample / max(widest*highest, 1)
	if count == 4 {
		h.memory += h.pixels() * 5 // the fourth channel, and all four brought together
	}
}

// exifBegins is what Exif begins with in a JPEG, and by some programs in a WebP.
var exifBegins = []byte("Exif\x00\x00")

// turned reads the orientation of Exif. The first that gives one counts.
func (h *header) turned(exif []byte) {
	if h.orientation == 0 {
		h.orientation = orientation(bytes.TrimPrefix(exif, exifBegins))
	}
}

// orientation returns the orientation that Exif gives, or 0.
func orientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 0
		}
		const tagOrientation, typeShort = 0x0112, 3
		if order.Uint16(entries) == tagOrientation && order.Uint16(entries[2:]) == typeShort {
			if value := order.Uint16(entries[8:]); value >= 1 && value <= 8 {
				return int(value)
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}

// gif looks at two frames at most: a second one makes an animation.
func (h *header) gif(data []byte) error {
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return err
	}
	h.width, h.height = config.Width, config.Height
	h.memory = h.pixels()
	rest := data[13:]
	skip := func(n int) { rest = rest[min(len(rest), n):] }
	skipColors := func(packed byte) {
		if packed&0x80 != 0 {
			skip(3 << (packed&7 + 1))
		}
	}
	skipColors(data[10])
	for frames := 0; ; {
		var whole bool
		switch {
		case len(rest) > 0 && rest[0] == 0x21: // an extension
			skip(2)
			rest, whole = afterBlocks(rest)
		case len(rest) > 10 && rest[0] == 0x2C: // a frame
			if frames++; frames == 2 {
				h.animated = true
				return nil
			}
			packed := rest[9]
			skip(10)
			skipColors(packed)
			skip(1)
			if rest, whole = afterBlocks(rest); !whole {
				return errCutOff
			}
		}
		if !whole { // the trailer, which many leave out, or what no decoder reads
			if frames == 0 {
				return errCutOff
			}
			return nil
		}
	}
}

// afterBlocks skips a GIF's chain of blocks, which an empty one ends.
func afterBlocks(rest []byte) (after []byte, whole bool) {
	for len(rest) > 0 {
		size := int(rest[0])
		if size == 0 {
			return rest[1:], true
		}
		if size >= len(rest) {
			return nil, false
		}
		rest = rest[1+size:]
	}
	return nil, false
}

func (h *header) webp(data []byte) error {
	config, err := webp.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return err
	}
	h.width, h.height = config.Width, config.Height
	h.memory = h.pixels() * 2
	switch string(data[12:16]) {
	case "VP8X":
		h.animated = data[20]&2 != 0
		h.memory = h.pixels() * 10 // may be lossless, or have a lossless channel of transparency
		h.webpExif(data[12:])
	case "VP8L":
		h.memory = h.pixels() * 8
	}
	if size := int64(binary.LittleEndian.Uint32(data[4:])); size+8 > int64(len(data)) {
		return errCutOff
	}
	return nil
}

// webpExif looks for Exif among the parts of a WebP
// (https://developers.google.com/speed/webp/docs/riff_container#metadata).
func (h *header) webpExif(parts []byte) {
	for len(parts) >= 8 {
		kind, size := string(parts[:4]), int64(binary.LittleEndian.Uint32(parts[4:]))
		parts = parts[8:]
		if size > int64(len(parts)) {
			return
		}
		if kind == "EXIF" {
			h.turned(parts[:size])
		}
		parts = parts[min(int64(len(parts)), size+size%2):]
	}
}

// decode decodes a picture that was inspected; of an animated GIF the first
// frame.
func (h *header) decode(data []byte) (image.Image, error) {
	reader := bytes.NewReader(data)
	switch h.mediaType {
	case PNG:
		return png.Decode(reader)
	case JPEG:
		return jpeg.Decode(reader)
	case GIF:
		return gif.Decode(reader)
	}
	if h.animated {
		return nil, errors.New("it is animated, and only a still WebP can be changed here")
	}
	return webp.Decode(reader)
}
