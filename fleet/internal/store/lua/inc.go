package lua

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// number writes a number as "%.14g" and the like does in C. The interpreter itself writes all
// digits that there are: a sum of microseconds would be right in a test and lose its last
// digits in Redis.
func number(n lua.LNumber, digits int) string {
	switch f := float64(n); {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f) && math.Signbit(f):
		return "-nan"
	case math.IsNaN(f):
		return "nan"
	default:
		return strconv.FormatFloat(f, 'g', digits, 64)
	}
}

// asText returns a string or a number as text.
func asText(v lua.LValue) (string, bool) {
	switch v := v.(type) {
	case lua.LString:
		return string(v), true
	case lua.LNumber:
		return number(v, 14), true
	}
	return "", false
}

// concat is the name of the function that `a .. b` is compiled to: no script can have it.
const concat = "\x00concat"

// concatAsInC replaces each `a .. b` in a chunk by a call of concat, as the interpreter would
// write numbers in its own way.
func concatAsInC(chunk []ast.Stmt) { replace(reflect.ValueOf(chunk)) }

// replace looks for expressions in a tree.
func replace(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		replace(v.Elem())
		if two, ok := v.Interface().(*ast.StringConcatOpExpr); ok {
			name := &ast.IdentExpr{Value: concat}
			call := &ast.FuncCallExpr{Func: name, Args: []ast.Expr{two.Lhs, two.Rhs}, AdjustRet: true}
			for _, node := range []ast.Expr{name, call} {
				node.SetLine(two.Line())
				node.SetLastLine(two.LastLine())
			}
			v.Set(reflect.ValueOf(call))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			replace(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			replace(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				replace(v.Field(i))
			}
		}
	}
}

// asInC replaces the functions that make texts of numbers, and numbers of texts.
func asInC(l *lua.LState, globals *lua.LTable) {
	globals.RawSetString(concat, l.NewFunction(func(l *lua.LState) int {
		a, b := l.Get(1), l.Get(2)
		left, one := asText(a)
		right, two := asText(b)
		if !one || !two {
			if !one {
				b = a
			}
			l.RaiseError("attempt to concatenate a %s value", b.Type())
		}
		l.Push(lua.LString(left + right))
		return 1
	}))
	toString := globals.RawGetString("tostring").(*lua.LFunction).GFunction
	globals.RawSetString("tostring", l.NewFunction(func(l *lua.LState) int {
		if n, ok := l.CheckAny(1).(lua.LNumber); ok {
			l.Push(lua.LString(number(n, 14)))
			return 1
		}
		return toString(l)
	}))
	globals.RawSetString("tonumber", l.NewFunction(toNumber(globals.RawGetString("tonumber").(*lua.LFunction).GFunction)))
	texts := globals.RawGetString("string").(*lua.LTable)
	for name, n := range map[string]int{ // the first n arguments are texts
		"byte": 1, "find": 2, "gsub": 3, "len": 1, "lower": 1, "match": 2, "rep": 1, "reverse": 1, "sub": 1, "upper": 1,
	} {
		texts.RawSetString(name, l.NewFunction(withTexts(texts.RawGetString(name).(*lua.LFunction).GFunction, n)))
	}
	texts.RawSetString("format", l.NewFunction(format))
	globals.RawGetString("table").(*lua.LTable).RawSetString("concat", l.NewFunction(tableConcat))
}

// withTexts makes texts of a function's first n arguments.
func withTexts(f lua.LGFunction, n int) lua.LGFunction {
	return func(l *lua.LState) int {
		for i := range min(n, l.GetTop()) {
			if v, ok := l.Get(i + 1).(lua.LNumber); ok {
				l.Replace(i+1, lua.LString(number(v, 14)))
			}
		}
		return f(l)
	}
}

// toNumber is tonumber: without a base it reads what strtod reads.
func toNumber(withBase lua.LGFunction) lua.LGFunction {
	return func(l *lua.LState) int {
		if l.GetTop() > 1 && l.Get(2) != lua.LNil && l.CheckInt(2) != 10 {
			return withBase(l)
		}
		switch v := l.CheckAny(1).(type) {
		case lua.LNumber:
			l.Push(v)
		case lua.LString:
			if f, ok := strtod(string(v)); ok {
				l.Push(lua.LNumber(f))
				return 1
			}
			l.Push(lua.LNil)
		default:
			l.Push(lua.LNil)
		}
		return 1
	}
}

func strtod(s string) (float64, bool) {
	s, _, _ = strings.Cut(s, "\x00")
	s = strings.Trim(s, " \t\n\v\f\r")
	if strings.Contains(s, "_") {
		return 0, false
	}
	if strings.HasPrefix(strings.ToLower(strings.TrimLeft(s, "+-")), "0x") && !strings.ContainsAny(s, "pP") {
		s += "p0"
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) { // what is too large is infinite
		return 0, false
	}
	return f, true
}

// tableConcat is table.concat.
func tableConcat(l *lua.LState) int {
	t := l.CheckTable(1)
	between, _ := asText(l.Get(2))
	from, to := l.OptInt(3, 1), l.OptInt(4, t.Len())
	var b strings.Builder
	for i := from; i <= to; i++ {
		s, ok := asText(t.RawGetInt(i))
		if !ok {
			l.RaiseError("invalid value (%s) at index %d in table for 'concat'", t.RawGetInt(i).Type(), i)
		}
		b.WriteString(s)
		if i < to {
			b.WriteString(between)
		}
	}
	l.Push(lua.LString(b.String()))
	return 1
}

var verb = regexp.MustCompile(`%[-+ #0]*[0-9]*(?:\.[0-9]+)?.?`)

// format is string.format, without %q.
func format(l *lua.LState) int {
	next := 1
	l.Push(lua.LString(verb.ReplaceAllStringFunc(l.CheckString(1), func(spec string) string {
		kind := spec[len(spec)-1]
		if spec == "%%" {
			return "%"
		}
		next++
		switch kind {
		case 's':
			s, ok := asText(l.CheckAny(next))
			if !ok {
				l.RaiseError("bad argument #%d to 'format' (string expected, got %s)", next, l.Get(next).Type())
			}
			return fmt.Sprintf(spec, s)
		case 'c', 'd', 'i', 'u', 'x', 'X':
			if kind == 'i' || kind == 'u' {
				spec = spec[:len(spec)-1] + "d"
			}
			return fmt.Sprintf(spec, int64(argument(l, next)))
		case 'e', 'E', 'f', 'g', 'G':
			f := argument(l, next)
			if math.IsInf(f, 0) || math.IsNaN(f) {
				return number(lua.LNumber(f), 14)
			}
			return fmt.Sprintf(spec, f)
		}
		l.RaiseError("invalid option '%s' to 'format'", spec)
		return ""
	})))
	return 1
}

// argument returns the number that an argument is.
func argument(l *lua.LState, i int) float64 {
	switch v := l.CheckAny(i).(type) {
	case lua.LNumber:
		return float64(v)
	case lua.LString:
		if f, ok := strtod(string(v)); ok {
			return f
		}
	}
	l.RaiseError("bad argument #%d to 'format' (number expected, got %s)", i, l.Get(i).Type())
	return 0
}
