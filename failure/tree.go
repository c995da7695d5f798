package failure

import "reflect"

// Find reports whether match is true for an error of err's tree, and asks for
// each, the outermost first, as [errors.Is] goes through it.
//
// Nil pointers are left out: a function that returns a nil *Error as an error
// (var e *Error; return v, e) returns one that is not nil, and whose methods
// can't be called. errors.Is and errors.As call them, and panic.
func Find(err error, match func(error) bool) bool {
	if err == nil || isNilPointer(err) {
		return false
	}
	if match(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return Find(e.Unwrap(), match)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if Find(inner, match) {
				return true
			}
		}
	}
	return false
}

func isNilPointer(err error) bool {
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// holds reports whether target itself, and not an error that only claims to be
// it, is in err's tree. Where target is comparable, so that == can't panic: the
// errors of the tree need not be, since an error of another type is never equal.
func holds(err, target error) bool {
	return Find(err, func(e error) bool { return e == target })
}

// is is [errors.Is] for a comparable target, without its panics.
func is(err, target error) bool {
	return Find(err, func(e error) bool {
		if e == target {
			return true
		}
		claims, ok := e.(interface{ Is(error) bool })
		return ok && claims.Is(target)
	})
}
