package openapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"llmcall/validate"
	"llmcall/validate/openapi"
)

func said(t testing.TB, text string) string {
	t.Helper()
	v, err := openapi.New().Check(context.Background(), &validate.Answer{Text: text})
	if err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	var lines []string
	for i, c := range v.Complaints {
		if (c.Line < 1 || c.Column < 1 || c.Suggestion == "") && i < 20 {
			t.Errorf("%.200q: %+v has no place or no suggestion", text, c)
		}
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

const (
	v30 = `openapi: 3.0.3
info:
  title: Pets
  version: "1"
paths:
  /pets/{id}:
    get:
      operationId: getPet
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
      responses:
        200:
          description: A pet
          content:
            application/json:
              schema: {$ref: '#/components/schemas/Pet'}
components:
  schemas:
    Pet:
      type: object
      properties:
        name: {type: string, nullable: true}
        parent: {$ref: '#/components/schemas/Pet'}
`
	v31 = `{
  "openapi": "3.1.0",
  "info": {"title": "Pets", "version": "1", "summary": "s"},
	"components": {"schemas": {"Pet": {"type": ["object", "null"], "properties": {"$ref": {"const": 1}}}}},
  "webhooks": {"new": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}}, "responses": {"200": {"description": "ok"}}}}}
}
`
	v20 = `swagger: "2.0"
info: {title: Pets, version: "1"}
paths:
  /pets/{id}:
    get:
      parameters:
        - {name: id, in: path, required: true, type: string}
      responses:
        "200": {description: ok, schema: {$ref: "#/definitions/Pet"}}
definitions:
  Pet: {type: object, properties: {name: {type: string}}}
`
)

func TestOpenAPIDocumentsPass(t *testing.T) {
	for _, text := range []string{v30, v31, v20, `{"swagger": "2.0", "info": {"title": "a", "version": "b"}, "paths": {}}` + "\n"} {
		for _, answer := range []string{
			text, "Here it is:\n```YAML\n" + text + "```\nDone.", "```\r\n" + strings.ReplaceAll(text, "\n", "\r\n") + "\r\n```",
			"  ~~~json\n  " + strings.ReplaceAll(text, "\n", "\n  ") + "\n  ~~~",
		} {
			if got := said(t, answer); got != "" {
				t.Errorf("%s\n%s", got, answer)
			}
		}
	}
}

func TestWhatIsNoOpenAPIDocumentFails(t *testing.T) {
	with := func(text, old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in %s", old, text)
		}
		return strings.Replace(text, old, new, 1)
	}
	for _, test := range []struct{ text, want string }{
		{"", "line 1, column 1: there is no OpenAPI document"},
		{"hello", "its root is not a mapping or an object"},
		{"Here is text: (", "line 1, column 1: the document has no field openapi or swagger"},
		{"[]", "its root is not a mapping or an object"},
		{`{"openapi": "3.0.0",}`, "the document can't be read as JSON: there is a comma before the closing"},
		{`{"openapi": "3.0.0", "` + strings.Repeat("a", 2000) + `": 1}`, "line 1, column 1: the properties"},
		{"openapi: 3.0.0\n info: {", "line 2, column "},
		{with(v30, "3.0.3", "banana"), `at /openapi: line 1, column 1: the version is "banana", a string, which is not a known version`},
		{with(v30, "3.0.3", "4.0.0"), `the version is "4.0.0"`},
		{with(v30, "3.0.3", "3.0"), `the version is "3", a number`},
		{with(v30, "3.0.3", "3.2.0"), `the version is "3.2.0"`},
		{with(v20, `"2.0"`, "2.0"), `at /swagger: line 1, column 1: the version is "2", a number; expected the string "2.0"`},
		{with(v20, `swagger: "2.0"`, `a: "2.0"`), "no field openapi or swagger"},
		{v20 + "openapi: 3.0.0\n", "both the fields swagger and openapi"},
		{with(v30, "title: Pets", `title: " "`), "at /info/title: line 3, column 3: the title is empty (give the API a title)"},
		{with(v30, `version: "1"`, `version: ""`), "at /info/version: line 4, column 3: the version is empty"},
		{with(v30, "  title: Pets\n", ""), "/info"},
		{with(v30, "info:\n  title: Pets\n  version: \"1\"\n", ""), "info"},
		{"openapi: 3.0.0\ninfo: {title: a, version: b}\npaths: null\n", "at /paths: line 3, column 1: "},
		{"openapi: 3.1.0\ninfo: {title: a, version: b}\n", "paths"},
		{"swagger: '2.0'\ninfo: {title: a, version: b}\n", "paths"},
		{with(v30, "schemas/Pet'}\ncomponents", "schemas/Cat'}\ncomponents"), `at /paths/~1pets~1{id}/get/responses/200/content/application~1json/schema/$ref: line 16, column 24: "#/components/schemas/Cat" is not in the document`},
		{with(v20, "definitions/Pet", "definitions/Cat"), `"#/definitions/Cat" is not in the document`},
		{with(v30, "- {name: id, in: path, required: true, schema: {type: string}}", "[]"), "at /paths/~1pets~1{id}/get"},
		{with(v30, "      parameters:\n        - {name: id, in: path, required: true, schema: {type: string}}\n", ""), "at /paths/~1pets~1{id}/get: line 7, column 5: operation GET /pets/{id} must define exactly all path parameters (missing: [id])"},
		{with(v20, "      parameters:\n        - {name: id, in: path, required: true, type: string}\n", ""), "at /paths/~1pets~1{id}/get: "},
		{with(v30, "components:", "  /a:\n    get: {operationId: getPet, responses: {200: {description: ok}}}\ncomponents:"), `operationId: line `},
		{with(v30, "nullable: true", "type: string"), "more than once"},
		{with(v30, "type: object", "type: banana"), "at /components/schemas/Pet"},
		{with(v30, "paths:", "security: [{key: []}]\npaths:"), "at /security/0/key: "},
		{"```yaml\n" + with(v30, "3.0.3", "banana") + "```", "line 2, column 1: "},
		{"```yaml\n" + v30, "the Markdown block is not closed"},
		{v30 + "---\na: 1\n", "there is more than one YAML document"},
		{strings.Repeat("a", openapi.MaxBytes+1), "the document is longer than 1048576 bytes"},
		{"openapi: 3.0.0\na: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested more than 100 deep"},
		{"openapi: 3.0.0\na: " + strings.Repeat("[", 500_000), "can't be read as YAML"},
		{"openapi: '\xff'", "not valid UTF-8"},
		{"openapi: 3.0.0\na: .nan\n", "is not a JSON number"},
	} {
		if got := said(t, test.text); !strings.Contains(got, test.want) {
			t.Errorf("%.120q: %q, want %q", test.text, got, test.want)
		}
	}
}

func TestAliasesThatMultiplyAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("openapi: 3.0.0\na0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := range 20 {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i, i, i, i, i, i, i)
	}
	began := time.Now()
	if got := said(t, b.String()); !strings.Contains(got, "more than 200000 values") && !strings.Contains(got, "can't be read") {
		t.Error(got)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := said(t, "openapi: 3.0.0\na: &a [*a]\n"); got == "" {
		t.Error("an alias of what it is in passes")
	}
}

func TestNoFileAndNoNetworkIsRead(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		fmt.Fprint(w, `{"type": "object"}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "pet.json")
	if err := os.WriteFile(file, []byte(`{"type": "object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{server.URL + "/pet.json", file, "file://" + file, "pet.json", "./pet.json#/a", "//x/y"} {
		for _, text := range []string{
			strings.Replace(v30, "#/components/schemas/Pet'}\ncomponents", ref+"'}\ncomponents", 1),
			strings.Replace(v31, "#/components/schemas/Pet", ref, 1),
			strings.Replace(v20, "#/definitions/Pet", ref, 1),
		} {
			if got := said(t, text); !strings.Contains(got, "is in another document, which is not read") {
				t.Errorf("%s: %q", ref, got)
			}
		}
	}
	for _, text := range []string{
		strings.Replace(v31, `"type": ["object"`, `"$schema": "`+server.URL+`", "type": ["object"`, 1),
		strings.Replace(v31, `"openapi": "3.1.0"`, `"openapi": "3.1.0", "jsonSchemaDialect": "`+server.URL+`"`, 1),
		strings.Replace(v30, "  title:", "  x-a: {$ref: '"+server.URL+"'}\n  title:", 1),
		strings.Replace(v30, "description: A pet", "description: A pet\n          x-a: {$ref: '"+server.URL+"'}", 1),
	} {
		said(t, text)
	}
	if n := requests.Load(); n > 0 {
		t.Errorf("%d requests went out", n)
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("openapi: 3.0.0\ninfo: {title: a, version: b}\npaths:\n")
	for i := range 100 {
		fmt.Fprintf(&b, "  /a%d: {get: {responses: {200: {$ref: '#/x'}}}}\n", i)
	}
	if lines := strings.Split(said(t, b.String()), "\n"); len(lines) != 21 || lines[20] != "and 80 more like these" {
		t.Errorf("%d complaints, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestAContextThatHasEndedIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := openapi.New().Check(ctx, &validate.Answer{Text: v30}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzOpenAPI(f *testing.F) {
	for _, text := range []string{v30, v31, v20, "```yaml\n" + v30 + "```", "a: &a {<<: *a}", "openapi: 3.0.0\npaths: {/a: null}", "{"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { said(t, text) })
}
