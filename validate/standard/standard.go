// Package standard makes the names of all checks known to validate.Build and
// validate.Parse. A program imports it for that alone:
//
//	import _ "llmcall/validate/standard"
//
// One that needs some of them imports their packages instead, and compiles no
// parser that it does not use.
package standard

import (
	_ "llmcall/validate/code"       // code, python
	_ "llmcall/validate/expression" // expression
	_ "llmcall/validate/judge"      // agent_task, ai_contradiction_check
	_ "llmcall/validate/openapi"    // openapi_spec
	_ "llmcall/validate/sql"        // sql, sql_safe
)
