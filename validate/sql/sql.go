// Package sql has two checks of the SQL in an answer, by the grammars of PostgreSQL
// and MySQL: "sql" ([New]), that each statement can be parsed, and "sql_safe" ([Safe]),
// that each is of an allowed kind. An import of the package also makes their names
// known to [validate.Build] and [validate.Parse].
//
// The package does not link a grammar. A program imports those that it needs:
//
//	import (
//		_ "llmcall/validate/sql/mysql"
//		_ "llmcall/validate/sql/postgres"
//	)
//
// [llmcall/validate/standard] imports both.
package sql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate"
	"llmcall/validate/internal/sqlparse"
)

// Dialect is the SQL of a server. The zero value is [Any].
type Dialect string

// The dialects.
const (
	// Any is PostgreSQL or MySQL for [New], and PostgreSQL and MySQL for [Safe]. It
	// needs both grammars.
	Any      Dialect = ""
	Postgres Dialect = "postgres" // PostgreSQL
	MySQL    Dialect = "mysql"    // MySQL
)

// Kinds are the kinds of statements that [Safe] can allow. "select" is a query, also
// with WITH, VALUES or TABLE. "select_into" is a query that writes its rows to a table,
// a file or a variable, and "select_for_update" one that locks them. "transaction" is
// BEGIN, COMMIT, ROLLBACK and savepoints. Any other statement (COPY, DO, LOAD DATA,
// PREPARE, …) can't be allowed. The slice must not be changed.
var Kinds = []string{
	"alter", "call", "create", "delete", "drop", "explain", "grant", "insert", "merge", "replace", "revoke",
	"select", "select_for_update", "select_into", "set", "show", "transaction", "truncate", "update",
}

// MaxBytes is the length in bytes of the longest block of SQL that is parsed. A longer
// one is a complaint.
const MaxBytes = sqlparse.MaxLength

var labels = []string{"sql", "postgresql", "postgres", "psql", "pgsql", "plpgsql", "mysql", "mariadb", "sqlite", "tsql", "ansi-sql"}

func init() {
	dialect := func(none string) validate.Param {
		return validate.Param{Name: "dialect", Type: "string", Default: none, Meaning: "whose SQL it is: postgres or mysql"}
	}
	validate.MustRegister(validate.Definition{
		Info: validate.Info{
			Name: "sql", Example: "sql:postgres",
			Summary: "the answer, or each of its SQL blocks, is SQL that can be parsed",
			Params:  []validate.Param{dialect("either of them")},
			Main:    "the dialect",
		},
		Build: func(p validate.Params) (validate.Strategy, error) {
			d, err := p.Optional("dialect")
			if err != nil {
				return nil, err
			}
			return New(Dialect(d))
		},
		FromMain: func(text string) (map[string]any, error) {
			return map[string]any{"dialect": strings.TrimSpace(text)}, nil
		},
	})
	validate.MustRegister(validate.Definition{
		Info: validate.Info{
			Name: "sql_safe", Example: "sql_safe:select, explain",
			Summary: "the answer, or each of its SQL blocks, is SQL of allowed kinds only",
			Params: []validate.Param{
				{Name: "allowed", Type: "string or list of strings", Default: "select", Meaning: "the kinds of statements: " + strings.Join(Kinds, ", ")},
				dialect("it must be safe in both"),
			},
			Main: "the allowed kinds, with commas between them",
		},
		Build: func(p validate.Params) (validate.Strategy, error) {
			var allowed []string
			if p.Value("allowed") != nil {
				var err error
				if allowed, err = p.Texts("allowed"); err != nil {
					return nil, err
				}
				if len(allowed) == 0 {
					return nil, p.Bad("allowed", "an empty list", "at least one kind")
				}
			}
			d, err := p.Optional("dialect")
			if err != nil {
				return nil, err
			}
			return Safe(Dialect(d), allowed...)
		},
		FromMain: func(text string) (map[string]any, error) {
			var allowed []string
			for _, kind := range strings.Split(text, ",") {
				allowed = append(allowed, strings.TrimSpace(kind))
			}
			return map[string]any{"allowed": allowed}, nil
		},
	})
}

