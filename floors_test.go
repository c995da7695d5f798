package llmcall_test

import (
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// floors is the map of the house, as ARCHITECTURE.md has it: a package imports only
// packages on lower floors. A folder ("llmcall/provider/") stands for all packages
// below it.
var floors = sync.OnceValue(func() map[string]int {
	page, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		panic(err)
	}
	all := map[string]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| ([0-9]+) \\| `([a-z/]+)` \\| .+ \\|$").FindAllStringSubmatch(string(page), -1) {
		floor, err := strconv.Atoi(row[1])
		if err != nil {
			panic(err)
		}
		pkg := ownPath + "/" + row[2]
		if row[2] == "llmcall" {
			pkg = ownPath
		}
		all[pkg] = floor
	}
	return all
})

// ownPath is the path of the module.
var ownPath = strings.TrimSuffix(reflect.TypeFor[here]().PkgPath(), "_test")

type here struct{}

func floorOf(pkg string) (int, bool) {
	if f, ok := floors()[pkg]; ok {
		return f, true
	}
	nearest, floor := "", 0 // the deepest folder: validate/code/ is within validate/
	for folder, f := range floors() {
		if strings.HasSuffix(folder, "/") && strings.HasPrefix(pkg, folder) && len(folder) > len(nearest) {
			nearest, floor = folder, f
		}
	}
	return floor, nearest != ""
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestEachPackageImportsOnlyLowerFloors(t *testing.T) {
	for _, line := range goList(t, "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...") {
		pkg, imports, _ := strings.Cut(line, " ")
		floor, known := floorOf(pkg)
		if !known {
			t.Errorf("%s is on no floor: give it one", pkg)
		}
		for _, i := range strings.Fields(imports) {
			if below, ours := floorOf(i); ours && below >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", pkg, floor, i, below)
			}
		}
	}
}

// Each row of the map is a package, or a folder with packages; rows are in order.
func TestTheMapHasNoRowTooMany(t *testing.T) {
	packages := goList(t, "./...")
	for pkg := range floors() {
		if !slices.ContainsFunc(packages, func(p string) bool {
			return p == pkg || strings.HasSuffix(pkg, "/") && strings.HasPrefix(p, pkg)
		}) {
			t.Errorf("ARCHITECTURE.md has %s, which is no package", pkg)
		}
	}
	if len(floors()) < 20 {
		t.Errorf("%d rows were read", len(floors()))
	}
}

// A program that wants just a circuit breaker compiles nothing else.
func TestGroundFloorNeedsTheStandardLibraryAlone(t *testing.T) {
	for pkg, floor := range floors() {
		if floor != 1 {
			continue
		}
		for _, dep := range goList(t, "-deps", pkg) {
			first, _, _ := strings.Cut(dep, "/")
			if dep != pkg && (strings.HasPrefix(dep, ownPath+"/") || strings.Contains(first, ".")) {
				t.Errorf("%s needs %s", pkg, dep)
			}
		}
	}
}

// An SDK, and a parser of SQL, are compiled only into a program that asks for
// them. A template finds methods by their names, so that the linker keeps all
// methods of all types in every program that has one.
func TestTheRootNeedsNoProviderAndNoParser(t *testing.T) {
	rooms := []string{ownPath + "/validate/internal/jsontext", ownPath + "/validate/internal/patterns", ownPath + "/validate/internal/schemawords"} // of package validate
	for _, dep := range goList(t, "-deps", ownPath) {
		if slices.Contains(rooms, dep) {
			continue
		}
		if dep == "text/template" || strings.HasPrefix(dep, ownPath+"/provider") || strings.HasPrefix(dep, ownPath+"/validate/") || strings.Contains(dep, "openai") {
			t.Errorf("the root needs %s", dep)
		}
	}
}

// A check links no parser but its own: what a program must not have for a blank
// import of a package.
func TestAParserIsLinkedByTheImportOfItsLanguage(t *testing.T) {
	parsers := map[string]string{
		"esbuild": "github.com/evanw/esbuild/", "goja": "github.com/dop251/goja", "regexp2": "github.com/dlclark/regexp2", "yaml": "go.yaml.in/yaml/",
		"postgres": "github.com/tetratelabs/wazero", "mysql": "github.com/pingcap/tidb/", "cel": "cel.dev/", "openapi": "github.com/getkin/",
	}
	for pkg, own := range map[string][]string{
		"llmcall/validate":                 nil,
		"llmcall/validate/code":            nil,
		"llmcall/validate/code/javascript": {"esbuild"},
		"llmcall/validate/code/python":     {"goja", "regexp2"},
		"llmcall/validate/code/sql":        nil,
		"llmcall/validate/code/yaml":       {"yaml"},
		"llmcall/validate/sql":             nil,
		"llmcall/validate/sql/mysql":       {"mysql"},
		"llmcall/validate/sql/postgres":    {"postgres"},
	} {
		var linked []string
		deps := goList(t, "-deps", pkg)
		for name, prefix := range parsers {
			if slices.ContainsFunc(deps, func(dep string) bool { return strings.HasPrefix(dep, prefix) }) {
				linked = append(linked, name)
			}
		}
		slices.Sort(linked)
		if !slices.Equal(linked, own) {
			t.Errorf("%s links %v, want %v", pkg, linked, own)
		}
	}
}
