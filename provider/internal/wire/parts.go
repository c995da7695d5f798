package wire

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"llmcall/llm"
)

// Is reports whether a part is a T.
func Is[T llm.Part](p llm.Part) bool {
	_, ok := p.(T)
	return ok
}

// IsText is [Is] for text.
func IsText(p llm.Part) bool { return Is[llm.Text](p) }

// Only returns an error if the message has a part of a kind that its role can't have. A
// message without parts is left for the provider to judge, except one of a tool, which
// would vanish.
func Only(message llm.Message, fits func(llm.Part) bool, what string) error {
	if len(message.Parts) == 0 && message.Role == llm.RoleTool {
		return fmt.Errorf("must have %s, has no parts", what)
	}
	for i, p := range message.Parts {
		if !fits(p) {
			return fmt.Errorf("parts[%d]: must be %s, got %T", i, what, p)
		}
	}
	return nil
}

// UnknownRole returns the error of a message whose role no provider has.
func UnknownRole() error {
	return fmt.Errorf("role must be %s, %s, %s or %s", llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool)
}

// CheckSchema returns an error if a schema is not one that a request can have: a JSON
// object in valid UTF-8. true and false are schemas too, but no provider takes them.
func CheckSchema(schema json.RawMessage) error {
	return checkObject(schema, "a JSON Schema that is a JSON object")
}

// CheckObject returns an error if raw is not a JSON object in valid UTF-8.
func CheckObject(raw json.RawMessage) error { return checkObject(raw, "a JSON object") }

func checkObject(raw json.RawMessage, what string) error {
	var valid json.RawMessage
	if err := json.Unmarshal(raw, &valid); err != nil {
		return fmt.Errorf("must be %s: %w", what, err)
	}
	switch kind := typeOf(gjson.ParseBytes(raw)); {
	case kind == "null":
		return fmt.Errorf("must be %s, not null", what)
	case kind != "object":
		return fmt.Errorf("must be %s, not a JSON %s", what, kind)
	case !utf8.Valid(raw):
		return fmt.Errorf("must be %s in valid UTF-8", what)
	}
	return nil
}
