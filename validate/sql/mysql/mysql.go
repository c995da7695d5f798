// Package mysql adds MySQL's grammar to the checks of package [llmcall/validate/sql],
// which it imports too. A program imports it for this effect:
//
//	import _ "llmcall/validate/sql/mysql"
//
// The parser is that of TiDB (github.com/pingcap/tidb/pkg/parser).
package mysql

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver" // the values of literals

	"llmcall/internal/say"
	"llmcall/validate/internal/sqlparse"
	_ "llmcall/validate/sql" // the checks
)

func init() { sqlparse.Register(sqlparse.MySQL, parse) }

// parsers has parsers, each of which only one goroutine may use at a time.
var parsers = sync.Pool{New: func() any { return parser.New() }}

func parse(_ context.Context, text string) ([]sqlparse.Statement, error) {
	p := parsers.Get().(*parser.Parser)
	trees, _, err := p.ParseSQL(text)
	if err != nil {
		parsers.Put(p)
		return nil, syntaxError(text, err)
	}
	var statements []sqlparse.Statement
	at := 0
	for _, tree := range trees {
		v := &visitor{offset: sqlparse.Skip(text, at)}
		tree.Accept(v)
		for i, s := range v.found {
			s.Inner = i > 0
			statements = append(statements, s)
		}
		at += len(tree.Text())
	}
	parsers.Put(p) // not if it panicked
	return statements, nil
}

// visitor collects the statements of a tree, the outer ones first.
type visitor struct {
	offset int
	found  []sqlparse.Statement
}

// Enter is called before a node's parts are visited.
func (v *visitor) Enter(n ast.Node) (ast.Node, bool) {
	add := func(kind string) { v.found = append(v.found, sqlparse.Statement{Kind: kind, Offset: v.offset}) }
	switch n := n.(type) {
	case *ast.InsertStmt:
		if n.IsReplace {
			add("replace")
		} else {
			add("insert")
		}
	case *ast.SelectStmt:
		add("select")
		if n.SelectIntoOpt != nil {
			add("select_into")
		}
		if n.LockInfo != nil {
			add("select_for_update")
		}
	case ast.StmtNode:
		add(sqlparse.KindOf(reflect.TypeOf(n).Elem().Name()))
	}
	return n, false
}

// Leave is called after a node's parts were visited.
func (v *visitor) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// syntaxError reads the place out of the parser's message, which ends with the
// text from the place on, cut after 2048 bytes.
func syntaxError(text string, err error) *sqlparse.SyntaxError {
	message := err.Error()
	const longest = 2048
	var line, column int
	if _, scanned := fmt.Sscanf(message, "line %d column %d near ", &line, &column); scanned != nil {
		return &sqlparse.SyntaxError{Message: message}
	}
	_, near, _ := strings.Cut(message, ` near "`)
	for at := max(0, len(text)-longest); at <= len(text); at++ {
		if strings.HasPrefix(near, text[at:]+`"`) {
			return &sqlparse.SyntaxError{Offset: at, Message: "syntax error" + nearby(text[at:])}
		}
	}
	var total int
	if i := strings.LastIndex(near, "(total length "); i >= 0 {
		if _, scanned := fmt.Sscanf(near[i:], "(total length %d)", &total); scanned == nil && total <= len(text) {
			return &sqlparse.SyntaxError{Offset: len(text) - total, Message: "syntax error" + nearby(text[len(text)-total:])}
		}
	}
	return &sqlparse.SyntaxError{Message: "syntax error"}
}

// nearby says which word a text begins with.
func nearby(rest string) string {
	words := strings.Fields(rest)
	if len(words) == 0 {
		return " at the end"
	}
	return fmt.Sprintf(" near %q", say.Short(words[0], 40))
}
