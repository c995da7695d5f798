// Package sql adds SQL to the check "code" of package [llmcall/validate/code]. It does
// not link a grammar; a program imports it with one or both:
//
//	import (
//		_ "llmcall/validate/code/sql"
//		_ "llmcall/validate/sql/mysql"
//		_ "llmcall/validate/sql/postgres"
//	)
//
// Code is SQL if one of the imported grammars can parse it. A block longer than 32 kB
// is a complaint. For a check of one dialect, or of the kinds of statements, see
// [llmcall/validate/sql].
package sql

import (
	"context"
	"errors"
	"fmt"

	"llmcall/validate"
	"llmcall/validate/code"
	"llmcall/validate/internal/sqlparse"
)

func init() {
	code.MustRegister(code.Language{
		Name: "sql", Title: "SQL", Labels: []string{"sql", "postgresql", "postgres", "psql", "mysql", "mariadb", "sqlite"},
		Parse: parse, Comments: []string{"--"}, Ready: ready,
	})
}

// linked returns the dialects whose grammars the program imports, the faster one
// first.
func linked() []sqlparse.Dialect {
	var dialects []sqlparse.Dialect
	for _, d := range []sqlparse.Dialect{sqlparse.MySQL, sqlparse.Postgres} {
		if d.Linked() {
			dialects = append(dialects, d)
		}
	}
	return dialects
}

func ready() error {
	if len(linked()) > 0 {
		return nil
	}
	return fmt.Errorf("the program imports no grammar of SQL: import _ %q or _ %q", sqlparse.Postgres.Package(), sqlparse.MySQL.Package())
}

// parse accepts what one of the linked grammars can parse.
func parse(ctx context.Context, source string) ([]code.Problem, error) {
	var worst *sqlparse.SyntaxError // of the grammar that came farthest
	for _, dialect := range linked() {
		_, err := sqlparse.Parse(ctx, dialect, source)
		if err == nil {
			return nil, nil
		}
		wrong, ok := errors.AsType[*sqlparse.SyntaxError](err)
		if !ok {
			return nil, err
		}
		if worst == nil || wrong.Offset >= worst.Offset {
			worst = wrong
		}
	}
	line, column := validate.Position(source, worst.Offset)
	return []code.Problem{{Text: worst.Message, Line: line, Column: column}}, nil
}
