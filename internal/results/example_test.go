package results_test

import (
	"fmt"
	"os"
	"path/filepath"

	"llmcall/internal/results"
)

// A run that ends early, and the next one, which goes on.
func Example() {
	directory, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(directory)
	path := filepath.Join(directory, "out.jsonl")

	keys := []results.Key{results.Identify([]byte("Paris")), results.Identify([]byte("Rome"))}
	for _, rows := range [][]int{{2}, {1, 2}} {
		out, err := results.Open(path)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("done:", out.Match(keys, nil).Done)
		for _, row := range rows {
			if out.Done(row) {
				continue
			}
			answer := fmt.Sprintf("answer %d", row)
			if err := out.Append(&results.Line{Row: row, Answer: &answer, Model: "practice", Attempts: 1, Key: keys[row-1]}); err != nil {
				fmt.Println(err)
			}
		}
		if row := 1; out.Done(row) {
			fmt.Println(out.Order())
		}
		if err := out.Close(); err != nil {
			fmt.Println(err)
		}
	}
	text, _ := os.ReadFile(path)
	fmt.Print(string(text))
	// Output:
	// done: 0
	// done: 1
	// <nil>
	// {"row":1,"answer":"answer 1","model":"practice","attempts":1,"usage":{"input_tokens":0,"output_tokens":0},"hash":"17ac00b51af217b1"}
	// {"row":2,"answer":"answer 2","model":"practice","attempts":1,"usage":{"input_tokens":0,"output_tokens":0},"hash":"4dc95092d2b7ff10"}
}
