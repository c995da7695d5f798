package llmcall

import (
	"reflect"

	"llmcall/internal/typeschema"
)

// OneOf is an answer, or a part of one, that is an A or a B; with more types it is
// OneOf[A, OneOf[B, C]]. Value has the one that it is.
//
//	type Refund struct{ Amount int }
//	type Question struct{ Text string }
//
//	reply, _, err := llmcall.Ask[llmcall.OneOf[Refund, Question]](ctx, client, req)
//	switch r := reply.Value.(type) {
//	case Refund:
//	case Question:
//	}
//
// Its JSON is the object of the type with one more property, "type", that has the
// type's name: {"type": "Refund", "Amount": 5}. A type that has a property "type" of
// its own, a string with one value (jsonschema:"enum=refund"), is told by that value. A
// type that is not a struct, or decodes itself, is in a property of its own: {"type":
// "Level", "value": 3}. All types must have names, and the names must differ.
//
// The zero value has the Value nil, which is null in JSON.
type OneOf[A, B any] struct {
	_     typeschema.Union[A, B]
	Value any // an A or a B, or a type of one that is a OneOf itself
}

// MarshalJSON returns the JSON of the Value. The error says if that is of another type.
func (o OneOf[A, B]) MarshalJSON() ([]byte, error) {
	return typeschema.MarshalUnion(reflect.TypeFor[OneOf[A, B]](), o.Value)
}

// UnmarshalJSON sets the Value. The error says which types there are.
func (o *OneOf[A, B]) UnmarshalJSON(text []byte) (err error) {
	o.Value, err = typeschema.UnmarshalUnion(reflect.TypeFor[OneOf[A, B]](), text)
	return err
}

// Validate calls those of the Value and of what is in it, as [Ask] does.
func (o OneOf[A, B]) Validate() error {
	if o.Value == nil {
		return nil
	}
	pointer := reflect.New(reflect.TypeOf(o.Value)) // whose method it may be
	pointer.Elem().Set(reflect.ValueOf(o.Value))
	return validated(pointer, "")
}
