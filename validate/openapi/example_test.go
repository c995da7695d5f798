package openapi_test

import (
	"context"
	"fmt"

	"llmcall/validate"
	"llmcall/validate/openapi"
)

func ExampleNew() {
	answer := &validate.Answer{Text: "openapi: 3.0.3\ninfo: {title: Pets, version: \"1\"}\npaths:\n  /pets/{id}:\n    get:\n      responses: {\"200\": {description: a pet}}\n"}
	report := validate.Run(context.Background(), []validate.Strategy{openapi.New()}, answer, 0)
	for _, complaint := range report.Complaints {
		fmt.Println(complaint.Pointer, complaint.Line)
		fmt.Println(complaint.Suggestion)
	}
	// Output:
	// /paths/~1pets~1{id}/get 5
	// declare each {name} of the path as a parameter with in: path and required: true, and no others
}
