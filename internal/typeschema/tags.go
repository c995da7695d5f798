package typeschema

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/nearest"
)

// rule is a keyword in the tag jsonschema of a field.
type rule struct{ key, value string }

// tagRules are those of one field, in their order.
type tagRules struct {
	list                        []rule
	description                 string
	extras                      []rule
	required, nullable, ignored bool
}

func (r tagRules) all(key string) []string {
	var values []string
	for _, one := range r.list {
		if one.key == key {
			values = append(values, one.value)
		}
	}
	return values
}

// keyword says what a keyword is for.
type keyword struct {
	is  []string // the types of JSON that have it; nil for all
	set func(n *node, r rule) error
}

var keywords map[string]keyword

func init() {
	note := func(n *node, r rule) error { n.set(r.key, r.value); return nil }
	texts, numbers, arrays, objects := []string{"string"}, []string{"number", "integer"}, []string{"array"}, []string{"object"}
	keywords = map[string]keyword{
		"title": {nil, note}, "description": {nil, note},
		"readOnly": {nil, setFlag}, "writeOnly": {nil, setFlag}, "deprecated": {nil, setFlag},
		"type": {nil, setType}, "oneof_type": {nil, setTypes}, "anyof_type": {nil, setTypes},
		"enum":    {append(texts, "number", "integer", "boolean"), addTo("enum")},
		"default": {append(texts, "number", "integer", "boolean"), setValue}, "example": {append(texts, "number", "integer", "boolean"), addTo("examples")},
		"minLength": {texts, setCount}, "maxLength": {texts, setCount}, "pattern": {texts, setPattern}, "format": {texts, setFormat},
		"multipleOf": {numbers, setStep}, "minimum": {numbers, setBound}, "maximum": {numbers, setBound},
		"exclusiveMinimum": {numbers, setBound}, "exclusiveMaximum": {numbers, setBound},
		"minItems": {arrays, setCount}, "maxItems": {arrays, setCount}, "uniqueItems": {arrays, setFlag},
		"minProperties": {objects, setCount}, "maxProperties": {objects, setCount},
	}
}

// flags have no value, and groups are of the struct that has the field.
var (
	flags  = []string{"required", "nullable", "uniqueItems"}
	groups = map[string]string{"oneof_required": "oneOf", "anyof_required": "anyOf"}
)

