package body

import "llmcall/llm"

// translated returns the request for a model of another protocol.
func (b *Body) translated(protocol string) (*llm.Request, []Loss) { return b.Request, nil }
