package phrase

import "strings"

const (
	valueToo  = ", with the value {text}"
	withValue = "[" + valueToo + "]"
)

// WithValue goes on after [AddProperty], [PutObject] and [RenameTo].
var WithValue = words(valueToo)

// What is to be done with an object.
var (
	// AddProperty takes the property, and perhaps the value that it must have.
	AddProperty     = fix("add the property {text}" + withValue)
	AddProperties   = fix("add the properties {text}")
	PutObject       = fix("put an object with the property {quoted} there" + withValue)
	RenameTo        = fix("write the name as {quoted}" + withValue)
	LeastProperties = fix("give it at least {n property|properties}")
	MostProperties  = fix("give it at most {n property|properties}")
)

// What is to be done with a value.
var (
	LeaveOut        = fix("leave it out")
	LeaveThemOut    = fix("leave them out")
	RenameOrLeave   = fix("rename it or leave it out")
	NumberUnquoted  = fix("write it without quotes")
	LiteralUnquoted = fix("write it as {literal}, without quotes")
	JSONUnquoted    = fix("write it as JSON, not as a string that holds JSON")
	Quoted          = fix("write it as a string, in double quotes")
	Put             = fix("put {text} there")
	Add             = fix("add it")
	UseOneOf        = fix("use one of {text}")
	MakeIt          = fix("make it {json}")
	UnlikeSchema    = fix("change it so that it does not fit the schema {text}")
	JustOne         = fix("change it so that it fits just one of them[: {text}]")
	Holds           = fix("answer so that this holds: {text}")
)

// What is to be done with an array.
var (
	LeastItems    = fix("give it at least {n item|items}[, each {text}]")
	MostItems     = fix("give it at most {n item|items}")
	LeaveLast     = fix("leave out the last {n}")
	DistinctItems = fix("keep each item once")
	MissingItems  = fix("add the items that are missing")
	AddItem       = fix("add an item that fits the schema {text}")
	AddItems      = fix("add {n item|items} that fit the schema {text}")
	LeaveItems    = fix("leave out {n} of the items that fit the schema {text}")
)

// Problems that say what a fix does not.
var (
	NoProperty           = words("the object has no property {quoted}[, but has {text}]")
	PropertyNotAllowed   = words("the property {text} is not allowed")
	PropertiesNotAllowed = words("the properties {text} are not allowed")
	NameNotAllowed       = words("the property name {quoted} is not allowed[: {text}]")
)

// Bound is what holds a number.
type Bound struct{ words, make *Phrase }

// The bounds of a number.
var (
	AtLeast    = bound("at least")
	MoreThan   = bound("more than")
	AtMost     = bound("at most")
	LessThan   = bound("less than")
	MultipleOf = bound("a multiple of")
)

// Bounds are all of them.
var Bounds = []Bound{AtLeast, MoreThan, AtMost, LessThan, MultipleOf}

func bound(name string) Bound {
	return Bound{words(name + " {number}"), fix("make it " + name + " {number}")}
}

// Of writes the bound for a number, as it is written in decimal.
func (b Bound) Of(number string) string { return b.words.Of(number) }

// Make writes that a number is to be made so.
func (b Bound) Make(number string) string { return b.make.Of(number) }

// Find returns the number for which a text has the bound.
func (b Bound) Find(text string) (number string, ok bool) {
	values, ok := b.words.Find(text)
	if !ok {
		return "", false
	}
	return strings.TrimRight(values[0], "."), true
}
