package account

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A schema is not sent as it was given. Strict decoders want each object to be closed and
// all of its properties to be required, which are then nullable, and references with other
// keywords beside them are replaced by what they refer to.
const (
	schemaForms  = 2       // for escapes, and for names that are listed again
	perSchema    = 80      // `"additionalProperties":false`, `"required":[]` and `{"type":"null"}`
	mostReplaced = 1 << 20 // bytes; a schema that would become longer keeps its references
)

// mostOfSchema returns how many tokens a schema can be at most.
func mostOfSchema(schema json.RawMessage) int64 {
	s := schemaSize{bytes: int64(len(schema)), objects: int64(bytes.Count(schema, []byte("{")))}
	if bytes.Contains(schema, []byte(`"$ref"`)) {
		var root any
		if json.Unmarshal(schema, &root) == nil {
			long := schemaSize{root: root}
			if long.add(root, nil); long.bytes <= mostReplaced {
				s.bytes, s.objects = max(s.bytes, long.bytes), max(s.objects, long.objects)
			}
		}
	}
	return schemaForms*s.bytes + perSchema*s.objects
}

// schemaSize measures a schema with its references replaced.
type schemaSize struct {
	root           any
	bytes, objects int64
}

// add measures a part of the schema; within has the references that led there.
func (s *schemaSize) add(node any, within []string) {
	if s.bytes > mostReplaced {
		return
	}
	switch v := node.(type) {
	case map[string]any:
		s.bytes += 2
		s.objects++
		for name, value := range v {
			s.bytes += int64(len(name)) + 4
			defined, ok := value.(map[string]any)
			if !ok || name != "$defs" && name != "definitions" {
				s.add(value, within)
				continue
			}
			s.bytes += 2
			for of, definition := range defined {
				s.bytes += int64(len(of)) + 4
				s.add(definition, append(slices.Clip(within), "#/"+name+"/"+of))
			}
		}
		to, ok := v["$ref"].(string)
		if !ok || slices.Contains(within, to) || to == "#" || len(v) == 1 && toDefinition.MatchString(to) {
			return
		}
		if target, ok := s.find(to); ok {
			s.add(target, append(slices.Clip(within), to))
		}
	case []any:
		s.bytes += 2
		for _, value := range v {
			s.bytes++
			s.add(value, within)
		}
	case string:
		s.bytes += int64(len(v)) + 2
	default:
		s.bytes += 24 // a number, true, false or null
	}
}

// toDefinition matches a reference that may stay if nothing is beside it.
var toDefinition = regexp.MustCompile(`^#/(?:\$defs|definitions)/[^/~%]+$`)

// find returns what a JSON pointer refers to.
func (s *schemaSize) find(reference string) (any, bool) {
	pointer, ok := strings.CutPrefix(reference, "#/")
	if !ok {
		return nil, false
	}
	node := s.root
	for token := range strings.SplitSeq(pointer, "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch v := node.(type) {
		case map[string]any:
			if node, ok = v[token]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			node = v[i]
		default:
			return nil, false
		}
	}
	return node, true
}
