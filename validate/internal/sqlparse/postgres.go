package sqlparse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wasilibs/go-pgquery/parser"
)

// turn lets one text be parsed at a time: the library compiles its WebAssembly
// module anew, which takes a second or two, for each that is parsed beside
// another.
var turn = make(chan struct{}, 1)

func parsePostgres(ctx context.Context, text string) ([]Statement, error) {
	if deep, at := depth(text); deep > maxDepth {
		return nil, &SyntaxError{at, fmt.Sprintf("the SQL is nested too deep, or has a chain of more than %d operators", maxDepth)}
	}
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-turn }()
	tree, err := parser.ParseToJSON(text)
	if err != nil {
		e := &SyntaxError{Message: err.Error()}
		if at, ok := errors.AsType[*parser.Error](err); ok && at.Cursorpos > 0 {
			e.Offset = byteOffset(text, at.Cursorpos-1)
		}
		return nil, e
	}
	var result struct {
		Stmts []struct {
			Stmt     map[string]any `json:"stmt"`
			Location int            `json:"stmt_location"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal([]byte(tree), &result); err != nil {
		return nil, &SyntaxError{0, fmt.Sprintf("the SQL can't be parsed (%v)", err)}
	}
	var statements []Statement
	for _, s := range result.Stmts {
		outer := len(statements)
		start := skip(text, s.Location)
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
func nodes(node any, offset int) []Statement {
	var found []Statement
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
				found = append(found, Statement{Kind: kindOf(revoked(name, fields)), Offset: at})
			}
			switch name {
			case "intoClause":
				found = append(found, Statement{Kind: "select_into", Offset: offset})
			case "lockingClause":
				found = append(found, Statement{Kind: "select_for_update", Offset: offset})
			}
			found = append(found, nodes(node[name], at)...)
		}
	}
	return found
}

// revoked tells GRANT from REVOKE, which have one type.
func revoked(name string, fields map[string]any) string {
	if granted, _ := fields["is_grant"].(bool); !granted && (name == "GrantStmt" || name == "GrantRoleStmt") {
		return "RevokeStmt"
	}
	return name
}

// place is the offset of the table that a statement changes, the nearest to a
// place that the tree has for a statement within another.
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
