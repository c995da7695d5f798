package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// schemas writes files into a folder that becomes the current one.
func schemas(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func TestASchemaRefersToFilesBesideIt(t *testing.T) {
	schemas(t, map[string]string{
		"s/city.yaml": "type: object\nproperties:\n  address: {$ref: address.json}\n  mayor: {$ref: 'sub/person.yaml#/definitions/p'}\n  again: {$ref: '#/properties/mayor'}\n",
		"s/address.json": `{"$id": "https://x.org/address.json", "$schema": "https://json-schema.org/draft/2020-12/schema",
			"properties": {"zip": {"$ref": "#/$defs/zip"}, "owner": {"$ref": "sub/person.yaml#/definitions/p"}}, "$defs": {"zip": {"type": "string"}}}`,
		"s/sub/person.yaml": "definitions:\n  p: {type: object, properties: {age: {type: integer}, friend: {$ref: '#/definitions/p'}, home: {$ref: ../address.json}, city: {$ref: ../city.yaml}}}\n",
		"s/ids.json":        `{"$id": "https://x.org/s/ids.json", "properties": {"p": {"$ref": "ü.json#/$defs/a~1b"}, "q": {"$ref": "https://x.org/s/%C3%BC.json#top"}, "r": {"$ref": "#/$defs/own"}, "s": {"$ref": "ids.json"}, "t": {"enum": [{"$ref": "nope.json"}]}}, "$defs": {"own": {"type": "null"}}}`,
		"s/ü.json":          `{"$anchor": "top", "$defs": {"a/b": {"type": "boolean"}}, "type": "object"}`,
		"s/names.json":      `{"properties": {"default": {"$ref": "ü.json#/$defs/a~1b"}, "properties": {"properties": {"enum": {"$ref": "ü.json"}}, "default": {"$ref": "nope.json"}}}}`,
		"s/within.json":     `{"properties": {"a": {"$ref": "https://x.org/in"}, "b": {"$ref": "#/$defs/in"}}, "$defs": {"in": {"$id": "https://x.org/in", "type": "integer", "properties": {"c": {"$ref": "#"}}}}}`,
	})
	for _, c := range []struct{ schema, value, want string }{
		{"city.yaml", `{"address": {"zip": "x", "owner": {"age": 3}}, "mayor": {"friend": {"age": 4}, "city": {"mayor": {}}}}`, ""},
		{"city.yaml", `{"address": {"zip": 5, "owner": {"age": "x"}}}`, "/address/owner/age /address/zip"},
		{"city.yaml", `{"mayor": {"friend": {"age": "x", "home": {"zip": 5}}, "city": {"again": 3}}}`, "/mayor/city/again /mayor/friend/age /mayor/friend/home/zip"},
		{"ids.json", `{"p": 1, "q": 2, "r": 3, "s": {"p": 4}}`, "/p /q /r /s/p"},
		{"names.json", `{"default": 1, "properties": {"enum": 2}}`, "/default /properties/enum"}, // properties may be called like keywords
		{"within.json", `{"a": "x", "b": "y"}`, "/a /b"},
	} {
		got := command(t, c.value, "validate", "--schema", "s/"+c.schema, "-")
		var at []string
		for line := range strings.Lines(got.stdout) {
			if _, place, ok := strings.Cut(line, "schema: at "); ok {
				place, _, _ = strings.Cut(place, ":")
				at = append(at, place)
			}
		}
		if strings.Join(at, " ") != c.want || got.code == 2 || strings.Contains(got.stderr, "warning") {
			t.Errorf("%s %s: got %q, want %q\n%s%s", c.schema, c.value, at, c.want, got.stdout, got.stderr)
		}
	}
	// What is asked of the model is one document, in the order of the file.
	server, args := serve(t, `{steps: [{answer: '{"address": {"zip": "x"}}'}]}`)
	if got := command(t, "", append(args, "--schema", "s/city.yaml", "Describe a city")...); got.code != 0 {
		t.Fatal(got.stderr)
	}
	body := string(server.Requests()[0].Body)
	if !strings.Contains(body, `#/$defs/address.json`) || !strings.Contains(body, `#/$defs/sub~1person.yaml/definitions/p`) ||
		strings.Index(body, `"mayor"`) < strings.Index(body, `"address"`) {
		t.Error(body)
	}
}

func TestWhatASchemaMayNotReferTo(t *testing.T) {
	schemas(t, map[string]string{
		"secret.json": "{}", "s/up.json": `{"$ref": "../secret.json"}`, "s/absolute.json": `{"$ref": "file:///etc/hostname"}`,
		"s/missing.json": "{\n\"$ref\": \"nope.json\"}", "s/link.json": `{"$ref": "to.json"}`, "s/net.json": `{"$ref": "https://x.org/a.json"}`,
		"s/bad.json": `{"$ref": "tab.yaml"}`, "s/tab.yaml": "type:\n\tobject\n", "s/nothing.yaml": "# nothing\n",
	})
	if err := os.Symlink("../secret.json", "s/to.json"); err != nil {
		t.Skip(err)
	}
	for name, want := range map[string]string{
		"up.json": `line 1: $ref "../secret.json": is outside of the schema's folder, `, "absolute.json": `$ref "file:///etc/hostname": is outside of the schema's folder, `,
		"missing.json": `line 2: $ref "nope.json": `, "link.json": "path escapes from parent", "net.json": `"https://x.org/a.json" is not in the schema itself`,
		"bad.json": `line 1: $ref "tab.yaml": tab.yaml: line 2: the line is indented with a tab: use spaces`, "tab.yaml": "--schema s/tab.yaml: line 2: the line is indented with a tab: use spaces",
		"nothing.yaml": "must be a JSON Schema, got nothing",
	} {
		got := command(t, "1", "validate", "--schema", "s/"+name, "-")
		if got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit %d: %s\nwant %s", name, got.code, got.stderr, want)
		}
	}
}

