package schemagen

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Broken makes a value that fits the schema except in one place: at, or one that r
// chooses. If possible, the validator complains only about that place; for a value that
// fits no branch of an anyOf it complains about each branch.
func (s *Schema) Broken(ctx context.Context, at *string, r *rand.Rand) (any, error) {
	var want []string
	if at != nil {
		want, _ = Tokens(*at) // the plan's check parsed it
	}
	fuel := maxWork
	var last error
	for range 10 { // a chosen branch may not have such a place
		v, err := s.invent(ctx, want, r)
		if err != nil {
			return nil, err
		}
		candidates := [][]string{want}
		if at == nil {
			candidates = places(v, r)
		} else if _, ok := Lookup(v, want); !ok {
			last = fmt.Errorf("no answer that fits the schema has a place %s", *at)
			continue
		}
		for _, place := range candidates {
			bad, ok, err := s.breakPlace(v, place, &fuel)
			if ok || err != nil {
				return bad, err
			}
		}
		last = fmt.Errorf("the schema takes any value at all")
		if at != nil {
			last = fmt.Errorf("the schema takes any value at %q", *at)
		}
	}
	return nil, last
}

// breakPlace replaces the value at a place by one that the schema refuses, if possible
// only there.
func (s *Schema) breakPlace(v any, place []string, fuel *int) (bad any, ok bool, err error) {
	old, _ := Lookup(v, place)
	for _, with := range mistakes(old) {
		changed := replaced(v, place, with)
		at, err := s.violations(changed, fuel)
		if err != nil {
			return nil, false, err
		}
		if slices.Equal(at, []string{pointer(place)}) {
			return changed, true, nil
		}
		if len(at) > 0 && !ok {
			bad, ok = changed, true
		}
	}
	return bad, ok, nil
}

// mistakes returns what models write instead of a value, the most likely first: a number
// as a string, a null, a number out of its bounds, a list.
func mistakes(old any) []any {
	var first []any
	switch old := old.(type) {
	case json.Number:
		first = []any{old.String(), json.Number("-1000001"), json.Number("1000000001"), json.Number("0.123456789")}
	case string:
		first = []any{json.Number("42"), "?", "", old + " " + old + " and much more than that"}
	case bool:
		first = []any{strconv.FormatBool(old)}
	case []any:
		first = []any{"none", map[string]any{}}
	case map[string]any:
		first = []any{"none", []any{}}
	}
	return append(first, nil, "?", json.Number("-0.5"), true, []any{}, map[string]any{})
}

// places returns the paths to all places of a value in random order, the innermost first:
// a wrong number deep inside is more likely than no object at all.
func places(v any, r *rand.Rand) [][]string {
	var leaves, branches [][]string
	var walk func(v any, path []string)
	walk = func(v any, path []string) {
		path = slices.Clip(path)
		switch v := v.(type) {
		case map[string]any:
			branches = append(branches, path)
			for _, name := range sorted(v) {
				walk(v[name], append(path, name))
			}
		case []any:
			branches = append(branches, path)
			for i, item := range v {
				walk(item, append(path, strconv.Itoa(i)))
			}
		default:
			leaves = append(leaves, path)
		}
	}
	walk(v, nil)
	for _, paths := range [][][]string{leaves, branches} {
		r.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	}
	return append(leaves, branches...)
}
