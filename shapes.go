package llmcall

import (
	"reflect"
	"sync"
)

// shapes has the shape of each type that was asked for, a *shape[T] by the
// reflect.Type of T. To make the schema of a type and compile it takes 0.3 ms and
// 1,000 allocations. A program asks for as many types as it names, so nothing has
// to leave.
var shapes sync.Map

// shapeOf returns the shape of a T. What can't have one is looked at again at the
// next call: a method of the type may have panicked for a passing reason.
func shapeOf[T any]() (*shape[T], error) {
	t := reflect.TypeFor[T]()
	if known, ok := shapes.Load(t); ok {
		return known.(*shape[T]), nil
	}
	made, err := newShape[T]()
	if err != nil {
		return nil, err
	}
	first, _ := shapes.LoadOrStore(t, made)
	return first.(*shape[T]), nil
}
