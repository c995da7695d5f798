package sql_test

import (
	"errors"
	"strings"
	"testing"

	"llmcall/validate"
	"llmcall/validate/code"
	_ "llmcall/validate/code/sql"
	"llmcall/validate/sql"
)

// This test's program imports the checks of SQL and no grammar, and no language
// but SQL: what is missing is named with the import that adds it.
func TestWhatIsNotImportedIsNamed(t *testing.T) {
	for spec, want := range map[string]string{
		"code": `check "code": language is "python", and the program does not import _ "llmcall/validate/code/python" (llmcall/validate/standard imports all); ` +
			`it takes one of go, json, sql`,
		"code:javascript": `import _ "llmcall/validate/code/javascript"`,
		"code:jsx":        `import _ "llmcall/validate/code/javascript"`,
		"code:typescript": `import _ "llmcall/validate/code/javascript"`,
		"code:tsx":        `import _ "llmcall/validate/code/javascript"`,
		"code:yaml":       `import _ "llmcall/validate/code/yaml"`,
		"code:rust":       `check "code": language is "rust"; it takes one of go, json, sql`,
		"code:sql": `check "code": language is "sql": the program imports no grammar of SQL: ` +
			`import _ "llmcall/validate/sql/postgres" or _ "llmcall/validate/sql/mysql"`,
		"sql:postgres": `check "sql": dialect is "postgres", and the program does not import _ "llmcall/validate/sql/postgres" ` +
			`(llmcall/validate/standard imports all)`,
		"sql:mysql":                       `import _ "llmcall/validate/sql/mysql"`,
		"sql":                             `check "sql": dialect is not given, so that both grammars are needed, and the program does not import _ "llmcall/validate/sql/mysql"`,
		"sql_safe":                        `check "sql_safe": dialect is not given`,
		`sql_safe:{"dialect":"postgres"}`: `import _ "llmcall/validate/sql/postgres"`,
		"sql:oracle":                      `it takes postgres or mysql`,
	} {
		_, err := validate.Parse(spec)
		if _, ok := errors.AsType[*validate.ParamError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", spec, err, want)
		}
	}
	if _, err := validate.Parse("python"); err == nil || !strings.Contains(err.Error(), "llmcall/validate/code/python") {
		t.Error(err)
	}
	if _, err := code.New("python"); err == nil {
		t.Error("code.New knows python")
	}
	if _, err := sql.New(sql.MySQL); err == nil {
		t.Error("sql.New has a grammar")
	}
	if got := strings.Join(code.Languages(), " "); got != "go json sql" {
		t.Errorf("the languages are %s", got)
	}
}
