package openai

import (
	"cmp"
	"encoding/base64"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"

	"llmcall/llm"
	"llmcall/media"
	"llmcall/picture"
)

// mediaOf returns what a server takes beside text. OpenAI's limits are stated for OpenAI
// and Azure alone. Of the other servers nothing is refused here but what the protocol has no
// field for, and what their documentation excludes: the rest depends on the model, and they
// refuse it themselves.
//
// Sources:
//   - azure: "The maximum audio file size is 20 MB",
//     https://learn.microsoft.com/azure/ai-services/openai/audio-completions-quickstart
//   - openrouter: https://openrouter.ai/docs/guides/overview/multimodal/image-understanding
//     (png, jpeg, webp, gif; no sizes),
//     https://openrouter.ai/docs/features/multimodal/pdfs (for any model, by address too),
//     https://openrouter.ai/docs/features/multimodal/audio (wav, mp3, flac,
//     m4a, ogg, aiff, aac; "direct URLs are not supported")
//   - llamacpp: tools/server/server-common.cpp takes text, image_url, and input_audio in
//     wav or mp3, and says "unsupported content[].type" to a file; tools/mtmd/mtmd-helper.cpp
//     decodes pictures with stb_image, which reads no WebP
//   - ollama: https://docs.ollama.com/api/openai-compatibility lists texts and images; of
//     recordings the page says nothing, and it is left to the server
func mediaOf(server string, byResponses bool) media.Limits {
	pdf := media.Kind{Types: []string{media.PDF}}
	recordings := media.Kind{Types: []string{media.WAV, media.MP3, media.FLAC, media.OGG, media.AAC, media.AIFF, media.M4A}}
	limits := media.Limits{Provider: server, Documents: pdf, Audio: recordings}
	switch server {
	case "openai", azure:
		limits = media.OpenAI
		if byResponses {
			limits = media.OpenAIResponses
		}
		if server == azure {
			limits.Provider, limits.Pictures.Provider = "Azure", "Azure"
			limits.Audio.MaxBytes = 20 << 20
		}
		return limits
	case "openrouter":
		limits.Provider, limits.Documents.Schemes = "OpenRouter", []string{"https", "http"}
	case "llamacpp":
		limits.Provider, limits.Documents, limits.Audio.Types = "llama.cpp", media.Kind{}, []string{media.WAV, media.MP3}
		limits.Pictures.Types = []string{picture.PNG, picture.JPEG, picture.GIF}
	case "ollama":
		limits.Provider, limits.Documents = "Ollama", media.Kind{}
	}
	limits.Pictures.Provider = limits.Provider
	return limits
}

// filePart returns a document as a part of a message. [media.FitAll] has checked it.
func filePart(document llm.Document) sdk.ChatCompletionContentPartUnionParam {
	return sdk.FileContentPart(sdk.ChatCompletionContentPartFileFileParam{
		FileData: param.NewOpt(fileData(document)), Filename: param.NewOpt(fileName(document)),
	})
}

// inputFile is filePart of the Responses API.
func inputFile(document llm.Document) responses.ResponseInputContentUnionParam {
	file := responses.ResponseInputFileParam{}
	if len(document.Data) > 0 {
		file.FileData, file.Filename = param.NewOpt(fileData(document)), param.NewOpt(fileName(document))
	} else { // the two together are refused
		file.FileURL = param.NewOpt(document.URL)
	}
	return responses.ResponseInputContentUnionParam{OfInputFile: &file}
}

// fileData returns the bytes of a document, or its address, which OpenRouter takes in the
// same field.
func fileData(document llm.Document) string {
	if len(document.Data) == 0 {
		return document.URL
	}
	return dataURI(document.MediaType, document.Data)
}

func dataURI(mediaType string, data []byte) string {
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// fileName returns the name of a document, which a file must have if it comes with its
// data.
func fileName(document llm.Document) string { return cmp.Or(document.Name, "document.pdf") }

// audioPart returns a recording as a part of a message. [media.FitAll] has checked it.
func audioPart(recording llm.Audio) sdk.ChatCompletionContentPartUnionParam {
	format := map[string]string{
		media.WAV: "wav", media.MP3: "mp3", media.FLAC: "flac", media.OGG: "ogg", media.AAC: "aac", media.AIFF: "aiff", media.M4A: "m4a",
	}[recording.MediaType]
	return sdk.InputAudioContentPart(sdk.ChatCompletionContentPartInputAudioInputAudioParam{
		Data: base64.StdEncoding.EncodeToString(recording.Data), Format: format,
	})
}
