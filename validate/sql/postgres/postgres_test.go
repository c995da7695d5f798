package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"llmcall/validate/internal/sqlparse"
)

func TestDepthIsAnUpperBound(t *testing.T) {
	for _, test := range []struct {
		sql       string
		want, bad int // bad: the offset, where it is too deep
	}{
		{"SELECT 1", 0, 8},
		{"SELECT 1 + 2 * 3", 2, 16},
		{"SELECT 1 + 2, 3 + 4", 1, 19},
		{"SELECT ((1))", 2, 12},
		{"SELECT (1 + 2) + (3)", 2, 20},
		{"SELECT '((((', \"((((\", $$((((${}$$, $a$(($$(($a$ -- ((((\n/* (( /* (( */ (( */", 0, 77},
		{"SELECT E'\\'((((' , 'a''((('", 0, 27},
		{"SELECT $1 + $2", 1, 14},
		{"INSERT INTO t VALUES " + strings.Repeat("(1, -1), ", 1000) + "(1, 2)", 2, 9027},
		{"SELECT * FROM t WHERE " + strings.Repeat("a = 1 AND ", 1000) + "b = 2", 2, 10027},
		{"SELECT " + strings.Repeat("1+", 1000) + "1", 201, 408},
		{"SELECT 1 " + strings.Repeat("UNION SELECT 1 ", 300), 201, 3009},
		{"SELECT " + strings.Repeat("CASE WHEN a THEN ", 300), 201, 3407},
	} {
		deep, at := depth(test.sql)
		if deep != test.want || at != test.bad {
			t.Errorf("%.60q: %d at %d, want %d at %d", test.sql, deep, at, test.want, test.bad)
		}
	}
}

// PostgreSQL's parser alone would take minutes for these.
func TestWhatIsNestedDeepEndsSoon(t *testing.T) {
	if _, err := sqlparse.Parse(context.Background(), sqlparse.Postgres, "SELECT 1"); err != nil { // loads the parser
		t.Fatal(err)
	}
	for _, unit := range []string{"1+", "NOT ", "(", "-", "1::int-", "1 IS NULL = ", "CASE WHEN 1 THEN ", "a[", "f(1, ", "(1, ", "(SELECT ", "1 COLLATE b || "} {
		began := time.Now()
		_, err := sqlparse.Parse(context.Background(), sqlparse.Postgres, "SELECT "+strings.Repeat(unit, sqlparse.MaxLength/len(unit)-2)+"1")
		if err == nil {
			t.Errorf("%q: it can be parsed", unit)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%q took %v", unit, took)
		}
	}
}

func FuzzDepth(f *testing.F) {
	for _, sql := range []string{"SELECT 1", "$a$ $a$", "/* /* */", "E'\\", "))))", "é$é$"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if deep, at := depth(sql); deep < 0 || at < 0 || at > len(sql) {
			t.Errorf("%q: %d at %d", sql, deep, at)
		}
	})
}
