package llmcall_test

import (
	"os/exec"
	"strings"
	"testing"
)

// floors is the map of the house: a package imports only packages on lower
// floors. A folder stands for all packages below it.
var floors = map[string]int{
	"llmcall/backoff": 1, "llmcall/breaker": 1, "llmcall/failure": 1, "llmcall/llm": 1, "llmcall/pace": 1, "llmcall/internal/nearest": 1,
	"llmcall/endpoint": 2, "llmcall/validate": 2, "llmcall/classify": 2, "llmcall/picture": 2,
	"llmcall/retry":     3,
	"llmcall/validate/": 4, // the checks that need libraries of their own; judges need the loop
	// Parsers that several of them need.
	"llmcall/validate/internal/python": 2, "llmcall/validate/internal/sqlparse": 2,
	"llmcall/provider/wire":     3, // what the adapters share
	"llmcall/provider/":         4,
	"llmcall/validate/standard": 5, // all of validate/…, which knows nothing of it
	"llmcall/provider":          5, // opens any of provider/…, which knows nothing of it
	"llmcall":                   5,
	"llmcall/transport":         4,
	"llmcall/chaos":             6,
	"llmcall/cmd/":              7,
	"llmcall/conformance":       7, // tests alone
	"llmcall/soak":              7, // tests alone
}

func floorOf(pkg string) (int, bool) {
	if f, ok := floors[pkg]; ok {
		return f, true
	}
	for folder, f := range floors {
		if strings.HasSuffix(folder, "/") && strings.HasPrefix(pkg, folder) {
			return f, true
		}
	}
	return 0, false
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

// A program that wants just a circuit breaker compiles nothing else.
func TestGroundFloorNeedsTheStandardLibraryAlone(t *testing.T) {
	for pkg, floor := range floors {
		if floor != 1 {
			continue
		}
		for _, dep := range goList(t, "-deps", pkg) {
			first, _, _ := strings.Cut(dep, "/")
			if dep != pkg && (first == "llmcall" || strings.Contains(first, ".")) {
				t.Errorf("%s needs %s", pkg, dep)
			}
		}
	}
}

// An SDK, and a parser of SQL, are compiled only into a program that asks for
// them.
func TestTheRootNeedsNoProviderAndNoParser(t *testing.T) {
	for _, dep := range goList(t, "-deps", "llmcall") {
		if strings.HasPrefix(dep, "llmcall/provider") || strings.HasPrefix(dep, "llmcall/validate/") || strings.Contains(dep, "openai") {
			t.Errorf("llmcall needs %s", dep)
		}
	}
}
