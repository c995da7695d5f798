// Package sqlparse parses SQL with the grammars of two servers, and returns the kinds of
// its statements. It does not link the grammars: packages sql/postgres and sql/mysql
// register them.
package sqlparse

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Dialect is a server's grammar.
type Dialect string

// The dialects.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql"
)

// Title returns the dialect's name for people.
func (d Dialect) Title() string {
	if d == MySQL {
		return "MySQL"
	}
	return "PostgreSQL"
}

// Package returns the path of the package that registers the dialect's grammar.
func (d Dialect) Package() string { return "llmcall/validate/sql/" + string(d) }

// Parser returns the statements of a text. The error is a *[SyntaxError], or
// ctx's own.
type Parser func(ctx context.Context, text string) ([]Statement, error)

var registered struct {
	sync.RWMutex
	parsers map[Dialect]Parser
}

// Register makes a dialect's grammar known. Packages call it in an init function.
func Register(d Dialect, p Parser) {
	registered.Lock()
	defer registered.Unlock()
	if registered.parsers == nil {
		registered.parsers = map[Dialect]Parser{}
	}
	registered.parsers[d] = p
}

func parserOf(d Dialect) Parser {
	registered.RLock()
	defer registered.RUnlock()
	return registered.parsers[d]
}

// Linked reports whether the program imports the dialect's grammar.
func (d Dialect) Linked() bool { return parserOf(d) != nil }

// MaxLength is the longest text that is parsed, in bytes. The parsers need time
// and stack that grow with how deep an expression is nested.
const MaxLength = 32 << 10

// Statement is a statement, or one inside another (in WITH or EXPLAIN).
type Statement struct {
	Kind   string // "select", "insert", "create" and so on
	Offset int    // of its first byte
	Inner  bool   // part of the statement before it
}

// SyntaxError is why a text can't be parsed.
type SyntaxError struct {
	Offset  int // of the byte where the parser stopped
	Message string
}

// Error returns the parser's message.
func (e *SyntaxError) Error() string { return e.Message }

// Parse returns the statements of a text; none if it has only white space and comments.
// The error is a *[SyntaxError], that of ctx if it ends while another text is being
// parsed, or says that the grammar is not linked.
func Parse(ctx context.Context, dialect Dialect, text string) (statements []Statement, err error) {
	if at := strings.IndexByte(text, 0); at >= 0 {
		// For PostgreSQL's parser a NUL is the end of the text.
		return nil, &SyntaxError{at, "there is a NUL character"}
	}
	if !utf8.ValidString(text) {
		return nil, &SyntaxError{strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError }), "the text is not valid UTF-8"}
	}
	if len(text) > MaxLength {
		return nil, &SyntaxError{MaxLength, fmt.Sprintf("the SQL is longer than %d bytes", MaxLength)}
	}
	defer func() {
		if p := recover(); p != nil {
			statements, err = nil, &SyntaxError{0, fmt.Sprintf("the SQL can't be parsed (%v)", p)}
		}
	}()
	p := parserOf(dialect)
	if p == nil {
		return nil, fmt.Errorf("the grammar of %s needs the import of %s", dialect.Title(), dialect.Package())
	}
	return p(ctx, text)
}

// Skip returns the offset of what follows white space, semicolons and comments.
func Skip(text string, at int) int {
	for at < len(text) {
		rest := text[at:]
		switch trimmed := strings.TrimLeft(rest, "; \t\r\n\f\v"); {
		case len(trimmed) < len(rest):
			at += len(rest) - len(trimmed)
		case strings.HasPrefix(rest, "--") || rest[0] == '#':
			line := strings.IndexByte(rest, '\n')
			if line < 0 {
				return at
			}
			at += line
		case strings.HasPrefix(rest, "/*") && !strings.HasPrefix(rest, "/*!"):
			end := strings.Index(rest, "*/")
			if end < 0 {
				return at
			}
			at += end + 2
		default:
			return at
		}
	}
	return at
}

// KindOf returns the kind of a statement from a parser's name for it: "create" for
// "CreateTableStmt", "vacuum" for "VacuumStmt".
func KindOf(name string) string {
	if kind := kinds[name]; kind != "" {
		return kind
	}
	words := strings.Fields(spaced(strings.TrimSuffix(name, "Stmt")))
	if len(words) == 0 {
		return name
	}
	switch first := strings.ToLower(words[0]); first {
	case "create", "alter", "drop", "truncate", "grant", "revoke", "show", "set":
		return first
	case "rename":
		return "alter"
	}
	return strings.ToLower(strings.Join(words, " "))
}

// spaced puts a space before each capital letter.
func spaced(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// kinds are the statements whose parsers' names don't begin with their kind.
var kinds = map[string]string{
	"SelectStmt": "select", "SetOprStmt": "select",
	"VariableShowStmt": "show", "VariableSetStmt": "set", "ExplainForStmt": "explain",
	"IndexStmt": "create", "ViewStmt": "create", "RuleStmt": "create", "DefineStmt": "create", "CompositeTypeStmt": "create",
	"DropdbStmt": "drop", "CreatedbStmt": "create", "GrantRoleStmt": "grant", "RevokeRoleStmt": "revoke",
	"TransactionStmt": "transaction", "BeginStmt": "transaction", "CommitStmt": "transaction", "RollbackStmt": "transaction",
	"SavepointStmt": "transaction", "ReleaseSavepointStmt": "transaction",
}
