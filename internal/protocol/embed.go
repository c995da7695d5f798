package protocol

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// Embedder is a protocol that makes vectors of texts: [Chat] or [Gemini].
type Embedder interface {
	// ReadEmbedding reads a request. The error is the one with which the provider refuses
	// it.
	ReadEmbedding(in *Incoming) (*Embedding, *Error)
	// Vectors writes a vector for each text.
	Vectors(e *Embedding, vectors [][]float32, tokens int) []byte
}

// Embedding is a request for vectors.
type Embedding struct {
	Model      string
	Texts      []string
	Dimensions int // of the vectors

	base64 bool // OpenAI: numbers are written in base64
	single bool // Gemini: the answer is one vector and not a list
}

// The usual dimensions of text-embedding-3-small and gemini-embedding-001, a bound on
// what is asked for, and how many texts a request may have.
const (
	openaiDimensions = 1536
	geminiDimensions = 3072
	maxDimensions    = 4096
	maxOpenAITexts   = 2048
	maxGeminiTexts   = 100
)

// ReadEmbedding reads a request for embeddings
// (platform.openai.com/docs/api-reference/embeddings/create).
func (Chat) ReadEmbedding(call *Incoming) (*Embedding, *Error) {
	deployment, refused := azureDeployment(call)
	if refused != nil {
		return nil, refused
	}
	var in struct {
		Model      string          `json:"model"`
		Input      json.RawMessage `json:"input"`
		Format     string          `json:"encoding_format"`
		Dimensions *int            `json:"dimensions"`
	}
	if refused := openaiJSON(call.Body, &in); refused != nil {
		return nil, refused
	}
	if in.Model == "" {
		in.Model = deployment
	}
	texts, ok := embeddingTexts(in.Input)
	e := &Embedding{Model: in.Model, Texts: texts, Dimensions: openaiDimensions, base64: in.Format == "base64"}
	if in.Dimensions != nil {
		e.Dimensions = *in.Dimensions
	}
	return e, firstOf(
		rule{in.Model == "", &Error{Message: "you must provide a model parameter"}},
		rule{absent(in.Input), missing("input")},
		rule{!ok || len(texts) == 0, &Error{Message: "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.", Param: "input"}},
		rule{len(texts) > maxOpenAITexts, &Error{Message: fmt.Sprintf("Invalid 'input': array too long. Expected an array with maximum length %d, but got an array with length %d instead.", maxOpenAITexts, len(texts)),
			Param: "input", Code: "array_above_max_length"}},
		rule{in.Format != "" && in.Format != "float" && in.Format != "base64", invalidValue("encoding_format", "Invalid value: '%s'. Supported values are: 'float' and 'base64'.", in.Format)},
		rule{e.Dimensions < 1 || e.Dimensions > maxDimensions, invalidValue("dimensions", "Invalid value for 'dimensions': got %d; this server takes 1 to %d.", e.Dimensions, maxDimensions)},
	)
}

// embeddingTexts reads input: a text, texts, the tokens of a text, or those of texts. A
// text of tokens is their numbers.
func embeddingTexts(input json.RawMessage) ([]string, bool) {
	var one string
	if json.Unmarshal(input, &one) == nil {
		return []string{one}, true
	}
	var texts []string
	if json.Unmarshal(input, &texts) == nil {
		return texts, true
	}
	var tokens []int
	if json.Unmarshal(input, &tokens) == nil {
		return []string{numbers(tokens)}, true
	}
	var lists [][]int
	if json.Unmarshal(input, &lists) != nil {
		return nil, false
	}
	texts = nil // of the attempt above
	for _, of := range lists {
		texts = append(texts, numbers(of))
	}
	return texts, true
}

func numbers(tokens []int) string { return strings.Trim(fmt.Sprint(tokens), "[]") }

// Vectors writes a list of embeddings.
func (Chat) Vectors(e *Embedding, vectors [][]float32, tokens int) []byte {
	var entries [][]byte
	for i, vector := range vectors {
		var written any = vector
		if e.base64 {
			var b []byte
			for _, x := range vector {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
			}
			written = b
		}
		entries = append(entries, fill(`{"object":"embedding","index":%s,"embedding":%s}`, i, written))
	}
	return fill(`{"object":"list","data":%s,"model":%s,"usage":{"prompt_tokens":%s,"total_tokens":%s}}`,
		list(entries), e.Model, tokens, tokens)
}

// geminiEmbedding is a request for an embedding (ai.google.dev/api/embeddings).
type geminiEmbedding struct {
	Content    *geminiContent `json:"content"`
	Dimensions *int           `json:"outputDimensionality"`
	Requests   []struct {
		Content    *geminiContent `json:"content"`
		Dimensions *int           `json:"outputDimensionality"`
	} `json:"requests"`
}

// ReadEmbedding reads a request for one embedding or several.
func (Gemini) ReadEmbedding(call *Incoming) (*Embedding, *Error) {
	model, method, _ := geminiCall(call.Path)
	var in geminiEmbedding
	if err := unmarshal(call.Body, &in); err != nil {
		return nil, &Error{Message: "Invalid JSON payload received. " + err.Error()}
	}
	e := &Embedding{Model: model, Dimensions: geminiDimensions, single: method == "embedContent"}
	contents := []*geminiContent{in.Content}
	dimensions := in.Dimensions
	if !e.single {
		contents = nil
		for _, r := range in.Requests {
			contents = append(contents, r.Content)
			dimensions = r.Dimensions
		}
	}
	if dimensions != nil {
		e.Dimensions = *dimensions
	}
	for _, c := range contents {
		if c == nil || len(c.Parts) == 0 {
			return nil, &Error{Message: "content is not specified"}
		}
		e.Texts = append(e.Texts, c.text())
	}
	return e, firstOf(
		rule{len(e.Texts) == 0, &Error{Message: "at least one request is required"}},
		// Not as a Param: those are fields of a request to generate content.
		rule{len(e.Texts) > maxGeminiTexts, &Error{Message: fmt.Sprintf("* BatchEmbedContentsRequest.requests: at most %d requests can be in one batch", maxGeminiTexts)}},
		rule{e.Dimensions < 1 || e.Dimensions > maxDimensions, &Error{Message: fmt.Sprintf("output_dimensionality must be from 1 to %d.", maxDimensions)}},
	)
}

// Vectors writes an embedding, or a list of them.
func (Gemini) Vectors(e *Embedding, vectors [][]float32, _ int) []byte {
	var values [][]byte
	for _, vector := range vectors {
		values = append(values, fill(`{"values":%s}`, vector))
	}
	if e.single {
		return fill(`{"embedding":%s}`, raw(values[0]))
	}
	return fill(`{"embeddings":%s}`, list(values))
}
