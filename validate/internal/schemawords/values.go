package schemawords

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"

	"llmcall/internal/say"
)

// Describe tells what is at a place in a value.
func Describe(value any, at []string) string {
	value, ok := Find(value, at)
	if !ok {
		return "the value"
	}
	switch v := value.(type) {
	case string:
		return "the string " + Show(v)
	case json.Number:
		return "the number " + Show(v)
	case []any:
		if len(v) == 0 {
			return "an empty array"
		}
		return "an array of " + say.Count(len(v), "item", "items")
	case map[string]any:
		if len(v) == 0 {
			return "an empty object"
		}
		return "an object with " + say.Count(len(v), "property", "properties")
	}
	return Show(value)
}

// Find returns what a path of tokens leads to.
func Find(value any, path []string) (any, bool) {
	for _, token := range path {
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[token]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// Show writes a value as JSON, shortened.
func Show(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(say.Short(v, 60))
	case json.Number:
		return say.Short(string(v), 60)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "a value"
	}
	return say.Short(string(text), 120)
}

// Whole is [Show] for what the model must write or read as it is: a part of it
// is of no use.
func Whole(value any) string {
	const longest = 400
	if text, ok := value.(string); ok {
		return strconv.Quote(say.Short(text, longest))
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "a value"
	}
	return say.Short(string(text), longest)
}

func number(n *big.Rat) string {
	if n.IsInt() {
		return say.Short(n.Num().String(), 60)
	}
	f, _ := n.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// Expected says what was expected at a place and what is there instead.
func Expected(what string, value any, at []string) string {
	return "expected " + what + ", got " + Describe(value, at)
}

// TooFew says that there are fewer of something than the minimum.
func TooFew(what string, got, want int) string {
	return fmt.Sprintf("too few %s: expected at least %d, got %d", what, want, got)
}

// TooMany says that there are more of something than the maximum.
func TooMany(what string, got, want int) string {
	return fmt.Sprintf("too many %s: expected at most %d, got %d", what, want, got)
}

func plural(names []string, one, many string) string {
	if len(names) == 1 {
		return fmt.Sprintf(one, List(names))
	}
	return fmt.Sprintf(many, List(names))
}

// List writes names in quotes; at most [say.MaxListed], and how many more there are.
func List(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(say.Short(name, 60))
	}
	return say.List(quoted, say.MaxListed)
}

func values(wanted []any) string {
	shown := make([]string, len(wanted))
	for i, v := range wanted {
		shown[i] = Show(v)
	}
	return say.List(shown, say.MaxListed)
}