// New returns the check "sql". It passes an answer whose SQL can be parsed: each fenced
// block that is labelled sql, or with the name of a server; if there is none, each
// block without a label; if there is none of these either, each block; and in an
// answer without blocks, the whole answer. There must be at least one statement. With
// [Any], a block may be of either dialect.
//
// A block longer than [MaxBytes] is a complaint. The error is a
// *[validate.ParamError]: the dialect is unknown, or its grammar is not imported,
// which the error then names.
func New(dialect Dialect) (validate.Strategy, error) {
	if err := usable("sql", dialect); err != nil {
		return nil, err
	}
	return syntax{dialect}, nil
}

// Safe returns the check "sql_safe". It passes an answer whose SQL (see [New]) can be
// parsed and has at least one statement, all of the allowed [Kinds]. Default: select.
// What can't be parsed is never safe. With [Any], it must be safe in both dialects,
// since a text can be harmless to one server and not to the other.
//
// A statement inside another must be allowed too, such as DELETE in
// WITH x AS (DELETE …) SELECT, or the statement that EXPLAIN explains. Only a query or
// SHOW inside an allowed statement is always accepted. An executable comment of MySQL
// (/*! … */) is refused unless the dialect is [Postgres], even inside a string.
//
// The check can't see what functions do: a query can call one that writes. It assumes
// the server's default settings (standard_conforming_strings, sql_mode). Therefore also
// give the connection a role that can only read.
//
// The error is a *[validate.ParamError]: the dialect, as in [New], or a kind that is
// not in [Kinds].
func Safe(dialect Dialect, allowed ...string) (validate.Strategy, error) {
	if err := usable("sql_safe", dialect); err != nil {
		return nil, err
	}
	if len(allowed) == 0 {
		allowed = []string{"select"}
	}
	for i, kind := range allowed {
		if !slices.Contains(Kinds, kind) {
			return nil, &validate.ParamError{
				Check: "sql_safe", Param: fmt.Sprintf("allowed[%d]", i), Got: nearest.Shown(kind, Kinds), Takes: "one of " + nearest.List(kind, Kinds),
			}
		}
	}
	return safe{dialect, slices.Clone(allowed)}, nil
}

// usable returns an error for a dialect that is unknown, or whose grammar the
// program does not import.
func usable(check string, d Dialect) error {
	if d != Any && d != Postgres && d != MySQL {
		return &validate.ParamError{Check: check, Param: "dialect", Got: nearest.Shown(d, []Dialect{Postgres, MySQL}), Takes: "one of postgres, mysql"}
	}
	for _, grammar := range d.grammars() {
		if grammar.Linked() {
			continue
		}
		got := strconv.Quote(string(d))
		if d == Any {
			got = "nothing, which needs both grammars"
		}
		return &validate.ParamError{
			Check: check, Param: "dialect", Got: got, Takes: "a dialect whose package the program imports",
			Err: fmt.Errorf("the program does not import _ %q (llmcall/validate/standard imports all)", grammar.Package()),
		}
	}
	return nil
}

// grammars returns the grammars that a text is parsed with, the faster one first.
func (d Dialect) grammars() []sqlparse.Dialect {
	if d == Any {
		return []sqlparse.Dialect{sqlparse.MySQL, sqlparse.Postgres}
	}
	return []sqlparse.Dialect{sqlparse.Dialect(d)}
}

type syntax struct{ dialect Dialect }

func (syntax) Name() string { return "sql" }

