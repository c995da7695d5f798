package code_test

import (
	"context"
	"fmt"

	"llmcall/validate"
	"llmcall/validate/code"
)

// Python needs import _ "llmcall/validate/code/python"; Go and JSON need nothing.
func ExampleNew() {
	check, err := code.New("python")
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := &validate.Answer{Text: "Here it is:\n\n```python\ndef f(x)\n    return x\n```\n"}
	report := validate.Run(context.Background(), []validate.Strategy{check}, answer, 0)
	for _, complaint := range report.Complaints {
		fmt.Println(complaint)
	}
	// Output:
	// code: line 4, column 9: this is not valid Python: expected ':' (answer with Python code that can be parsed)
}
