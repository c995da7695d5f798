package wire

import "github.com/tidwall/gjson"

// The functions here are for readers of answers in which everything is known: those of SDKs
// keep what they have read of every field, and take most of the processor's time of a call.
// Where such a reader does not know a name, or a type, the SDK's decides.

// Count reads a count of tokens. It reports whether the value is a number.
func Count(value gjson.Result, count *int64) bool {
	*count = value.Int()
	return value.Type == gjson.Number
}

// EachMember calls take with each member of an object, and reports whether it took all, and none
// of them has the name of another.
func EachMember(object gjson.Result, take func(name string, value gjson.Result) bool) bool {
	var names [40]string
	n := 0
	ok := object.IsObject()
	object.ForEach(func(key, value gjson.Result) bool {
		for _, before := range names[:n] {
			ok = ok && before != key.Str
		}
		if ok = ok && n < len(names) && take(key.Str, value); ok {
			names[n] = key.Str
			n++
		}
		return ok
	})
	return ok
}

// OnlyValue calls take with the only value of a list, and reports whether there is one and it was
// taken.
func OnlyValue(list gjson.Result, take func(gjson.Result) bool) bool {
	n, ok := 0, true
	list.ForEach(func(_, value gjson.Result) bool {
		n++
		ok = n == 1 && take(value)
		return ok
	})
	return ok && n == 1
}
