package practice

import (
	"cmp"
	"strings"

	"llmcall/internal/phrase"
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

// inLanguage are the fixes that ask for code, and begin with its language.
var inLanguage = []*phrase.Phrase{phrase.WholeCode, phrase.LabelledCode, phrase.ParsableCode, phrase.CodeAlone, phrase.SQLStatements}

// inSQL are those that ask for SQL of any server.
var inSQL = []*phrase.Phrase{phrase.SQL, phrase.WholeSQL, phrase.SQLOfBoth}

// programFor returns the code that is asked for, if some is.
func programFor(points []point) (string, bool) {
	for _, p := range points {
		if kinds, ok := phrase.Statements.Read(p.fix); ok {
			for kind := range strings.SplitSeq(kinds[0], ",") {
				if s := statements[strings.TrimSpace(kind)]; s != "" {
					return s, true
				}
			}
		}
		if document, ok := documentFor(p.fix); ok {
			return document, true
		}
		if language := languageOf(p.fix); programs[language] != "" {
			return "```" + language + "\n" + programs[language] + "\n```", true
		}
	}
	return "", false
}

// documentFor returns the OpenAPI document that is asked for, if one is.
func documentFor(fix string) (string, bool) {
	for _, p := range []*phrase.Phrase{phrase.OpenAPIRules, phrase.OpenAPIVersion} {
		if version, ok := p.Find(fix); ok {
			return cmp.Or(documents[firstRunes(version[0], len("3.1"))], documents["3.1"]), true
		}
	}
	_, ok := phrase.OpenAPIDocument.Read(fix)
	return documents["3.1"], ok
}

// languageOf returns the language of the code that is asked for.
func languageOf(fix string) string {
	for _, p := range inLanguage {
		if values, ok := p.Read(fix); ok {
			language, _, _ := strings.Cut(values[0], " ") // the first of several
			return strings.ToLower(language)
		}
	}
	for _, p := range inSQL {
		if _, ok := p.Read(fix); ok {
			return "sql"
		}
	}
	return ""
}
