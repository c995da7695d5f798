// Package postgres adds PostgreSQL's grammar to the checks of package
// [llmcall/validate/sql], which it imports too. A program imports it for this effect:
//
//	import _ "llmcall/validate/sql/postgres"
//
// The parser is PostgreSQL's own, compiled to WebAssembly; it does not need a C
// compiler. The first use on a machine compiles it to machine code, which takes one or
// two seconds and 300 MB. The result is kept in llmcall/wazero in the user's cache
// directory ([os.UserCacheDir]), if only the user can write there.
package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"llmcall/validate/internal/pgquery"
	"llmcall/validate/internal/sqlparse"
	_ "llmcall/validate/sql" // the checks
)

func init() { sqlparse.Register(sqlparse.Postgres, parse) }

func parse(ctx context.Context, text string) ([]sqlparse.Statement, error) {
	if deep, at := depth(text); deep > maxDepth {
		return nil, &sqlparse.SyntaxError{
			Offset: at, Message: fmt.Sprintf("the SQL is nested too deep, or has a chain of more than %d operators", maxDepth),
		}
	}
	tree, err := pgquery.Parse(ctx, text)
	if bad, ok := errors.AsType[*pgquery.Error](err); ok {
		wrong := &sqlparse.SyntaxError{Message: bad.Message}
		if bad.Position > 0 {
			wrong.Offset = byteOffset(text, bad.Position-1)
		}
		return nil, wrong
	}
	if err != nil {
		return nil, err
	}
	var result struct {
		Stmts []struct {
			Stmt     map[string]any `json:"stmt"`
			Location int            `json:"stmt_location"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal(tree, &result); err != nil {
		return nil, &sqlparse.SyntaxError{Message: fmt.Sprintf("the SQL can't be parsed (%v)", err)}
	}
	var statements []sqlparse.Statement
	for _, s := range result.Stmts {
		outer := len(statements)
		start := sqlparse.Skip(text, s.Location)
		statements = append(statements, nodes(s.Stmt, start)...)
		if outer < len(statements) {
			statements[outer].Offset = start
		}
		for i := outer + 1; i < len(statements); i++ {
			statements[i].Inner = true
		}
	}
	return statements, nil
}

// nodes returns the statements in a part of PostgreSQL's syntax tree, the outer
// ones first. A node is an object with its type's name as the only key.
func nodes(node any, offset int) []sqlparse.Statement {
	var found []sqlparse.Statement
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			found = append(found, nodes(item, offset)...)
		}
	case map[string]any:
		names := make([]string, 0, len(node))
		for name := range node {
			names = append(names, name)
		}
		slices.Sort(names) // so that complaints are the same at each call
		for _, name := range names {
			fields, isNode := node[name].(map[string]any)
			at := offset
			if isNode && strings.HasSuffix(name, "Stmt") {
				at = place(fields, offset)
				found = append(found, sqlparse.Statement{Kind: sqlparse.KindOf(revoked(name, fields)), Offset: at})
			}
			switch name {
			case "intoClause":
				found = append(found, sqlparse.Statement{Kind: "select_into", Offset: offset})
			case "lockingClause":
				found = append(found, sqlparse.Statement{Kind: "select_for_update", Offset: offset})
			}
			found = append(found, nodes(node[name], at)...)
		}
	}
	return found
}

// revoked returns "RevokeStmt" for a REVOKE, which has the type of a GRANT.
func revoked(name string, fields map[string]any) string {
	if granted, _ := fields["is_grant"].(bool); !granted && (name == "GrantStmt" || name == "GrantRoleStmt") {
		return "RevokeStmt"
	}
	return name
}

// place returns the offset of the table that a statement changes, the closest to a
// position that the tree has for a statement inside another.
func place(fields map[string]any, outer int) int {
	relation, _ := fields["relation"].(map[string]any)
	if at, ok := relation["location"].(float64); ok {
		return max(outer, int(at))
	}
	return outer
}

// byteOffset returns the offset of the code point with this number.
func byteOffset(text string, n int) int {
	for at := range text {
		if n == 0 {
			return at
		}
		n--
	}
	return len(text)
}
