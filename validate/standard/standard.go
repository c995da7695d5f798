// Package standard makes the names of all checks known to [llmcall/validate.Build] and
// [llmcall/validate.Parse]. A program imports it for this effect:
//
//	import _ "llmcall/validate/standard"
//
// A program that needs only some of them imports their packages instead, and so links
// only the parsers that it uses.
package standard

import (
	_ "llmcall/validate/code"            // code, for Go and JSON
	_ "llmcall/validate/code/javascript" // code for JavaScript, JSX, TypeScript and TSX
	_ "llmcall/validate/code/python"     // code for Python; python
	_ "llmcall/validate/code/sql"        // code for SQL
	_ "llmcall/validate/code/yaml"       // code for YAML
	_ "llmcall/validate/ecmascript"      // patterns of schemas with a lookahead
	_ "llmcall/validate/expression"      // expression
	_ "llmcall/validate/judge"           // agent_task, ai_contradiction_check
	_ "llmcall/validate/openapi"         // openapi_spec
	_ "llmcall/validate/sql"             // sql, sql_safe
	_ "llmcall/validate/sql/mysql"       // MySQL's grammar
	_ "llmcall/validate/sql/postgres"    // PostgreSQL's grammar
)
