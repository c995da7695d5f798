package sql_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"llmcall/validate"
	"llmcall/validate/sql"
	_ "llmcall/validate/sql/mysql"
	_ "llmcall/validate/sql/postgres"
)

// said returns what a check says of a text: "" if it passes.
func said(t testing.TB, s validate.Strategy, text string) string {
	t.Helper()
	v, err := s.Check(context.Background(), &validate.Answer{Text: text})
	if err != nil {
		t.Fatalf("%.100q: %v", text, err)
	}
	var lines []string
	for _, c := range v.Complaints {
		if c.Line < 1 || c.Column < 1 || c.Suggestion == "" {
			t.Errorf("%.100q: %+v has no place or no suggestion", text, c)
		}
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

func want(t *testing.T, spec, text, want string) {
	t.Helper()
	s, err := validate.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	got := said(t, s, text)
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("%s of %q: %q, want %q", spec, text, got, want)
	}
}

func TestSQLIsWhatAServerCanParse(t *testing.T) {
	for _, test := range []struct{ spec, text, complaint string }{
		{"sql", "SELECT 1", ""},
		{"sql", "select a, b from t where x = 'it''s' -- it's a comment", ""},
		{"sql", "SELECT 1; UPDATE t SET a = 1;\nINSERT INTO t VALUES (1)", ""},
		{"sql", "Here it is:\n```SQL\nSELECT `a` FROM t;\n```\nand\n```postgresql\nSELECT '{}'::jsonb;\n```", ""},
		{"sql", "~~~\nSELECT 1\n~~~", ""},
		{"sql", "I cannot help with that", `line 1, column 1: this is not SQL that MySQL or PostgreSQL can parse: syntax error at or near "I"`},
		{"sql", "it is somewhere", "line 1, column 1: this is not SQL"},
		{"sql", "SELECT FROM WHERE (((", `line 1, column 13: this is not SQL that MySQL or PostgreSQL can parse: syntax error at or near "WHERE"`},
		{"sql", "SELECT 'a", "line 1, column 8: "},
		{"sql", "", "there is no SQL statement"},
		{"sql", " \n-- nothing\n", "there is no SQL statement"},
		{"sql", "text\n\n  ```sql\r\n  SELECT é,\r\n    FROM t\r\n  ```", "line 5, column 5: "},
		{"sql", "```sql\nSELECT 1", "line 3, column 1: the Markdown block is not closed"},
		{"sql", "SELECT 1\x00; DROP TABLE x", "line 1, column 9: this is not SQL that MySQL or PostgreSQL can parse: there is a NUL character"},
		{"sql", "SELECT '\xff'", "line 1, column 9: this is not SQL that MySQL or PostgreSQL can parse: the text is not valid UTF-8"},
		{"sql", "SELECT '" + strings.Repeat("a", sql.MaxBytes) + "'", "the SQL is longer than 32768 bytes"},
		{"sql:postgres", "SELECT `a` FROM t", "PostgreSQL can parse"},
		{"sql:mysql", "SELECT `a` FROM t", ""},
		{"sql:mysql", "SELECT '{}'::jsonb", `line 1, column 12: this is not SQL that MySQL can parse: syntax error near "::jsonb"`},
		{`sql:{"dialect": "mysql"}`, "SELECT 1,\n  2 FRM (t", "line 2, column "},
		{"sql:mysql", "SELECT " + strings.Repeat("a + ", 1000) + "+ FROM t WHERE x IN (1)", "line 1, column 4010: "},
		{"sql:mysql", "SELECT a FROM t WHERE ( " + strings.Repeat("a and ", 1000), "syntax error at the end"},
	} {
		want(t, test.spec, test.text, test.complaint)
	}
}

func TestSafeSQLHasStatementsOfAllowedKindsOnly(t *testing.T) {
	for _, text := range []string{
		"SELECT is_deleted, 'backdrop', alternate, granted_at FROM t",
		"SELECT 'DROP TABLE x; DELETE FROM t' -- DROP TABLE x",
		"WITH a AS (SELECT 1) SELECT * FROM a; SELECT 2;",
		"SELECT 1 UNION SELECT 2",
		"(SELECT 1)",
		"```sql\nSELECT updated_at FROM inserts WHERE x = 'it''s'\n```",
		"SELECT a /* it's DROP TABLE x */ FROM t",
	} {
		for _, spec := range []string{"sql_safe", `sql_safe:{"dialect": "postgres"}`, `sql_safe:{"dialect": "mysql"}`} {
			want(t, spec, text, "")
		}
	}
	for _, test := range []struct{ text, complaint string }{
		{"UPDATE t SET a = 1", "line 1, column 1: a statement of the kind update is not allowed (use only statements of the allowed kinds: select)"},
		{"DROP TABLE x", "kind drop"},
		{"delete from t", "kind delete"},
		{"TRUNCATE TABLE t", "kind truncate"},
		{"ALTER TABLE t ADD c int", "kind alter"},
		{"ALTER TABLE t RENAME TO u", "kind alter"},
		{"GRANT SELECT ON t TO u", "kind grant"},
		{"REVOKE SELECT ON t FROM u", "kind revoke"},
		{"INSERT INTO t VALUES (1)", "kind insert"},
		{"CREATE TABLE t (a int)", "kind create"},
		{"CREATE INDEX i ON t (a)", "kind create"},
		{"CREATE VIEW v AS SELECT 1", "kind create"},
		{"CREATE TABLE x AS SELECT 1", "kind create"},
		{"CALL f()", "kind call"},
		{"EXPLAIN SELECT 1", "kind explain"},
		{"SHOW TABLES", "kind show"},
		{"SET a = 1", "kind set"},
		{"BEGIN; SELECT 1; COMMIT", "kind transaction"},
		{"SELECT 1;\n DROP TABLE x;", "line 2, column 2: a statement of the kind drop"},
		{"SELECT * FROM t FOR UPDATE", "kind select_for_update"},
		{"(SELECT 1 FOR UPDATE) UNION SELECT 2", "kind select_for_update"},
		{"DR/**/OP TABLE x", "can parse"},
		{"DR /* */ OP TABLE x", "can parse"},
		{"MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", "can parse"}, // MySQL has none
		{"EXEC sp_who", "can parse"},
		{"DO $$ BEGIN DELETE FROM t; END $$", "can parse"},
		{"COPY t TO PROGRAM 'rm -rf /'", "can parse"},
		{"SELECT 1 INTO OUTFILE '/tmp/x'", "kind select_into"},
		{"/*!50000 DROP TABLE x */", "there is a comment that MySQL executes"},
		{"SELECT 1 /*! INTO OUTFILE '/tmp/x' */", "there is a comment that MySQL executes"},
		{"SELECT 1 /*M! ; DROP TABLE x */", "there is a comment that MySQL executes"},
		{"", "there is no SQL statement"},
		{"SELECT '{}'::jsonb", "MySQL can parse: syntax error near \"::jsonb\" (answer with SQL alone that both MySQL and PostgreSQL can parse"},
		{"I cannot help with that", "can parse"},
		{"```sql\nSELECT 1\n```\n```sql\nDROP TABLE x\n```", "line 5, column 1: a statement of the kind drop"},
		// Each is a query to one server and more to the other.
		{`SELECT '\'; DROP TABLE x; -- '`, "kind drop"},
		{`SELECT 1 # ; DROP TABLE x`, "can parse"},
	} {
		want(t, "sql_safe", test.text, test.complaint)
	}
	for _, test := range []struct{ text, complaint string }{
		{"WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "line 1, column 24: a statement of the kind delete is not allowed, not even inside another"},
		{"WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x", "kind update"},
		{"WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT 1", "kind insert"},
		{"SELECT * INTO x FROM t", "kind select_into"},
		{"SELECT 1 INTO x UNION SELECT 2", "kind select_into"},
		{"MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", "kind merge"},
		{"DO $$ BEGIN DELETE FROM t; END $$", "kind do"},
		{"COPY t TO PROGRAM 'rm -rf /'", "kind copy"},
		{"EXECUTE p", "kind execute"},
		{"PREPARE p AS DELETE FROM t", "kind prepare"},
		{"VACUUM", "kind vacuum"},
		{"LOCK TABLE t", "kind lock"},
		{"SELECT 1;; DELETE FROM t", "line 1, column 12: a statement of the kind delete"},
		{"SELECT 1 /*! DROP TABLE x */", ""},
	} {
		want(t, `sql_safe:{"dialect": "postgres"}`, test.text, test.complaint)
	}
}

func TestOtherKindsCanBeAllowed(t *testing.T) {
	for _, test := range []struct{ spec, text, complaint string }{
		{"sql_safe:insert, update", "INSERT INTO t SELECT 1; UPDATE t SET a = (SELECT 1)", ""},
		{"sql_safe:insert", "SELECT 1", "use only statements of the allowed kinds: insert"},
		{"sql_safe:select, explain", "EXPLAIN SELECT 1", ""},
		{"sql_safe:select, explain", "EXPLAIN DELETE FROM t", "kind delete"},
		{`sql_safe:{"allowed": "explain", "dialect": "postgres"}`, "EXPLAIN ANALYZE DELETE FROM t", "kind delete"},
		{`sql_safe:{"allowed": ["select", "show"], "dialect": "mysql"}`, "SHOW TABLES; SELECT 1", ""},
		{`sql_safe:{"allowed": ["replace"], "dialect": "mysql"}`, "REPLACE INTO t VALUES (1)", ""},
		{"sql_safe:select,transaction", "BEGIN; SELECT 1; COMMIT", ""},
	} {
		want(t, test.spec, test.text, test.complaint)
	}
}

func TestWrongParametersAreErrors(t *testing.T) {
	for spec, want := range map[string]string{
		"sql:oracle":                 `check "sql": dialect must be one of postgres, mysql, got "oracle"`,
		`sql:{"dialect": 1}`:         `check "sql": dialect must be a string, got 1`,
		`sql_safe:{"dialect": "x"}`:  `check "sql_safe": dialect must be one of postgres, mysql, got "x"`,
		"sql_safe:selct":             `truncate, update, got "selct", did you mean select?`,
		"sql_safe:copy":              `truncate, update, got "copy"`,
		"sql_safe:":                  `allowed[0] must be one of alter, call,`,
		`sql_safe:{"allowed": []}`:   `allowed must be at least one kind, got an empty list`,
		`sql_safe:{"allow": "drop"}`: `allow: unknown parameter: known are allowed, dialect`,
	} {
		_, err := validate.Parse(spec)
		if _, ok := errors.AsType[*validate.ParamError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", spec, err, want)
		}
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	s := validate.Must(sql.Safe(sql.MySQL))
	v, err := s.Check(context.Background(), &validate.Answer{Text: strings.Repeat("DROP TABLE x;", 200)})
	if err != nil || len(v.Complaints) != 21 || v.Complaints[20].Problem != "and 180 more like these" {
		t.Errorf("%d complaints, %v", len(v.Complaints), err)
	}
}

func TestADeepExpressionIsAComplaint(t *testing.T) {
	for _, text := range []string{
		"SELECT " + strings.Repeat("(", sql.MaxBytes-8),
		"SELECT " + strings.Repeat("(", 12000) + "1" + strings.Repeat(")", 12000),
		"SELECT " + strings.Repeat("NOT ", 8000) + "1",
	} {
		if got := said(t, validate.Must(sql.Safe(sql.Any)), text); got == "" {
			t.Errorf("%.40q passes", text)
		}
	}
}

func TestAContextThatHasEndedIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, s := range []validate.Strategy{validate.Must(sql.New(sql.Any)), validate.Must(sql.Safe(sql.Any))} {
		if _, err := s.Check(ctx, &validate.Answer{Text: "SELECT 1"}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", s.Name(), err)
		}
	}
}

func FuzzSQL(f *testing.F) {
	for _, text := range []string{
		"SELECT 1", "```sql\nSELECT 1;\n```", "SELECT 'a", "WITH x AS (DELETE FROM t RETURNING *) SELECT 1", "SELECT 1 /*! x */",
		"\uFEFFSELECT é -- '", "SELECT $$a$$, U&'\\0061', e'\\''", ";;;", "/* /* */", "#",
	} {
		f.Add(text)
	}
	checks := []validate.Strategy{
		validate.Must(sql.New(sql.Postgres)), validate.Must(sql.New(sql.MySQL)), validate.Must(sql.New(sql.Any)),
		validate.Must(sql.Safe(sql.Postgres)), validate.Must(sql.Safe(sql.MySQL)), validate.Must(sql.Safe(sql.Any)),
	}
	f.Fuzz(func(t *testing.T, text string) {
		passes := make([]bool, len(checks))
		for i, s := range checks {
			passes[i] = said(t, s, text) == ""
		}
		for i := range 3 {
			if passes[i+3] && !passes[i] {
				t.Errorf("%q is safe and does not parse", text)
			}
		}
		if passes[5] && !(passes[3] && passes[4]) {
			t.Errorf("%q is safe in both, and not in each", text)
		}
	})
}
