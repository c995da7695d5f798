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
		"code": `check "code": language must be one of go, json, sql, got "python": ` +
			`the program does not import _ "llmcall/validate/code/python" (llmcall/validate/standard imports all)`,
		"code:javascript": `import _ "llmcall/validate/code/javascript"`,
		"code:jsx":        `import _ "llmcall/validate/code/javascript"`,
		"code:typescript": `import _ "llmcall/validate/code/javascript"`,
		"code:tsx":        `import _ "llmcall/validate/code/javascript"`,
		"code:yaml":       `import _ "llmcall/validate/code/yaml"`,
		"code:rust":       `check "code": language must be one of go, json, sql, got "rust"`,
		"code:sql": `check "code": language must be one of go, json, sql, got "sql": the program imports no grammar of SQL: ` +
			`import _ "llmcall/validate/sql/postgres" or _ "llmcall/validate/sql/mysql"`,
		"sql:postgres": `check "sql": dialect must be a dialect whose package the program imports, got "postgres": ` +
			`the program does not import _ "llmcall/validate/sql/postgres" (llmcall/validate/standard imports all)`,
		"sql:mysql":                       `import _ "llmcall/validate/sql/mysql"`,
		"sql":                             `got nothing, which needs both grammars: the program does not import _ "llmcall/validate/sql/mysql" (llmcall/validate/standard imports all)`,
		"sql_safe":                        `got nothing, which needs both grammars: the program does not import _ "llmcall/validate/sql/mysql" (llmcall/validate/standard imports all)`,
		`sql_safe:{"dialect":"postgres"}`: `import _ "llmcall/validate/sql/postgres"`,
		"sql:oracle":                      `dialect must be one of postgres, mysql, got "oracle"`,
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
