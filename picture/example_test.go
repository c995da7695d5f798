package picture_test

import (
	"fmt"

	"llmcall/llm"
	"llmcall/picture"
)

// A picture goes into a message as a part. An adapter makes it fit its provider;
// a caller with a client of their own does it with Fit.
func ExampleFit() {
	cat, err := picture.File("testdata/lossy.webp")
	if err != nil {
		fmt.Println(err)
		return
	}
	cat, err = picture.Fit(cat, picture.Limits{Provider: "my server", Types: []string{picture.JPEG}, MaxSide: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	message := llm.Message{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("What is this?"), cat}}
	fmt.Println(len(message.Parts), cat.MediaType)
	// Output: 2 image/jpeg
}

func ExampleBytes() {
	_, err := picture.Bytes([]byte("%PDF-1.7"))
	fmt.Println(err)
	// Output: seems to be PDF: takes PNG, JPEG, GIF or WebP
}
