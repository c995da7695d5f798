package picture

import (
	"encoding/base64"
	"fmt"
	"slices"

	"llmcall/internal/sniff"
)

// Limits is what a provider accepts. The zero value of each field means no limit.
//
// Providers count a picture's base64, which is 4/3 of its bytes; here all sizes are of
// the picture itself.
type Limits struct {
	Provider string   // for error messages: "Anthropic"; "": "the provider"
	Types    []string // the media types that are accepted; empty: PNG, JPEG, GIF and WebP
	MaxBytes int      // of one picture
	MaxSide  int      // width and height of one picture, in pixels
	// NativeSide is the longest side, in pixels, to which the provider itself scales
	// pictures down. It refuses nothing: a picture that fits is sent as it is. One
	// that must be encoded again is scaled down to it, since the model would not see
	// more.
	NativeSide int
	// StillGIF refuses a GIF of more than one frame.
	StillGIF bool

	// Of one request:

	MaxImages     int // pictures, those with an address included
	MaxTotalBytes int // all pictures together
	// ManyImages and ManySide: where there are more than ManyImages pictures,
	// ManySide is the MaxSide of each.
	ManyImages, ManySide int
}

// OpenAI is what OpenAI accepts (chat completions and responses).
//
// Types, no animated GIF: https://developers.openai.com/api/docs/guides/images-vision
// as of September 2026. MaxBytes: the 20 MB of the same guide before 2026, which
// Azure OpenAI still holds to ("cannot exceed 20971520 bytes"); the guide gives
// none now. MaxImages: the guide's 1,500. MaxTotalBytes: the guide gives 512 MB
// a request, but the service was measured (September 2026) to refuse pictures
// above "the allowed limit of 50MB", the guide's figure until April 2026, counted
// about as their base64. There is no MaxSide: larger pictures are scaled down;
// NativeSide is the 6,000 pixels of "detail": "original".
var OpenAI = Limits{
	Provider:      "OpenAI",
	Types:         []string{PNG, JPEG, WebP, GIF},
	MaxBytes:      20 << 20,
	NativeSide:    6000,
	StillGIF:      true,
	MaxImages:     1500,
	MaxTotalBytes: base64.StdEncoding.DecodedLen(50_000_000),
}

// Anthropic is what Anthropic accepts (messages).
//
// https://platform.claude.com/docs/en/build-with-claude/vision as of June 2026:
// JPEG, PNG, GIF (of an animation the first frame is seen) and WebP; 10 MB of
// base64 a picture, read as 10,000,000 (it was 5 MB until early 2026, and is
// still on Amazon Bedrock and Google Cloud: set MaxBytes to 5<<20/4*3 there);
// 8,000 pixels a side, and 2,000 where a request has more than 20 pictures; 600
// pictures a request (100 with models whose context is 200,000 tokens); 32 MB a
// request, of which one is left to the text. NativeSide is the 2,576 pixels of
// the newest models; the others see 1,568.
var Anthropic = Limits{
	Provider:      "Anthropic",
	Types:         []string{PNG, JPEG, GIF, WebP},
	MaxBytes:      base64.StdEncoding.DecodedLen(10_000_000),
	MaxSide:       8000,
	NativeSide:    2576,
	MaxImages:     600,
	MaxTotalBytes: base64.StdEncoding.DecodedLen(31_000_000),
	ManyImages:    20,
	ManySide:      2000,
}

// Gemini is what Google Gemini accepts (generate content).
//
// https://ai.google.dev/gemini-api/docs/image-understanding as of September
// 2026: PNG, JPEG, WebP, HEIC and HEIF, no GIF; 3,600 pictures a request. The
// request: 100 MB, of which one is left to the text, as
// https://ai.google.dev/gemini-api/docs/file-input-methods says since January
// 2026; the first page still has the 20 MB from before. No limit for one picture
// is given (Vertex AI has 7 MB). NativeSide is the 3,072 pixels that
// https://firebase.google.com/docs/ai-logic/input-file-requirements gives.
var Gemini = Limits{
	Provider:      "Gemini",
	Types:         []string{PNG, JPEG, WebP, sniff.HEIC, sniff.HEIF},
	NativeSide:    3072,
	MaxImages:     3600,
	MaxTotalBytes: base64.StdEncoding.DecodedLen(99_000_000),
}

// validate returns an error that names the first impossible field.
func (l *Limits) validate() error {
	for _, field := range [...]struct {
		name  string
		value int
	}{
		{"MaxBytes", l.MaxBytes}, {"MaxSide", l.MaxSide}, {"NativeSide", l.NativeSide}, {"MaxImages", l.MaxImages},
		{"MaxTotalBytes", l.MaxTotalBytes}, {"ManyImages", l.ManyImages}, {"ManySide", l.ManySide},
	} {
		if field.value < 0 {
			return fmt.Errorf("picture.Limits: %s must be at least 0 (0: unlimited), got %d", field.name, field.value)
		}
	}
	return nil
}

func (l *Limits) types() []string {
	if len(l.Types) == 0 {
		return sniff.Pictures
	}
	return l.Types
}

func (l *Limits) takes(mediaType string) bool { return slices.Contains(l.types(), mediaType) }

// who is the provider, in a message.
func (l *Limits) who() string {
	if l.Provider == "" {
		return "the provider"
	}
	return l.Provider
}

// misfit returns the first limit that a picture does not fit, and how it
// doesn't; both are empty where it fits. It decides from the header alone.
func (l *Limits) misfit(h header, size int) (limit, how string) {
	switch {
	case !l.takes(h.mediaType):
		return "Types", fmt.Sprintf("is %s: %s takes %s", sniff.Name(h.mediaType), l.who(), sniff.Names(l.types()))
	case l.StillGIF && h.mediaType == GIF && h.animated:
		return "StillGIF", fmt.Sprintf("is an animated GIF: %s takes still ones", l.who())
	case l.MaxSide > 0 && max(h.width, h.height) > l.MaxSide:
		return "MaxSide", fmt.Sprintf("is %d x %d pixels: %s takes at most %d a side", h.width, h.height, l.who(), l.MaxSide)
	case l.MaxBytes > 0 && size > l.MaxBytes:
		return "MaxBytes", fmt.Sprintf("is %d bytes: %s takes at most %d", size, l.who(), l.MaxBytes)
	}
	return "", ""
}
