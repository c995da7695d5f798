package rows_test

import (
	"context"
	"fmt"
	"strings"

	"llmcall/internal/rows"
	"llmcall/llm"
)

// Rows of a pipe, asked by a template.
func Example() {
	in := "id,text\na,Good morning\nb,\"Good, night\"\n"
	source, err := rows.Open(context.Background(), "-", strings.NewReader(in), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	prompt, err := rows.ParseTemplate("--prompt", "Translate: {{.text}}")
	if err != nil {
		fmt.Println(err)
		return
	}
	form := rows.Form{Prompt: prompt}
	summary, err := source.Survey(form, func(_ *rows.Row, _ *llm.Request, err error) error { return err })
	fmt.Println(summary.Rows, err)
	for row, err := range source.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		req, err := form.Request(row)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(row.Number, row.ID, req.Messages[0].Text())
	}
	// Output:
	// 2 <nil>
	// 1 a Translate: Good morning
	// 2 b Translate: Good, night
}