func knownKeywords() []string {
	names := append([]string(nil), flags...)
	for name := range groups {
		names = append(names, name)
	}
	for name := range keywords {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var tagNames = []string{"jsonschema", "jsonschema_description", "jsonschema_extras"}

// tagKeys finds the names in a struct's tag, as the convention of package reflect has
// them.
var tagKeys = regexp.MustCompile(`(?:^| )([^\s":]+):\s*"`)

// rulesOf reads the tags of a field. The error says what is not known, and what to
// write instead.
func rulesOf(f Field) (tagRules, error) {
	var r tagRules
	if err := readable(f.Tag); err != nil {
		return r, err
	}
	r.description = f.Tag.Get("jsonschema_description")
	for _, part := range splitTag(f.Tag.Get("jsonschema_extras")) {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return r, fmt.Errorf("jsonschema_extras: %q must be key=value", part)
		}
		r.extras = append(r.extras, rule{key, value})
	}
	tag := f.Tag.Get("jsonschema")
	if tag == "-" {
		r.ignored = true
		return r, nil
	}
	before := ""
	for _, part := range splitTag(tag) {
		key, value, hasValue := strings.Cut(part, "=")
		key = strings.TrimSpace(key)
		_, isKeyword := keywords[key]
		_, isGroup := groups[key]
		switch {
		case !hasValue && slices.Contains(flags, key):
			value = "true"
		case !hasValue && (isKeyword || isGroup):
			return r, fmt.Errorf("%s must have a value: %s=…", key, key)
		case !isKeyword && !isGroup && (!hasValue || !slices.Contains(flags, key)):
			return r, unknownKeyword(key, part, before, hasValue)
		}
		before = key
		switch key {
		case "required", "nullable":
			on, err := strconv.ParseBool(value)
			if err != nil {
				return r, fmt.Errorf("%s must be true or false, got %q", key, value)
			}
			r.required, r.nullable = r.required || on && key == "required", r.nullable || on && key == "nullable"
		default:
			r.list = append(r.list, rule{key, value})
		}
	}
	if values := r.all("enum"); len(values) == 1 && strings.Contains(values[0], "|") {
		return r, fmt.Errorf("enum=%s is one value: write %s", values[0], "enum="+strings.ReplaceAll(values[0], "|", ",enum="))
	}
	return r, nil
}

// readable returns an error for a tag of ours or of encoding/json that is misspelt, or
// that package reflect can't find: it would do nothing.
func readable(tag reflect.StructTag) error {
	for _, m := range tagKeys.FindAllStringSubmatch(string(tag), -1) {
		name := m[1]
		_, near := nearest.Name(strings.ToLower(name), tagNames)
		if !slices.Contains(tagNames, name) && name != "json" {
			if near || strings.HasPrefix(name, "jsonschema") {
				return fmt.Errorf("unknown tag %s", nearest.Shown(name, tagNames))
			}
			continue // of another library
		}
		if _, ok := tag.Lookup(name); !ok {
			return fmt.Errorf("the tag %s can't be read: write key:\"value\" pairs with one space between them", name)
		}
	}
	_, options, _ := strings.Cut(tag.Get("json"), ",")
	for option := range strings.SplitSeq(options, ",") {
		if plain := strings.TrimSpace(option); option != plain || !slices.Contains(jsonOptions, option) {
			if _, near := nearest.Name(strings.ToLower(plain), jsonOptions); near {
				return fmt.Errorf("the tag json has the unknown option %s", nearest.Shown(option, jsonOptions))
			}
		}
	}
	return nil
}

// jsonOptions are those of encoding/json. Others may be for another library.
var jsonOptions = []string{"omitempty", "omitzero", "string"}

func unknownKeyword(key, part, before string, hasValue bool) error {
	if _, near := nearest.Name(strings.ToLower(key), knownKeywords()); near || hasValue {
		return fmt.Errorf("the tag jsonschema has the unknown keyword %s", nearest.Shown(key, knownKeywords()))
	}
	advice := "write a description as jsonschema_description:\"…\""
	switch before {
	case "description", "title":
		advice = "put a text with commas into jsonschema_description:\"…\", or write \\\\, for each comma"
	case "enum":
		advice = "write each value with its keyword: enum=a,enum=b"
	case "":
	default:
		advice = "write \\\\, for a comma within a value"
	}
	return fmt.Errorf("the tag jsonschema has %q without a keyword: %s", part, advice)
}

// splitTag splits at commas without a backslash before them, and leaves out what is
// empty.
func splitTag(tag string) []string {
	var parts []string
	var part strings.Builder
	end := func() {
		if strings.TrimSpace(part.String()) != "" {
			parts = append(parts, part.String())
		}
		part.Reset()
	}
	for i := 0; i < len(tag); i++ {
		switch {
		case tag[i] == '\\' && i+1 < len(tag) && tag[i+1] == ',':
			part.WriteByte(',')
			i++
		case tag[i] == ',':
			end()
		default:
			part.WriteByte(tag[i])
		}
	}
	end()
	return parts
}

// apply adds the keywords to the schema of a field; parent is that of its struct.
func (r tagRules) apply(n, parent *node, f Field) error {
	if r.description != "" {
		n.set("description", r.description)
	}
	for _, one := range r.list {
		if group, ok := groups[one.key]; ok {
			addToGroup(parent, group, one.value, f.Name)
			continue
		}
		if err := applyTo(n, one); err != nil {
			return err
		}
	}
	for _, extra := range r.extras {
		n.set(extra.key, extraValue(extra.value))
	}
	n.nullable = n.nullable || r.nullable
	return consistent(n)
}

// applyTo adds a keyword to a schema, or to that of its items or values if it is not
// for arrays and objects.
func applyTo(n *node, r rule) error {
	k := keywords[r.key]
	is := n.is()
	if k.is == nil || is == "" || slices.Contains(k.is, is) {
		if (r.key == "minProperties" || r.key == "maxProperties") && n.keywords["additionalProperties"] == nil {
			return fmt.Errorf("%s is for maps, and the properties of a struct are its fields", r.key)
		}
		if n.closed && r.key == "enum" {
			return errors.New("enum contradicts the values of EnumValues")
		}
		return k.set(n, r)
	}
	if is == "array" && r.key == "default" {
		return addDefault(n, r)
	}
	for _, inner := range []string{"items", "additionalProperties"} {
		if elem, ok := n.keywords[inner].(*node); ok {
			return applyTo(elem, r)
		}
	}
	return fmt.Errorf("%s is for %s, and the field has %s", r.key, strings.Join(plurals(k.is), " and "), cmp.Or(plural[is], "another type"))
}

var plural = map[string]string{
	"string": "strings", "number": "numbers", "integer": "integers", "boolean": "booleans", "array": "arrays", "object": "objects",
}

func plurals(names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = plural[name]
	}
	return all
}

