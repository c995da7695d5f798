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
	// schema: at /people: expected an integer, got the string "330579" (write it without quotes)
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
	// length: too few characters: expected at least 3, got 2 (make it at least 3 characters long)
	// check "length": range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got "200"
}

func ExampleJSONWithRepair() {
	answer := &validate.Answer{Text: "Here you are:\n{'city': 'Berlin', 'people': 3_900_000,}"}
	report := validate.Run(context.Background(), []validate.Strategy{validate.JSONWithRepair()}, answer, 0)
	fmt.Println(report.Complaints[0]) // a number is not guessed

	answer = &validate.Answer{Text: "Here you are:\n{city: 'Berlin', // the capital\n}"}
	report = validate.Run(context.Background(), []validate.Strategy{validate.JSONWithRepair()}, answer, 0)
	fmt.Println(report.Value)
	for _, repair := range report.Repaired {
		fmt.Println(repair)
	}
	// Output:
	// json: line 1, column 1: there is text before the JSON: "Here you are:" (answer with JSON alone)
	// map[city:Berlin]
	// line 1, column 1: text before the JSON: "Here you are:" left out
	// line 2, column 2: no quotes: "city" made "\"city\""
	// line 2, column 8: quotes that are none of JSON's: "'Berlin'" made "\"Berlin\""
	// line 2, column 16: a comma too many: "," left out
	// line 2, column 18: a comment: "// the capital" left out
}

func ExamplePrefix() {
	var p validate.Prefix
	for _, piece := range []string{`{"city": "Ber`, `lin", "people": 3`, `900000, "mayor": N`} {
		if err := p.Feed(piece); err != nil {
			fmt.Println("stop:", err)
			break
		}
		value, _ := p.Value()
		fmt.Println(value)
	}
	// Output:
	// map[]
	// map[city:Berlin]
	// stop: at /mayor: line 1, column 48: expected a value, got "N" (put names and strings in double quotes)
}

func ExampleFieldEquals() {
	check := validate.Must(validate.FieldEquals("people[0].home_town", "Berlin"))
	for _, text := range []string{`{"people": [{"home_town": "Bonn"}]}`, `{"people": [{"homeTown": "Berlin"}]}`} {
		report := validate.Run(context.Background(), []validate.Strategy{check}, &validate.Answer{Text: text}, 0)
		fmt.Println(report.Complaints[0])
	}
	// Output:
	// field_present: at /people/0/home_town: expected "Berlin", got the string "Bonn" (make it "Berlin")
	// field_present: at /people/0: the field "people[0].home_town" is missing: the object has no property "home_town", but has "homeTown" (write the name as "home_town", with the value "Berlin")
}
