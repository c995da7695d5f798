package llmcall

import (
	"reflect"
	"sync"
)

// shapes maps the reflect.Type of T to its *shape[T], because making and compiling
// a schema takes 0.3 ms and 1,000 allocations. The types in a program are few, so
// none is ever removed.
var shapes sync.Map

// shapeOf returns the shape of T. An error is not kept, because a method of the
// type may have panicked for a temporary reason.
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