func setFlag(n *node, r rule) error {
	on, err := strconv.ParseBool(r.value)
	if err != nil {
		return fmt.Errorf("%s must be true or false, got %q", r.key, r.value)
	}
	if on {
		n.set(r.key, true)
	}
	return nil
}

func setCount(n *node, r rule) error {
	count, err := strconv.ParseUint(r.value, 10, 31)
	if err != nil {
		return fmt.Errorf("%s must be a whole number >= 0, got %q", r.key, r.value)
	}
	if count > 0 && (r.key == "minItems" || r.key == "minProperties") {
		n.lenient = false // null would be too few
	}
	if length, ok := n.keywords[r.key]; ok && n.is() == "array" && fmt.Sprint(length) != r.value {
		return fmt.Errorf("%s=%s contradicts the length of the Go array, %v", r.key, r.value, length)
	}
	n.set(r.key, count)
	return nil
}

func setPattern(n *node, r rule) error {
	if _, err := regexp.Compile(r.value); err != nil {
		return fmt.Errorf("pattern must be a regular expression (write \\\\, for a comma in it): %w", err)
	}
	delete(n.checked, r.key)
	n.set(r.key, r.value)
	return nil
}

// setFormat refuses another format than that of a type whose decoder needs it.
func setFormat(n *node, r rule) error {
	if own, ok := n.keywords["format"]; ok && n.custom && own != r.value {
		return fmt.Errorf("format=%s contradicts the Go type, which is decoded from the format %v: make the field a string", r.value, own)
	}
	n.set(r.key, r.value)
	return nil
}

// setType is for fields whose Go type does not say: any, and types with JSON of their
// own.
func setType(n *node, r rule) error {
	if _, ok := plural[r.value]; !ok && r.value != "null" {
		return fmt.Errorf("type must be one of array, boolean, integer, null, number, object, string, got %q", r.value)
	}
	if is := n.is(); is != "" && is != r.value && !n.custom {
		return fmt.Errorf("type=%s contradicts the Go type, which has %s", r.value, plural[is])
	}
	delete(n.keywords, "anyOf")
	n.set("type", r.value)
	return nil
}

func setTypes(n *node, r rule) error {
	if is := n.is(); is != "" && !n.custom {
		return fmt.Errorf("%s contradicts the Go type, which has %s", r.key, plural[is])
	}
	var all []any
	for name := range strings.SplitSeq(r.value, ";") {
		one := &node{}
		if err := setType(one, rule{r.key, name}); err != nil {
			return err
		}
		all = append(all, one)
	}
	delete(n.keywords, "type")
	n.set("anyOf", all)
	return nil
}

// setBound sets the tighter one of a tag's bound and that of the Go type.
func setBound(n *node, r rule) error {
	if err := setNumber(r.key, r.value); err != nil {
		return err
	}
	upper := strings.HasSuffix(strings.ToLower(r.key), "maximum")
	for _, have := range []any{n.keywords[r.key], n.checked[r.key]} {
		if bound, ok := have.(json.Number); ok {
			if c := compare(json.Number(r.value), bound); upper && c > 0 || !upper && c < 0 {
				return nil
			}
		}
	}
	delete(n.checked, r.key)
	n.set(r.key, json.Number(r.value))
	return nil
}

func setStep(n *node, r rule) error {
	if err := setNumber(r.key, r.value); err != nil {
		return err
	}
	if compare(json.Number(r.value), "0") <= 0 {
		return fmt.Errorf("%s must be a number above 0, got %q", r.key, r.value)
	}
	n.set(r.key, json.Number(r.value))
	return nil
}

