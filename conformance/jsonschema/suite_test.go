// Package jsonschema runs the JSON-Schema-Test-Suite
// (https://github.com/json-schema-org/JSON-Schema-Test-Suite) through the check
// validate.JSONSchemaWith. The suite (MIT licence) comes in the zip file of the
// module github.com/kaptinlin/jsonschema, of which no code is used. The test
// fetches it through Go's module cache, which the tests of llmcall itself never
// need: so this is a module of its own.
package jsonschema

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"llmcall/validate"
)

type group struct {
	Description string
	Schema      json.RawMessage
	Tests       []struct {
		Description string
		Data        json.RawMessage
		Valid       bool
	}
}

// The module that the suite comes with, and the hash of its files.
const (
	carrier    = "github.com/kaptinlin/jsonschema@v0.9.3"
	carrierSum = "h1:uDVd3w4aXwO0tbycblKYvFofhl3hVuE31vOl5JkDXI0="
)

// suite fetches the suite, and returns where it is.
func suite(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", carrier)
	cmd.Dir = t.TempDir() // outside of any module, whose go.sum it would change
	out, err := cmd.Output()
	var module struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &module); jsonErr != nil || err != nil || module.Error != "" {
		t.Fatalf("go mod download %s: %v %s", carrier, err, module.Error)
	}
	if module.Sum != carrierSum {
		t.Fatalf("%s has the hash %s, and not %s", carrier, module.Sum, carrierSum)
	}
	return filepath.Join(module.Dir, "testdata", "JSON-Schema-Test-Suite")
}

// draft is a draft of JSON Schema, as the suite has it.
type draft struct {
	folder, dialect string
	// asserted are the tests of format.json that want a wrong format to pass,
	// since a format is by default an annotation. The check asserts formats, on
	// purpose: all of these must fail.
	asserted int
	formats  bool // the optional tests of formats are run too
}

var drafts = []draft{
	{"draft4", "http://json-schema.org/draft-04/schema#", 0, false},
	{"draft6", "http://json-schema.org/draft-06/schema#", 0, false},
	{"draft7", "http://json-schema.org/draft-07/schema#", 0, true},
	{"draft2019-09", "https://json-schema.org/draft/2019-09/schema", 0, false},
	{"draft2020-12", "https://json-schema.org/draft/2020-12/schema", 17, true},
}

// in gives a schema the dialect if it names none: the suite's folders do.
func (d draft) in(schema []byte) []byte {
	var object map[string]json.RawMessage
	if json.Unmarshal(schema, &object) != nil || object["$schema"] != nil {
		return schema
	}
	object = maps.Clone(object)
	object["$schema"] = json.RawMessage(`"` + d.dialect + `"`)
	text, err := json.Marshal(object)
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	return text
}

// remotes are the documents that the suite serves at localhost:1234: those of
// the draft, and those of all drafts.
func (d draft) remotes(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	documents := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if e.IsDir() {
			if strings.HasPrefix(name, "draft") && name != d.folder && !strings.HasPrefix(name, d.folder+"/") {
				return filepath.SkipDir
			}
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		documents["http://localhost:1234/"+name] = d.in(text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

// count is how many tests there are, and how many come out as the suite wants.
type count struct{ passed, all int }

// run runs one file, and returns what came out otherwise.
func (d draft) run(t *testing.T, path string, documents map[string][]byte, n *count) (otherwise []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var groups []group
	if err := json.Unmarshal(text, &groups); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, g := range groups {
		check, err := validate.JSONSchemaWith(d.in(g.Schema), validate.SchemaOptions{Documents: documents})
		for _, test := range g.Tests {
			n.all++
			about := filepath.Base(path) + ": " + g.Description + ": " + test.Description
			if err != nil {
				otherwise = append(otherwise, about+": "+err.Error())
				continue
			}
			report := validate.Run(t.Context(), []validate.Strategy{check}, &validate.Answer{Text: string(test.Data)}, 0)
			switch valid := len(report.Complaints) == 0; {
			case len(report.Failed) > 0:
				otherwise = append(otherwise, about+": "+report.Failed[0].Error())
			case valid != test.Valid:
				otherwise = append(otherwise, about)
			default:
				n.passed++
			}
		}
	}
	return otherwise
}

func TestRequiredTestsOfTheSuite(t *testing.T) {
	dir := suite(t)
	for _, d := range drafts {
		t.Run(d.folder, func(t *testing.T) {
			documents := d.remotes(t, filepath.Join(dir, "remotes"))
			paths, err := filepath.Glob(filepath.Join(dir, "tests", d.folder, "*.json"))
			if err != nil || len(paths) < 20 {
				t.Fatalf("%d files: %v", len(paths), err)
			}
			var n count
			asserted := 0
			for _, path := range paths {
				for _, about := range d.run(t, path, documents, &n) {
					if strings.HasPrefix(about, "format.json: ") && strings.Contains(about, "only an annotation") {
						asserted++
						continue
					}
					t.Error(about)
				}
			}
			t.Logf("%s: %d of %d required tests pass; %d want a format not to be asserted", d.folder, n.passed, n.all, asserted)
			if asserted != d.asserted {
				t.Errorf("%d tests want formats to be no more than annotations, where %d did", asserted, d.asserted)
			}
		})
	}
}

// Of formats, the library leaves only the names in other alphabets unchecked.
func TestOptionalTestsOfFormats(t *testing.T) {
	dir := suite(t)
	for _, d := range drafts {
		if !d.formats {
			continue
		}
		paths, err := filepath.Glob(filepath.Join(dir, "tests", d.folder, "optional", "format", "*.json"))
		if err != nil || len(paths) < 10 {
			t.Fatalf("%d files: %v", len(paths), err)
		}
		var n count
		unchecked := 0
		for _, path := range paths {
			for _, about := range d.run(t, path, nil, &n) {
				if strings.HasPrefix(about, "idn-email.json: ") || strings.HasPrefix(about, "idn-hostname.json: ") {
					unchecked++
					continue
				}
				t.Error(about)
			}
		}
		t.Logf("%s: %d of %d optional tests of formats pass; the other %d are of idn-email and idn-hostname", d.folder, n.passed, n.all, unchecked)
	}
}
