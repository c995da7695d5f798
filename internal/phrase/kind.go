package phrase

import "strings"

// The kinds of values, as the type of a JSON Schema has them.
const (
	Array       = "an array"
	Boolean     = "true or false"
	WholeNumber = "an integer"
	Null        = "null"
	Number      = "a number"
	Object      = "an object"
	String      = "a string"
)

// TypeNames are the kinds by the names of the types.
var TypeNames = map[string]string{
	"array": Array, "boolean": Boolean, "integer": WholeNumber, "null": Null, "number": Number, "object": Object, "string": String,
}

// Kinds that say more than a type.
var (
	OneValue       = words("the value {text}")
	OneOf          = words("one of {text}")
	Like           = words("a string like {text}")
	WithProperty   = words(Object + " with the property {text}")
	WithProperties = words(Object + " with the properties {text}")
)

// Either writes that a value may be of one of several kinds.
func Either(kinds []string) string { return strings.Join(kinds, orElse) }

// FirstKind reads what Either writes, and returns the first of the kinds.
func FirstKind(kinds string) string {
	first, _, _ := strings.Cut(kinds, orElse)
	return first
}

const orElse = " or "
