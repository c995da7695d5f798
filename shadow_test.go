package llmcall_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A name that a reader meets in a function means one thing.
func TestNoLocalHasTheNameOfAFunctionOfItsPackage(t *testing.T) {
	for _, line := range goList(t, "-f", "{{.ImportPath}} {{.Dir}} {{join .GoFiles \" \"}}", "./...") {
		fields := strings.Fields(line)
		pkg, dir, files := fields[0], fields[1], fields[2:]
		if names := shadows(t, pkg, dir, files); len(names) > 0 {
			t.Errorf("%s: locals have the name of a function, a type or an import:\n%s", pkg, strings.Join(names, "\n"))
		}
	}
}

// shadows returns the places of such locals. Packages are checked alone: what they
// import is not needed to know what their own names are.
func shadows(t *testing.T, name, dir string, names []string) []string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	imports := map[string][]string{} // by file
	for _, file := range names {
		f, err := parser.ParseFile(fset, filepath.Join(dir, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		for _, i := range f.Imports {
			local := packageName(strings.Trim(i.Path.Value, `"`))
			if i.Name != nil {
				local = i.Name.Name
			}
			imports[file] = append(imports[file], local)
		}
	}
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: emptyPackages{}, Error: func(error) {}} // errors are those of the empty packages
	pkg, _ := config.Check(name, fset, files, info)
	var found []string
	for id, object := range info.Defs {
		at := fset.Position(id.Pos())
		if id.Name == "_" || !isLocal(object, pkg) && !isSymbolOfSwitch(object, id, files) {
			continue
		}
		meant := pkg.Scope().Lookup(id.Name)
		_, function := meant.(*types.Func)
		_, named := meant.(*types.TypeName)
		if function || named || slices.Contains(imports[filepath.Base(at.Filename)], id.Name) {
			found = append(found, at.String()+": "+id.Name)
		}
	}
	slices.Sort(found)
	return found
}

func isLocal(object types.Object, pkg *types.Package) bool {
	switch o := object.(type) {
	case *types.Var:
		return !o.IsField() && o.Parent() != pkg.Scope()
	case *types.Const, *types.TypeName:
		return o.Parent() != pkg.Scope()
	}
	return false
}

// isSymbolOfSwitch reports whether an identifier is the x of "switch x := y.(type)",
// which is no object of its own, and not the name of a package.
func isSymbolOfSwitch(object types.Object, id *ast.Ident, files []*ast.File) bool {
	return object == nil && !slices.ContainsFunc(files, func(f *ast.File) bool { return f.Name == id })
}

// packageName is what a package is called, as far as its path tells.
func packageName(importPath string) string {
	return path.Base(regexp.MustCompile(`/v[0-9]+$`).ReplaceAllString(importPath, ""))
}

// emptyPackages takes each import for a package with nothing in it.
type emptyPackages struct{}

func (emptyPackages) Import(importPath string) (*types.Package, error) {
	p := types.NewPackage(importPath, packageName(importPath))
	p.MarkComplete()
	return p, nil
}
