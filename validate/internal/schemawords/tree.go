package schemawords

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// violation is one place where a value breaks a schema.
type violation struct {
	at     []string // the tokens of its JSON pointer
	kind   any      // a jsonschema.ErrorKind, or alternatives
	schema string   // where the schema says so
	within []violation
}

// alternatives is the violation of anyOf or oneOf where none of the branches
// is clearly the one that was meant.
type alternatives struct{ branches [][]violation }

// prune leaves out the alternatives that are let pass and not wanted: those that the schema
// calls deprecated.
func (w words) prune(e *jsonschema.ValidationError) {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		wanted := slices.DeleteFunc(slices.Clone(e.Causes), func(cause *jsonschema.ValidationError) bool {
			deprecated, _ := w.keyword(cause.SchemaURL, "deprecated")
			return deprecated == true
		})
		if len(wanted) > 0 {
			e.Causes = wanted
		}
	}
	for _, cause := range e.Causes {
		w.prune(cause)
	}
}

// gather returns the leaves of the tree, in order.
func gather(e *jsonschema.ValidationError) []violation {
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		return gatherAll(e.Causes)
	case *kind.AnyOf:
		return closest(e)
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			return closest(e)
		}
	}
	v := violation{at: e.InstanceLocation, kind: e.ErrorKind, schema: e.SchemaURL}
	switch e.ErrorKind.(type) {
	case *kind.PropertyNames:
		// The library (v6.0.3) does not copy this one path, and writes others
		// over it; fault looks for the place.
		v.at = nil
		v.within = gatherAll(e.Causes)
	case *kind.Contains, *kind.MinContains:
		v.within = nearestCause(e.Causes)
	}
	return []violation{v}
}

func gatherAll(causes []*jsonschema.ValidationError) []violation {
	var found []violation
	for _, cause := range causes {
		found = append(found, gather(cause)...)
	}
	if len(causes) > 1 {
		slices.SortStableFunc(found, compare)
	}
	return found
}

// nearestCause returns the violations of the cause that has the fewest.
func nearestCause(causes []*jsonschema.ValidationError) []violation {
	var best []violation
	for _, cause := range causes {
		if found := gather(cause); best == nil || len(found) < len(best) {
			best = found
		}
	}
	return best
}

// How far a branch is from what was meant: a value of another type is not
// an attempt at it, and one with another constant is an attempt at another member
// of a union whose members name themselves.
const (
	otherConstant = 1_000
	otherType     = 1_000_000
)

// closest returns the violations of the branch of an anyOf or oneOf that was
// clearly meant: the only one of the right type, or the nearest of those that
// have the right constants too. Where there is no such branch, it returns one
// violation that stands for all of them.
func closest(e *jsonschema.ValidationError) []violation {
	branches := make([][]violation, len(e.Causes))
	distances := make([]int, len(e.Causes))
	for i, cause := range e.Causes {
		branches[i] = gather(cause)
		distances[i] = distance(branches[i], len(e.InstanceLocation))
	}
	if len(branches) < 2 {
		return slices.Concat(branches...)
	}
	sorted := slices.Sorted(slices.Values(distances))
	if least, next := sorted[0], sorted[1]; least < next && (least < otherConstant || least < otherType && next >= otherType) {
		return branches[slices.Index(distances, least)]
	}
	if v, ok := merge(branches); ok {
		return []violation{v}
	}
	return []violation{{at: e.InstanceLocation, kind: alternatives{branches}, schema: e.SchemaURL}}
}

func distance(branch []violation, depth int) int {
	sum := len(branch)
	for _, v := range branch {
		here := len(v.at) == depth
		switch k := v.kind.(type) {
		case *kind.Type, alternatives:
			if here {
				sum += otherType
			}
		case *kind.Const:
			if here {
				sum += otherType
			} else {
				sum += otherConstant
			}
		case *kind.Enum:
			if here {
				sum += otherType
			} else if len(k.Want) == 1 {
				sum += otherConstant
			}
		case *kind.Required:
			sum += len(k.Missing) - 1
		}
	}
	return sum
}

// merge makes one violation of branches that each want another type, or another
// constant, of one and the same value.
func merge(branches [][]violation) (violation, bool) {
	var merged violation
	for i, branch := range branches {
		j := slices.IndexFunc(branch, func(v violation) bool {
			switch v.kind.(type) {
			case *kind.Const, *kind.Enum:
				return true
			case *kind.Type:
				return len(branch) == 1
			}
			return false
		})
		if j < 0 || i > 0 && !slices.Equal(branch[j].at, merged.at) {
			return merged, false
		}
		v := branch[j]
		if c, ok := v.kind.(*kind.Const); ok {
			v.kind = &kind.Enum{Got: c.Got, Want: []any{c.Want}}
		}
		if i == 0 {
			merged = v
			continue
		}
		switch k := v.kind.(type) {
		case *kind.Enum:
			before, ok := merged.kind.(*kind.Enum)
			if !ok {
				return merged, false
			}
			merged.kind = &kind.Enum{Got: before.Got, Want: slices.Concat(before.Want, k.Want)}
		case *kind.Type:
			before, ok := merged.kind.(*kind.Type)
			if !ok {
				return merged, false
			}
			merged.kind = &kind.Type{Got: before.Got, Want: slices.Concat(before.Want, k.Want)}
		}
	}
	return merged, true
}

// compare orders violations by place: items by number, properties by name, and
// names that are numbers before those that are not.
func compare(a, b violation) int {
	byPlace := slices.CompareFunc(a.at, b.at, func(x, y string) int {
		i, errX := strconv.Atoi(x)
		j, errY := strconv.Atoi(y)
		switch {
		case errX == nil && errY == nil && i != j:
			return cmp.Compare(i, j)
		case errX == nil && errY != nil:
			return -1
		case errX != nil && errY == nil:
			return 1
		}
		return strings.Compare(x, y)
	})
	if byPlace != 0 {
		return byPlace
	}
	return cmp.Or(
		strings.Compare(a.schema, b.schema),
		strings.Compare(fmt.Sprintf("%T", a.kind), fmt.Sprintf("%T", b.kind)),
		strings.Compare(propertyOf(a.kind), propertyOf(b.kind)),
	)
}

// propertyOf tells apart violations of one kind at one place.
func propertyOf(k any) string {
	switch k := k.(type) {
	case *kind.PropertyNames:
		return k.Property
	case *kind.Dependency:
		return k.Prop
	case *kind.DependentRequired:
		return k.Prop
	}
	return ""
}
