package media

import (
	"fmt"
	"strings"

	"llmcall/internal/sniff"
	"llmcall/picture"
)

// Limits is what a provider accepts beside text. The zero value takes neither documents
// nor recordings, and pictures as the zero [picture.Limits] does.
type Limits struct {
	Provider  string // for error messages: "Anthropic"; "": "the provider"
	Pictures  picture.Limits
	Documents Kind
	Audio     Kind
	// MaxTotalBytes is the size of all documents, recordings and pictures of one
	// request; 0 means no limit.
	MaxTotalBytes int
}

// Kind is what a provider accepts of documents, or of recordings. In the numbers, 0 means
// no limit.
//
// As in [picture.Limits], all sizes are of the content itself, not of its base64.
type Kind struct {
	Types    []string // the media types that are accepted; empty: none, not even by address
	Schemes  []string // of the addresses that the provider fetches: "https"; empty: it fetches none
	MaxBytes int      // of one
	MaxPages int      // of one document
	// Unencrypted refuses a PDF with encryption, also one that opens without a password.
	Unencrypted bool

	// Of one request:

	MaxTotalBytes int // all of the kind together
	MaxTotalPages int
}

var web = []string{"https", "http"}

// OpenAI is what OpenAI's chat completions accept.
//
// https://developers.openai.com/api/docs/guides/file-inputs as of September 2026: in chat
// completions PDF alone, and not by its address; "each file must be under 50 MB", and "the
// combined limit across all files in the request is 50 MB", read as MiB, so that nothing is
// refused here that OpenAI might take. Of encrypted files it says nothing. https://developers.openai.com/api/docs/guides/audio-chat-completions and the
// reference of input_audio: WAV and MP3, by their bytes, for the models for audio.
var OpenAI = Limits{
	Provider:  "OpenAI",
	Pictures:  picture.OpenAI,
	Documents: Kind{Types: []string{PDF}, MaxBytes: 50 << 20, MaxTotalBytes: 50 << 20},
	Audio:     Kind{Types: []string{WAV, MP3}},
}

// OpenAIResponses is what OpenAI's Responses API accepts: documents by their address too,
// and no recordings (of the models for audio, such as
// https://developers.openai.com/api/docs/models/gpt-audio, none is served by it).
//
// The other types of files that it takes become text, and are better sent as one.
var OpenAIResponses = Limits{
	Provider:  "OpenAI's Responses API",
	Pictures:  picture.OpenAI,
	Documents: Kind{Types: []string{PDF}, Schemes: web, MaxBytes: 50 << 20, MaxTotalBytes: 50 << 20},
}

// Anthropic is what Anthropic accepts (messages).
//
// https://platform.claude.com/docs/en/build-with-claude/pdf-support as of June 2026:
// "Standard PDF (no passwords/encryption)", 600 pages a request (100 with models whose context is 200,000 tokens, which Anthropic
// itself refuses), and 32 MB for the request with all that is in it, of which one is left
// to the text.
var Anthropic = Limits{
	Provider:      "Anthropic",
	Pictures:      picture.Anthropic,
	Documents:     Kind{Types: []string{PDF}, Schemes: web, MaxTotalPages: 600, Unencrypted: true},
	MaxTotalBytes: picture.Anthropic.MaxTotalBytes,
}

// Gemini is what Google Gemini accepts (generate content).
//
// https://ai.google.dev/gemini-api/docs/document-processing and
// https://ai.google.dev/gemini-api/docs/file-input-methods as of September 2026: PDF of
// 1,000 pages and 50 MB; 100 MB for the request, as for pictures.
// https://ai.google.dev/gemini-api/docs/audio: WAV, MP3, AIFF, AAC, Ogg and FLAC of 9.5
// hours together, which is not looked at here: within the size of a request only recordings
// of less than 24 kbit/s are as long;
// https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/audio-understanding has
// M4A too.
var Gemini = Limits{
	Provider:      "Gemini",
	Pictures:      picture.Gemini,
	Documents:     Kind{Types: []string{PDF}, Schemes: []string{"https", "http", "gs"}, MaxBytes: 50 << 20, MaxPages: 1000},
	Audio:         Kind{Types: []string{WAV, MP3, AIFF, AAC, OGG, FLAC, M4A}, Schemes: []string{"https", "http", "gs"}},
	MaxTotalBytes: picture.Gemini.MaxTotalBytes,
}

// validate returns an error that names the first impossible field.
func (l *Limits) validate() error {
	for _, field := range [...]struct {
		name  string
		value int
	}{
		{"Documents.MaxBytes", l.Documents.MaxBytes}, {"Documents.MaxPages", l.Documents.MaxPages},
		{"Documents.MaxTotalBytes", l.Documents.MaxTotalBytes}, {"Documents.MaxTotalPages", l.Documents.MaxTotalPages},
		{"Audio.MaxBytes", l.Audio.MaxBytes}, {"Audio.MaxPages", l.Audio.MaxPages},
		{"Audio.MaxTotalBytes", l.Audio.MaxTotalBytes}, {"Audio.MaxTotalPages", l.Audio.MaxTotalPages},
		{"MaxTotalBytes", l.MaxTotalBytes},
	} {
		if field.value < 0 {
			return fmt.Errorf("media.Limits: %s must be at least 0 (0: unlimited), got %d", field.name, field.value)
		}
	}
	return nil
}

// who is the provider, in a message.
func (l *Limits) who() string {
	if l.Provider == "" {
		return "the provider"
	}
	return l.Provider
}

// taken lists all that the provider takes.
func (l *Limits) taken() string {
	kinds := l.Pictures.Types
	if len(kinds) == 0 {
		kinds = sniff.Pictures
	}
	all := []string{"text", sniff.Names(kinds)}
	for _, kind := range []Kind{l.Documents, l.Audio} {
		if len(kind.Types) > 0 {
			all = append(all, sniff.Names(kind.Types))
		}
	}
	return strings.Join(all, ", ")
}
