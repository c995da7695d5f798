package sql_test

import (
	"context"
	"fmt"

	"llmcall/validate"
	"llmcall/validate/sql"
	_ "llmcall/validate/sql/mysql" // MySQL's grammar
)

// A text is safe if it holds queries alone. A comment or a string that looks like
// a statement is none.
func ExampleSafe() {
	check, err := sql.Safe(sql.MySQL)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range []string{
		"SELECT name FROM city -- DROP TABLE city",
		"SELECT name FROM city; DROP TABLE city",
	} {
		report := validate.Run(context.Background(), []validate.Strategy{check}, &validate.Answer{Text: text}, 0)
		fmt.Println(len(report.Complaints) == 0, report.Complaints)
	}
	// Output:
	// true []
	// false [sql_safe: line 1, column 24: a statement of the kind drop is not allowed (use only statements of the allowed kinds: select)]
}

func ExampleNew() {
	check := validate.Must(sql.New(sql.MySQL))
	report := validate.Run(context.Background(), []validate.Strategy{check}, &validate.Answer{Text: "SELECT name FROM"}, 0)
	fmt.Println(report.Complaints[0])
	// Output:
	// sql: line 1, column 17: this is not SQL that MySQL can parse: syntax error at the end (answer with valid MySQL statements alone, or put them into a Markdown block labelled sql)
}
