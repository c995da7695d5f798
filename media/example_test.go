package media_test

import (
	"fmt"

	"llmcall/llm"
	"llmcall/media"
)

// A content becomes the part that it is, whatever its name. The adapters check it against
// what their provider takes; a caller with a client of their own does it with FitAll.
func Example() {
	sound, err := media.Bytes([]byte("RIFF\x24\x00\x00\x00WAVEfmt "))
	if err != nil {
		fmt.Println(err)
		return
	}
	messages := []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("Write it down."), sound}}}
	_, err = media.FitAll(messages, media.OpenAI)
	fmt.Printf("%T %v\n", sound, err)
	_, err = media.FitAll(messages, media.Limits{Provider: "my server"})
	fmt.Println(err)
	// Output:
	// llm.Audio <nil>
	// messages[0].parts[1]: is a recording: my server takes text, PNG, JPEG, GIF, WebP; recordings are taken by the models for audio of OpenAI's and Azure's chat completions, by Gemini and OpenRouter
}
