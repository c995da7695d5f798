package validate_test

import (
	"context"
	"fmt"
	"strings"

	"llmcall/validate"
)

// polite is a check of one's own. The model is told what it complains of, and what to do.
var polite = validate.Func("polite", func(_ context.Context, a *validate.Answer) error {
	if !strings.Contains(strings.ToLower(a.Text), "please") {
		return validate.Fail("the answer is not polite", "say please")
	}
	return nil
})

func ExampleFunc() {
	fmt.Println(complaints(polite, "Sit down."))
	fmt.Println(complaints(polite, "Please sit down."))
	// Output:
	// [polite: the answer is not polite (say please)]
	// []
}

func complaints(check validate.Strategy, text string) []validate.Complaint {
	return validate.Run(context.Background(), []validate.Strategy{check}, &validate.Answer{Text: text}, 0).Complaints
}

// A check that is registered can be named in configuration files and by the command.
func ExampleRegister() {
	err := validate.Register(validate.Definition{
		Info:  validate.Info{Name: "polite", Summary: "the answer says please", Example: "polite"},
		Build: func(validate.Params) (validate.Strategy, error) { return polite, nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	check, err := validate.Parse("polite")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(complaints(check, "Sit down.")) // [polite: the answer is not polite (say please)]
}