func (c syntax) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	return each(ctx, a, func(ctx context.Context, b validate.Block, complain func(validate.Complaint)) error {
		var worst *sqlparse.SyntaxError // of the grammar that came farthest
		var title []string
		for _, grammar := range c.dialect.grammars() {
			statements, err := sqlparse.Parse(ctx, grammar, b.Code)
			if err == nil {
				if len(statements) == 0 {
					complain(nothing(b))
				}
				return nil
			}
			wrong, ok := errors.AsType[*sqlparse.SyntaxError](err)
			if !ok {
				return err
			}
			if worst == nil || wrong.Offset >= worst.Offset {
				worst = wrong
			}
			title = append(title, grammar.Title())
		}
		complain(unparsed(b, worst, strings.Join(title, " or ")))
		return nil
	})
}

type safe struct {
	dialect Dialect
	allowed []string
}

func (safe) Name() string { return "sql_safe" }

func (c safe) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	return each(ctx, a, func(ctx context.Context, b validate.Block, complain func(validate.Complaint)) error {
		if c.dialect != Postgres {
			for _, mark := range []string{"/*!", "/*M!", "/*T!"} {
				if at := strings.Index(b.Code, mark); at >= 0 {
					complain(place(b, at, "there is a comment that MySQL executes: "+mark, phrase.LeaveComment.Of()))
					return nil
				}
			}
		}
		for _, grammar := range c.dialect.grammars() {
			statements, err := sqlparse.Parse(ctx, grammar, b.Code)
			if err != nil {
				wrong, ok := errors.AsType[*sqlparse.SyntaxError](err)
				if !ok {
					return err
				}
				bad := unparsed(b, wrong, grammar.Title())
				if c.dialect == Any {
					bad.Suggestion = phrase.SQLOfBoth.Of()
				}
				complain(bad)
				return nil
			}
			if len(statements) == 0 {
				complain(nothing(b))
				return nil
			}
			refused := false
			for _, s := range statements {
				if slices.Contains(c.allowed, s.Kind) || s.Inner && (s.Kind == "select" || s.Kind == "show") {
					continue
				}
				refused = true
				problem := "a statement of the kind " + s.Kind + " is not allowed"
				if s.Inner {
					problem += ", not even inside another"
				}
				complain(place(b, s.Offset, problem, phrase.Statements.Of(strings.Join(c.allowed, ", "))))
			}
			if refused {
				return nil // the other grammar would say the same again
			}
		}
		return nil
	})
}

// each calls look with each block of SQL in an answer.
func each(ctx context.Context, a *validate.Answer, look func(context.Context, validate.Block, func(validate.Complaint)) error) (validate.Verdict, error) {
	var complaints []validate.Complaint
	left := 0
	for _, b := range validate.BlocksOf(a.Text, labels...) {
		if err := ctx.Err(); err != nil {
			return validate.Verdict{}, err
		}
		if !b.Closed {
			line, column := b.Position(strings.Count(b.Code, "\n")+1, 1)
			complaints = append(complaints, validate.Complaint{
				Problem: "the Markdown block is not closed: the text ends before it is complete",
				Line:    line, Column: column, Suggestion: phrase.WholeSQL.Of(),
			})
			continue
		}
		err := look(ctx, b, func(c validate.Complaint) {
			if len(complaints) == say.MaxListed {
				left++
				return
			}
			complaints = append(complaints, c)
		})
		if err != nil {
			return validate.Verdict{}, err
		}
	}
	if left > 0 {
		complaints = append(complaints, validate.Complaint{Problem: fmt.Sprintf("and %d more like these", left)})
	}
	return validate.Verdict{Complaints: complaints}, nil
}

func place(b validate.Block, offset int, problem, suggestion string) validate.Complaint {
	line, column := b.Position(validate.Position(b.Code, offset))
	return validate.Complaint{Problem: problem, Line: line, Column: column, Suggestion: suggestion}
}

func nothing(b validate.Block) validate.Complaint {
	return place(b, 0, "there is no SQL statement", phrase.SQL.Of())
}

func unparsed(b validate.Block, wrong *sqlparse.SyntaxError, title string) validate.Complaint {
	return place(b, wrong.Offset, "this is not SQL that "+title+" can parse: "+wrong.Message,
		phrase.SQLStatements.Of(title))
}
