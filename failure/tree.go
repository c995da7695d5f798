package failure

import "reflect"

// Find reports whether match returns true for an error in err's tree. It goes
// through the tree in the order of [errors.Is], the outermost error first.
//
// Nil pointers are skipped. A function that returns a nil *Error as an error (var e
// *Error; return v, e) returns a non-nil error whose methods may panic;
// errors.Is and errors.As would call them.
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

// holds reports whether target itself is in err's tree, not only an error whose
// method Is says so. target must be comparable. The errors of the tree need not be:
// one of another type is never equal, and == does not panic.
func holds(err, target error) bool {
	return Find(err, func(e error) bool { return e == target })
}

// is is [errors.Is] for a comparable target, but skips nil pointers.
func is(err, target error) bool {
	return Find(err, func(e error) bool {
		if e == target {
			return true
		}
		claims, ok := e.(interface{ Is(error) bool })
		return ok && claims.Is(target)
	})
}
