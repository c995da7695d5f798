package openai

import (
	"encoding/json"
	"slices"
)

// strict reports whether OpenAI accepts the schema with "strict": true, which
// forces the model to follow it: every object lists all of its properties as
// required and forbids others, and every keyword is in the subset of strict mode.
// Any other schema would be refused with a 400, so it is sent with "strict":
// false, as a hint. A keyword that the page does not mention counts as not
// accepted: a hint costs at most an attempt, a refusal costs the call. The page's
// limits of size (10 levels, 5000 properties) are left to OpenAI.
//
// Source: https://developers.openai.com/api/docs/guides/structured-outputs,
// "Supported schemas".
func strict(raw json.RawMessage) bool {
	var schema any
	if json.Unmarshal(raw, &schema) != nil {
		return false
	}
	root, ok := schema.(map[string]any)
	return ok && root["type"] == "object" && root["anyOf"] == nil && strictNode(root)
}

func strictNode(node any) bool {
	schema, ok := node.(map[string]any)
	if !ok {
		return false // true and false are schemas too
	}
	for keyword, value := range schema {
		if !strictKeyword(keyword, value) {
			return false
		}
	}
	types, _ := schema["type"].([]any)
	if schema["type"] != "object" && !slices.Contains(types, "object") && schema["properties"] == nil {
		return true
	}
	properties, ok := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for name := range properties {
		if !slices.Contains(required, any(name)) {
			return false
		}
	}
	return ok && schema["additionalProperties"] == false
}

func strictKeyword(keyword string, value any) bool {
	switch keyword {
	case "$schema", "title", "description", "type", "enum", "const", "$ref", "required", "additionalProperties", "pattern",
		"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "minItems", "maxItems":
		return true
	case "format":
		return slices.Contains(strictFormats, value)
	case "items":
		return strictNode(value)
	case "anyOf":
		nodes, ok := value.([]any)
		return ok && !slices.ContainsFunc(nodes, func(node any) bool { return !strictNode(node) })
	case "properties", "$defs", "definitions":
		nodes, ok := value.(map[string]any)
		for _, node := range nodes {
			ok = ok && strictNode(node)
		}
		return ok
	}
	return false
}

var strictFormats = []any{"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
