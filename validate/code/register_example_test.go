package code_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"

	"llmcall/validate"
	"llmcall/validate/code"
)

// A package for a language calls MustRegister in its init.
func ExampleMustRegister() {
	code.MustRegister(code.Language{
		Name: "csv", Title: "CSV", Labels: []string{"csv"},
		Parse: func(_ context.Context, source string) ([]code.Problem, error) {
			_, err := csv.NewReader(strings.NewReader(source)).ReadAll()
			if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
				return []code.Problem{{Text: wrong.Err.Error(), Line: wrong.Line, Column: wrong.Column}}, nil
			}
			return nil, err
		},
	})
	check := validate.Must(validate.Parse("code:csv"))
	report := validate.Run(context.Background(), []validate.Strategy{check}, &validate.Answer{Text: "a,b\n1,2,3\n"}, 0)
	fmt.Println(report.Complaints[0])
	// Output:
	// code: line 2, column 1: this is not valid CSV: wrong number of fields (answer with CSV code alone, or put it into a Markdown block labelled csv)
}
