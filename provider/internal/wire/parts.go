package wire

import (
	"fmt"

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
