package protocol

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxSchemaDepth bounds the nesting of a schema.
const maxSchemaDepth = 100

// fromGeminiSchema converts a schema in Gemini's form, a subset of OpenAPI 3.0
// (ai.google.dev/api/caching#Schema), to JSON Schema. It refuses unknown fields, as
// Gemini does.
func fromGeminiSchema(source json.RawMessage, field string) (json.RawMessage, *Error) {
	var v any
	if err := json.Unmarshal(source, &v); err != nil {
		return nil, &Error{Message: err.Error(), Param: field}
	}
	out, refused := jsonSchemaOf(v, field, 0)
	if refused != nil {
		return nil, refused
	}
	return json.RawMessage(marshal(out)), nil
}

// geminiKeywords are the fields of a schema and what they are in JSON Schema: ""
// for those that mean nothing to it.
var geminiKeywords = map[string]string{
	"type": "type", "format": "format", "title": "title", "description": "description", "nullable": "", "enum": "enum", "default": "default", "example": "",
	"maxItems": "maxItems", "minItems": "minItems", "minProperties": "minProperties", "maxProperties": "maxProperties", "minLength": "minLength", "maxLength": "maxLength",
	"minimum": "minimum", "maximum": "maximum", "pattern": "pattern", "properties": "properties", "required": "required", "propertyOrdering": "", "items": "items", "anyOf": "anyOf",
}

// geminiIntegers are written as texts by some clients, as protocol buffers write
// integers of 64 bits.
var geminiIntegers = []string{"maxItems", "minItems", "minProperties", "maxProperties", "minLength", "maxLength"}

func jsonSchemaOf(v any, field string, depth int) (any, *Error) {
	in, ok := v.(map[string]any)
	if !ok || depth > maxSchemaDepth {
		return nil, &Error{Message: "a schema is an object, nested less than a hundred deep", Param: field}
	}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		to, known := geminiKeywords[name]
		if !known {
			return nil, &Error{Message: fmt.Sprintf("Invalid JSON payload received. Unknown name %q at '%s': Cannot find field.", name, field)}
		}
		value := in[name]
		var refused *Error
		switch text, isText := value.(string); {
		case to == "":
			continue
		case name == "type" && isText:
			value = strings.ToLower(text)
		case name == "items":
			value, refused = jsonSchemaOf(value, field+".items", depth+1)
		case name == "anyOf":
			value, refused = jsonSchemasOf(value, field+".any_of", depth+1)
		case name == "properties":
			value, refused = jsonPropertiesOf(value, field+".properties", depth+1)
		case slices.Contains(geminiIntegers, name) && isText:
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				value = n
			}
		}
		if refused != nil {
			return nil, refused
		}
		out[to] = value
	}
	if in["nullable"] == true {
		return map[string]any{"anyOf": []any{out, map[string]any{"type": "null"}}}, nil
	}
	return out, nil
}

func jsonSchemasOf(v any, field string, depth int) (any, *Error) {
	in, _ := v.([]any)
	out := make([]any, len(in))
	for i, inner := range in {
		var refused *Error
		if out[i], refused = jsonSchemaOf(inner, fmt.Sprintf("%s[%d]", field, i), depth); refused != nil {
			return nil, refused
		}
	}
	return out, nil
}

func jsonPropertiesOf(v any, field string, depth int) (any, *Error) {
	in, _ := v.(map[string]any)
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		var refused *Error
		if out[name], refused = jsonSchemaOf(in[name], field+"["+name+"]", depth); refused != nil {
			return nil, refused
		}
	}
	return out, nil
}
