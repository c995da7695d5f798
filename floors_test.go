package llmcall_test

import (
	"os"
	"os/exec"
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
		pkg := "llmcall/" + row[2]
		if row[2] == "llmcall" {
			pkg = row[2]
		}
		all[pkg] = floor
	}
	return all
})

func floorOf(pkg string) (int, bool) {
	if f, ok := floors()[pkg]; ok {
		return f, true
	}
	for folder, f := range floors() {
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
			if dep != pkg && (first == "llmcall" || strings.Contains(first, ".")) {
				t.Errorf("%s needs %s", pkg, dep)
			}
		}
	}
}

// An SDK, and a parser of SQL, are compiled only into a program that asks for
// them.
func TestTheRootNeedsNoProviderAndNoParser(t *testing.T) {
	rooms := []string{"llmcall/validate/internal/jsontext", "llmcall/validate/internal/schemawords"} // of package validate
	for _, dep := range goList(t, "-deps", "llmcall") {
		if slices.Contains(rooms, dep) {
			continue
		}
		if strings.HasPrefix(dep, "llmcall/provider") || strings.HasPrefix(dep, "llmcall/validate/") || strings.Contains(dep, "openai") {
			t.Errorf("llmcall needs %s", dep)
		}
	}
}