// A validator ignores a keyword that it does not know.
func TestAKeywordThatIsALetterOffIsWarnedOf(t *testing.T) {
	for schema, want := range map[string]string{
		`{"requierd": ["a"]}`:                                  `s.json:1: unknown keyword "requierd", did you mean required? It is ignored`,
		"{\"properties\": {\"a\": {\n\"minlength\": 3}}}":      `s.json:2: unknown keyword "minlength", did you mean minLength? It is ignored`,
		`{"allOf": [{"not": {"addtionalProperties": false}}]}`: `did you mean additionalProperties?`,
		`{"properties": {"a": {"format": "datetime"}}}`:        `s.json:1: unknown format "datetime", did you mean date-time? It is ignored`,
		`{"properties": {"a": {"format": "url"}}}`:             `unknown format "url", did you mean uri?`,
		`{"properties": {"requierd": {}, "tpye": {}}, "x-order": 1, "propertyOrdering": [], "const": {"tpye": 1}, "unit": "m"}`: "",
	} {
		got := command(t, "1", "validate", "--schema", file(t, "s.json", schema), "-")
		if want == "" && strings.Contains(got.stderr, "warning") || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %s", schema, got.stderr)
		}
	}
}

func TestAPatternOfASchemaMayHaveALookahead(t *testing.T) {
	s := file(t, "s.json", `{"type": "string", "pattern": "^(?!00)\\d{5}$"}`)
	for text, want := range map[string]int{`"12345"`: 0, `"00345"`: exitInvalid} {
		if got := command(t, text, "validate", "--schema", s, "-"); got.code != want {
			t.Errorf("%s: exit %d: %s%s", text, got.code, got.stdout, got.stderr)
		}
	}
	if got := command(t, "1", "validate", "--schema", file(t, "bad.json", `{"pattern": "["}`), "-"); got.code != exitUsage || !strings.Contains(got.stderr, "missing closing ]") {
		t.Error(got.stderr)
	}
}
