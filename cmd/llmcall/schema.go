package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"llmcall/internal/nearest"
	"llmcall/internal/say"
	"llmcall/internal/yamlfile"
	"llmcall/validate"
)

// readSchema reads the file of --schema, JSON or YAML. A $ref to a file in its folder, or
// below, is replaced by one to a copy under $defs. A keyword that is not known is warned
// of, if it is a letter off a known one.
func readSchema(cmd *cobra.Command, path string) (validate.Strategy, json.RawMessage, error) {
	fail := func(err error) (validate.Strategy, json.RawMessage, error) {
		return nil, nil, fmt.Errorf("--schema %s: %w", path, err)
	}
	data, err := readFile(path, maxInput)
	if err != nil {
		return nil, nil, fmt.Errorf("--schema: %w", err)
	}
	root, err := yamlfile.Parse(data)
	if err != nil {
		return fail(atLine(err))
	}
	if root == nil {
		return fail(errors.New("must be a JSON Schema, got nothing"))
	}
	b, err := newBundle(path, root, cmd.ErrOrStderr())
	if err != nil {
		return fail(err)
	}
	if err := b.embed(root); err != nil {
		return fail(err)
	}
	if len(b.files) > 0 || !json.Valid(data) {
		if data, err = yamlfile.JSON(root); err != nil {
			return fail(atLine(err))
		}
	}
	check, err := validate.JSONSchema(data)
	if err != nil {
		return fail(err)
	}
	return check, data, nil
}

func atLine(err error) error {
	if e, ok := errors.AsType[*yamlfile.Error](err); ok && e.Line > 0 {
		return fmt.Errorf("line %d: %w", e.Line, err)
	}
	return err
}

// bundle is a schema with the files that it refers to.
type bundle struct {
	path, folder string
	base, within *url.URL // of the schema, and of its folder
	warn         io.Writer
	ids          map[string]bool // the URLs of the schemas within the file
	files        []*bundled
}

// bundled is a file that a schema refers to.
type bundled struct {
	target, id string // its URL by its place, and by its $id
	name       string // its key in $defs
	root       *yaml.Node
}

// newBundle looks at the schema of a file. Its base is its $id, else the file's path.
func newBundle(path string, root *yaml.Node, warn io.Writer) (*bundle, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	b := &bundle{path: path, folder: filepath.Dir(full), warn: warn, ids: map[string]bool{}}
	b.base = &url.URL{Scheme: "file", Path: filepath.ToSlash(full)}
	if id, err := url.Parse(textField(root, "$id")); err == nil && id.IsAbs() && id.Path != "" {
		b.base = id
	}
	b.base.Fragment = ""
	b.within = b.base.JoinPath("..", "/")
	b.warnOf(path, root)
	return b, nil
}

// textField returns a text of a mapping; "" if it has none.
func textField(n *yaml.Node, name string) string {
	if value := fieldValue(n, name); value != nil && value.Kind == yaml.ScalarNode {
		return value.Value
	}
	return ""
}

