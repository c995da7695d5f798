package expression_test

import (
	"context"
	"fmt"

	"llmcall/validate"
	"llmcall/validate/expression"
)

func ExampleNew() {
	check, err := expression.New(expression.Config{
		Expression: "answer.items.all(i, i.price >= 0)",
		Problem:    "a price is negative",
		Suggestion: "give each item a price of 0 or more",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := &validate.Answer{Text: `{"items": [{"price": 3.5}, {"price": -1}]}`}
	report := validate.Run(context.Background(), []validate.Strategy{check}, answer, 0)
	fmt.Println(report.Complaints[0])
	// Output:
	// expression: a price is negative (give each item a price of 0 or more)
}
