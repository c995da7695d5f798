// Command rename gives the module in the working directory another path: in its
// go.mod files, in imports, and where texts name its packages.
//
//	go run ./internal/rename example.org/you/llmcall
package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: rename MODULE")
		os.Exit(2)
	}
	n, err := rename(".", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "rename:", err)
		os.Exit(1)
	}
	fmt.Printf("%d files changed; run gofmt, and go test ./...\n", n)
}

// rename gives the module in a directory, and the modules below it, another path.
// It returns how many files were changed.
func rename(dir, to string) (changed int, err error) {
	if err := module.CheckPath(to); err != nil {
		return 0, err
	}
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return 0, err
	}
	r := renamer{from: modfile.ModulePath(data), to: to}
	if r.from == "" {
		return 0, fmt.Errorf("go.mod names no module")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var folders []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			folders = append(folders, regexp.QuoteMeta(e.Name()))
		}
	}
	// A package of the module, if it isn't part of a longer path.
	r.packages = regexp.MustCompile(`(^|[^\w./-])` + regexp.QuoteMeta(r.from) + `/(` + strings.Join(folders, "|") + `)\b`)
	r.imports = regexp.MustCompile(`(?m)^(\s*(?:import )?(?:[\w.]+ )?")` + regexp.QuoteMeta(r.from) + `"`)
	r.modules = regexp.MustCompile(`(?m)(^|\s)` + regexp.QuoteMeta(r.from) + `(/|\s|$)`)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != dir && (strings.HasPrefix(name, ".") || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		was, err := r.rewrite(path)
		if was {
			changed++
		}
		return err
	})
	return changed, err
}

type renamer struct {
	from, to                   string
	packages, imports, modules *regexp.Regexp
}

// rewrite rewrites one file, and reports whether it changed.
func (r *renamer) rewrite(path string) (bool, error) {
	kind := filepath.Ext(path)
	if !slices.Contains([]string{".go", ".mod", ".md", ".yaml"}, kind) {
		return false, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	before := string(data)
	text := before
	switch kind {
	case ".mod":
		text = r.modules.ReplaceAllString(text, "${1}"+r.to+"${2}")
	case ".go":
		if text, err = r.importsOf(path, text); err != nil {
			return false, err
		}
		text = r.packages.ReplaceAllString(text, "${1}"+r.to+"/${2}")
	default:
		text = r.packages.ReplaceAllString(r.imports.ReplaceAllString(text, "${1}"+r.to+`"`), "${1}"+r.to+"/${2}")
	}
	if text == before {
		return false, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return true, os.WriteFile(path, []byte(text), info.Mode().Perm())
}

// importsOf rewrites the imports of the module's root: its path is a word that may
// be in other texts too.
func (r *renamer) importsOf(path, text string) (string, error) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, text, parser.ImportsOnly)
	if err != nil {
		return "", err
	}
	for _, spec := range slices.Backward(f.Imports) {
		if spec.Path.Value == strconv.Quote(r.from) {
			at := files.Position(spec.Path.Pos()).Offset
			text = text[:at] + strconv.Quote(r.to) + text[at+len(spec.Path.Value):]
		}
	}
	return text, nil
}
