// Package all imports every adapter of this module, so that
// [llmcall/provider.Open] can open the models of all their providers:
//
//	import _ "llmcall/provider/all"
//
// It is meant for programs whose users choose the model. A program that knows its
// provider imports that adapter alone, and is tens of megabytes smaller.
package all

import (
	_ "llmcall/provider/anthropic"
	_ "llmcall/provider/gemini"
	_ "llmcall/provider/openai"
)
