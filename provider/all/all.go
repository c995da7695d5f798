// Package all imports every adapter of this module, so that provider.Open opens
// any of their models:
//
//	import _ "llmcall/provider/all"
//
// It is for programs that take the model's name from their users. A program that
// knows its provider imports that adapter alone, and is tens of megabytes
// smaller.
package all

import (
	_ "llmcall/provider/anthropic"
	_ "llmcall/provider/gemini"
	_ "llmcall/provider/openai"
)
