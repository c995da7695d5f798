package practice

import (
	"regexp"
	"strings"
)

// programs are small right programs: what is answered where code is asked for.
// To correct another's code takes more than the practice model has.
var programs = map[string]string{
	"go":         "package main\n\nfunc main() {}",
	"javascript": "const answer = 1;",
	"json":       `{"answer": 1}`,
	"jsx":        "const answer = <p>one</p>;",
	"mysql":      "SELECT 1;",
	"postgresql": "SELECT 1;",
	"python":     "def answer():\n    return 1",
	"sql":        "SELECT 1;",
	"tsx":        "const answer: unknown = <p>one</p>;",
	"typescript": "const answer: number = 1;",
	"yaml":       "answer: 1",
}

// statements are one of each kind of SQL, as any server takes them.
var statements = map[string]string{
	"alter":       "ALTER TABLE t ADD COLUMN b int;",
	"create":      "CREATE TABLE t (a int);",
	"delete":      "DELETE FROM t WHERE a = 1;",
	"drop":        "DROP TABLE t;",
	"explain":     "EXPLAIN SELECT 1;",
	"insert":      "INSERT INTO t (a) VALUES (1);",
	"select":      "SELECT 1;",
	"transaction": "COMMIT;",
	"truncate":    "TRUNCATE TABLE t;",
	"update":      "UPDATE t SET a = 1;",
}

// documents are the least that OpenAPI's versions take.
var documents = map[string]string{
	"2.0": `{"swagger": "2.0", "info": {"title": "Answer", "version": "1"}, "paths": {}}`,
	"3.0": `{"openapi": "3.0.4", "info": {"title": "Answer", "version": "1"}, "paths": {}}`,
	"3.1": `{"openapi": "3.1.1", "info": {"title": "Answer", "version": "1"}, "paths": {}}`,
}

var (
	codeWords      = regexp.MustCompile(`\banswer with (?:the whole |valid )?(\w+)(?: or \w+)? (?:code|statements?)\b|\banswer with (?:the whole )?(SQL)\b`)
	statementWords = regexp.MustCompile(`\bstatements of the allowed kinds: ([\w, ]+)`)
	documentWords  = regexp.MustCompile(`\bspecification of OpenAPI (\d\.\d)\b|\bas openapi: "(\d\.\d)|\bone (OpenAPI) document\b`)
)

// programFor returns the code that is asked for, if some is.
func programFor(points []point) (string, bool) {
	for _, p := range points {
		if m := statementWords.FindStringSubmatch(p.fix); m != nil {
			for _, kind := range strings.Split(m[1], ",") {
				if s := statements[strings.TrimSpace(kind)]; s != "" {
					return s, true
				}
			}
		}
		if m := documentWords.FindStringSubmatch(p.fix); m != nil {
			if version := m[1] + m[2]; documents[version] != "" {
				return documents[version], true
			}
			return documents["3.1"], true
		}
		if m := codeWords.FindStringSubmatch(p.fix); m != nil {
			label := strings.ToLower(m[1] + m[2])
			if program := programs[label]; program != "" {
				return "```" + label + "\n" + program + "\n```", true
			}
		}
	}
	return "", false
}
