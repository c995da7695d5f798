package wire

import "llmcall/llm"

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
