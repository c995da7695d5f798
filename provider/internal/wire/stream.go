package wire

import (
	"mime"
	"strings"

	"llmcall/llm"
)

// YieldAll yields the chunks, then the error if there is one, and reports
// whether to go on.
func YieldAll(chunks []llm.Chunk, err error, yield func(llm.Chunk, error) bool) bool {
	for _, chunk := range chunks {
		if !yield(chunk, nil) {
			return false
		}
	}
	if err != nil {
		yield(llm.Chunk{}, err)
	}
	return err == nil
}

// InOnePiece reports whether a response of this Content-Type is a whole answer,
// or a page that a proxy put in its place, and no stream of events.
func InOnePiece(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind == "text/html" || kind == "application/json" || strings.HasSuffix(kind, "+json")
}
