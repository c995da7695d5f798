package validate_test

import (
	"context"
	"fmt"

	"llmcall/validate"
)

func ExampleRun() {
	checks := []validate.Strategy{
		validate.Must(validate.JSONSchema([]byte(`{"type": "object", "required": ["city"], "properties": {"people": {"type": "integer"}}}`))),
		validate.Func("city", func(_ context.Context, a *validate.Answer) error {
			value, _, err := a.JSON()
			if err != nil {
				return err
			}
			if object, ok := value.(map[string]any); ok && object["city"] == "Bonn" {
				return validate.Fail("Bonn is not the capital any more", "name today's capital")
			}
			return nil
		}),
	}
	answer := &validate.Answer{Text: `{"city": "Bonn", "people": "330579"}`}
	report := validate.Run(context.Background(), checks, answer, 0)
	for _, complaint := range report.Complaints {
		fmt.Println(complaint)
	}
	// Output:
	// schema: at /people: the string "330579" stands where an integer is wanted (write it as a number, without quotes)
	// city: Bonn is not the capital any more (name today's capital)
}

func ExampleParse() {
	check, err := validate.Parse("length:3..200")
	if err != nil {
		fmt.Println(err)
		return
	}
	report := validate.Run(context.Background(), []validate.Strategy{check}, &validate.Answer{Text: "no"}, 0)
	fmt.Println(report.Complaints[0])
	_, err = validate.Parse("length:200")
	fmt.Println(err)
	// Output:
	// length: the text is too short: 2 characters, where 3 is the least (make it at least 3 characters long)
	// check "length": range is "200"; it takes 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}
}