func fieldValue(n *yaml.Node, name string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// embed replaces each $ref to a file and adds the files to the schema.
func (b *bundle) embed(root *yaml.Node) error {
	b.collect(root, b.base, false)
	if err := b.rewrite(root, b.base, "", false); err != nil {
		return err
	}
	if len(b.files) == 0 {
		return nil
	}
	defs := fieldValue(root, "$defs")
	if defs == nil {
		defs = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		root.Content = append(root.Content, textNode("$defs"), defs)
	}
	for _, f := range b.files {
		for at := len(f.root.Content) - 2; at >= 0 && f.root.Kind == yaml.MappingNode; at -= 2 {
			if key := f.root.Content[at].Value; key == "$id" || key == "$schema" { // they are for a document of its own
				f.root.Content = slices.Delete(f.root.Content, at, at+2)
			}
		}
		defs.Content = append(defs.Content, textNode(f.name), f.root)
	}
	return nil
}

func textNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// notSchemas are the keywords whose values are data.
var notSchemas = []string{"enum", "const", "default", "examples", "example"}

// parts yields the places in a node's content where schemas may be, and whether the keys of
// what is there are names that anybody may choose, as those of properties are. names tells
// whether the node's own keys are.
func parts(n *yaml.Node, names bool) iter.Seq2[int, bool] {
	return func(yield func(int, bool) bool) {
		for i := range n.Content {
			inner := false
			if n.Kind == yaml.MappingNode {
				if i%2 == 0 {
					continue
				}
				key := n.Content[i-1].Value
				if !names && slices.Contains(notSchemas, key) {
					continue
				}
				inner = !names && slices.Contains(namedSchemas, key)
			}
			if !yield(i, inner) {
				return
			}
		}
	}
}

// baseOf returns the URL that the references in a schema are relative to, and whether it is
// the schema's own $id.
func baseOf(n *yaml.Node, outer *url.URL) (base *url.URL, own bool) {
	if text := textField(n, "$id"); text != "" {
		if id, err := outer.Parse(text); err == nil {
			return id, true
		}
	}
	return outer, false
}

// collect notes the URLs of the schemas within a file.
func (b *bundle) collect(n *yaml.Node, base *url.URL, names bool) {
	base, own := baseOf(n, base)
	if own {
		b.ids[withoutFragment(base)] = true
	}
	for i, inner := range parts(n, names) {
		b.collect(n.Content[i], base, inner)
	}
}

func withoutFragment(u *url.URL) string {
	bare := *u
	bare.Fragment, bare.RawFragment = "", ""
	return bare.String()
}

// rewrite replaces each $ref to a file, and in a file, whose key in $defs is name, those to
// itself.
func (b *bundle) rewrite(n *yaml.Node, base *url.URL, name string, names bool) error {
	// A file that another refers to is known by its place, whatever its $id.
	if !slices.ContainsFunc(b.files, func(f *bundled) bool { return f.root == n }) {
		base, _ = baseOf(n, base)
	}
	for i, inner := range parts(n, names) {
		child := n.Content[i]
		if n.Kind == yaml.MappingNode && n.Content[i-1].Value == "$ref" && child.Kind == yaml.ScalarNode {
			ref, err := b.refer(child.Value, base, name)
			if err != nil {
				return fmt.Errorf("line %d: $ref %q: %w", child.Line, say.Short(child.Value, 100), err)
			}
			n.Content[i] = textNode(ref)
			continue
		}
		if err := b.rewrite(child, base, name, inner); err != nil {
			return err
		}
	}
	return nil
}

// refer returns what a $ref must be in the bundle.
func (b *bundle) refer(ref string, base *url.URL, name string) (string, error) {
	u, err := base.Parse(ref)
	if err != nil {
		return ref, nil // the check's error
	}
	target := withoutFragment(u)
	switch {
	case target == b.base.String():
		return "#" + u.EscapedFragment(), nil
	case name == "" && b.ids[target]:
		return ref, nil
	}
	for _, f := range b.files {
		if f.target == target || f.id == target {
			return f.at(u), nil
		}
	}
	if strings.HasPrefix(ref, "#") { // in a schema with an $id, within a file
		if name != "" {
			return "", errors.New("is in a schema with an $id of its own: write the address of the file before the #")
		}
		return ref, nil
	}
	inside, ok := strings.CutPrefix(target, b.within.String())
	if !ok {
		if u.Scheme == "file" {
			return "", fmt.Errorf("is outside of the schema's folder, %s", b.folder)
		}
		return ref, nil // the check knows the drafts, and loads nothing
	}
	f, err := b.load(inside, target)
	if err != nil {
		return "", err
	}
	if err := b.rewrite(f.root, u, f.name, false); err != nil {
		return "", fmt.Errorf("%s: %w", f.name, err)
	}
	return f.at(u), nil
}

// at returns the reference to a part of a file in the bundle.
func (f *bundled) at(u *url.URL) string {
	if anchor := u.EscapedFragment(); anchor != "" && !strings.HasPrefix(anchor, "/") {
		return "#" + anchor
	}
	place := url.URL{Fragment: say.Pointer("$defs", f.name)}
	return place.String() + u.EscapedFragment()
}

// load reads a file in the schema's folder. A symbolic link does not lead out of it.
func (b *bundle) load(inside, target string) (*bundled, error) {
	name, err := url.PathUnescape(inside)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(b.folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = fmt.Errorf("%s: %w", filepath.Join(b.folder, filepath.FromSlash(name)), e.Err)
		}
		return nil, err
	}
	defer file.Close()
	content, err := readAll(file, name, maxInput)
	if err != nil {
		return nil, err
	}
	n, err := yamlfile.Parse(content)
	if err == nil && n == nil {
		err = errors.New("must be a JSON Schema, got nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, atLine(err))
	}
	f := &bundled{target: target, name: name, root: n}
	if id := textField(n, "$id"); id != "" {
		if u, err := url.Parse(target); err == nil {
			if u, err = u.Parse(id); err == nil {
				f.id = withoutFragment(u)
			}
		}
	}
	b.files = append(b.files, f)
	b.warnOf(name, n)
	return f, nil
}

// keywords are those of the drafts 4 to 2020-12, and what OpenAPI and providers add.
var keywords = strings.Fields(`
	$schema $id id $ref $anchor $dynamicRef $dynamicAnchor $recursiveRef $recursiveAnchor $vocabulary $comment $defs definitions
	type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern format
	items prefixItems additionalItems unevaluatedItems contains maxContains minContains maxItems minItems uniqueItems
	properties patternProperties additionalProperties unevaluatedProperties propertyNames required maxProperties minProperties
	dependencies dependentRequired dependentSchemas allOf anyOf oneOf not if then else
	title description default examples deprecated readOnly writeOnly contentEncoding contentMediaType contentSchema
	nullable discriminator example externalDocs xml propertyOrdering`)

// formatNames are the formats that are checked; any other means nothing.
var formatNames = strings.Fields(`
	date time date-time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference iri iri-reference
	uri-template uuid period semver json-pointer relative-json-pointer regex`)

// The keywords that have schemas: in a mapping of names, or themselves or in a list.
var (
	namedSchemas = []string{"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
	innerSchemas = []string{
		"items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "additionalProperties", "unevaluatedProperties",
		"propertyNames", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "contentSchema",
	}
)

// warnOf warns of keywords that are a letter off a known one: a validator ignores those
// that it does not know, so that "requierd" would require nothing.
func (b *bundle) warnOf(file string, schema *yaml.Node) {
	if schema.Kind == yaml.SequenceNode {
		for _, item := range schema.Content {
			b.warnOf(file, item)
		}
	}
	if schema.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(schema.Content); i += 2 {
		key, value := schema.Content[i], schema.Content[i+1]
		switch {
		case slices.Contains(namedSchemas, key.Value):
			for j := 1; j < len(value.Content); j += 2 {
				b.warnOf(file, value.Content[j])
			}
		case slices.Contains(innerSchemas, key.Value):
			b.warnOf(file, value)
		case key.Value == "format" && !slices.Contains(formatNames, value.Value):
			b.warnNear(file, "format", value, formatNames)
		case !slices.Contains(keywords, key.Value):
			b.warnNear(file, "keyword", key, keywords)
		}
	}
}

// warnNear warns of an unknown name that is a letter off a known one.
func (b *bundle) warnNear(file, what string, given *yaml.Node, names []string) {
	for _, known := range names {
		if (len(known) > 3 || known == "uri") && nearest.Edits(strings.ToLower(given.Value), strings.ToLower(known)) <= 1 {
			fmt.Fprintf(b.warn, "llmcall: warning: --schema: %s:%d: unknown %s %q, did you mean %s? It is ignored\n", printable(file), given.Line, what, printable(given.Value), known)
			return
		}
	}
}