// setNumber reports whether a value is a number of JSON.
func setNumber(key, value string) error {
	var n json.Number
	if err := json.Unmarshal([]byte(value), &n); err != nil || strings.HasPrefix(value, `"`) {
		return fmt.Errorf("%s must be a number, got %q", key, value)
	}
	return nil
}

func compare(a, b json.Number) int {
	x, _ := new(big.Rat).SetString(string(a))
	y, _ := new(big.Rat).SetString(string(b))
	if x == nil || y == nil {
		return 0
	}
	return x.Cmp(y)
}

// valueFor reads a value in a tag for a schema's type.
func valueFor(n *node, r rule) (any, error) {
	var value any
	err := decode([]byte(r.value), &value)
	switch v := value.(type) {
	case json.Number:
		if is := n.is(); is == "number" || is == "" {
			return v, nil
		} else if _, whole := wholeNumber([]byte(v)); is == "integer" && whole {
			return v, nil
		}
	case bool:
		if is := n.is(); is == "boolean" || is == "" {
			return v, nil
		}
	}
	switch is := n.is(); is {
	case "string", "":
		return r.value, nil
	default:
		return nil, errors.Join(fmt.Errorf("%s must be one of the field's %s, got %q", r.key, plural[is], r.value), err)
	}
}

func setValue(n *node, r rule) error {
	value, err := valueFor(n, r)
	if err == nil {
		n.set(r.key, value)
	}
	return err
}

func addTo(key string) func(*node, rule) error {
	return func(n *node, r rule) error {
		value, err := valueFor(n, r)
		if err != nil {
			return err
		}
		list, _ := n.keywords[key].([]any)
		n.set(key, append(list, value))
		return nil
	}
}

// addDefault adds an item to the default of an array.
func addDefault(n *node, r rule) error {
	elem, ok := n.keywords["items"].(*node)
	if !ok {
		elem = &node{}
	}
	value, err := valueFor(elem, r)
	if err != nil {
		return err
	}
	list, _ := n.keywords["default"].([]any)
	n.set("default", append(list, value))
	return nil
}

// addToGroup makes a property required in one of the alternatives of its struct.
func addToGroup(parent *node, key, title, name string) {
	list, _ := parent.keywords[key].([]any)
	for _, one := range list {
		if group := one.(*node); group.keywords["title"] == title {
			group.set("required", append(group.keywords["required"].([]string), name))
			return
		}
	}
	group := with("title", title)
	group.set("required", []string{name})
	parent.set(key, append(list, group))
}

// extraValue is a value of jsonschema_extras.
func extraValue(text string) any {
	switch text {
	case "true":
		return true
	case "false":
		return false
	}
	if setNumber("", text) == nil {
		return json.Number(text)
	}
	return text
}

// consistent refuses bounds that no value is within: each attempt would be in vain.
func consistent(n *node) error {
	for _, pair := range [][2]string{{"minimum", "maximum"}, {"minLength", "maxLength"}, {"minItems", "maxItems"}, {"minProperties", "maxProperties"}} {
		least, most := boundOf(n, pair[0]), boundOf(n, pair[1])
		if least != "" && most != "" && compare(least, most) > 0 {
			return fmt.Errorf("%s (%s) is more than %s (%s): no value can pass", pair[0], least, pair[1], most)
		}
	}
	for _, pair := range [][2]string{{"exclusiveMinimum", "maximum"}, {"minimum", "exclusiveMaximum"}, {"exclusiveMinimum", "exclusiveMaximum"}} {
		least, most := boundOf(n, pair[0]), boundOf(n, pair[1])
		if least != "" && most != "" && compare(least, most) >= 0 {
			return fmt.Errorf("%s (%s) is not less than %s (%s): no value can pass", pair[0], least, pair[1], most)
		}
	}
	for _, inner := range []string{"items", "additionalProperties"} {
		if elem, ok := n.keywords[inner].(*node); ok {
			return consistent(elem)
		}
	}
	return nil
}

func boundOf(n *node, key string) json.Number {
	value := n.keywords[key]
	if value == nil {
		value = n.checked[key]
	}
	if value == nil {
		return ""
	}
	return json.Number(fmt.Sprint(value))
}
