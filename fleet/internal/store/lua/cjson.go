package lua

import (
	"fmt"
	"math"
	"strings"

	"github.com/tidwall/gjson"
	lua "github.com/yuin/gopher-lua"
)

// deepest is how many arrays and objects may lie in each other, as in Redis.
const deepest = 1000

// encode is cjson.encode.
func (m *machine) encode(l *lua.LState) int {
	var b strings.Builder
	if err := m.write(&b, l.CheckAny(1), 0); err != nil {
		l.RaiseError("%s", err)
	}
	l.Push(lua.LString(b.String()))
	return 1
}

func (m *machine) write(b *strings.Builder, v lua.LValue, depth int) error {
	switch v := v.(type) {
	case lua.LString:
		quote(b, string(v))
	case lua.LNumber:
		if math.IsInf(float64(v), 0) || math.IsNaN(float64(v)) {
			return fmt.Errorf("cannot serialise number: must not be NaN or Inf")
		}
		b.WriteString(number(v, 14))
	case lua.LBool:
		fmt.Fprint(b, bool(v))
	case *lua.LTable:
		if depth++; depth > deepest {
			return fmt.Errorf("cannot serialise, excessive depth (%d)", depth)
		}
		n, err := length(v)
		if err != nil {
			return err
		}
		if n > 0 {
			return m.array(b, v, n, depth)
		}
		return m.object(b, v, depth)
	default:
		if v != lua.LNil && v != lua.LValue(m.null) {
			return fmt.Errorf("cannot serialise %s: type not supported", v.Type())
		}
		b.WriteString("null")
	}
	return nil
}

// length returns how long a table is that becomes an array, or 0: it becomes an object then,
// also if it is empty.
func length(t *lua.LTable) (int, error) {
	n, items := 0, 0
	others := false
	t.ForEach(func(key, _ lua.LValue) {
		k, ok := key.(lua.LNumber)
		if !ok || float64(k) != math.Floor(float64(k)) || k < 1 {
			others = true
			return
		}
		n, items = max(n, int(k)), items+1
	})
	switch {
	case others:
		return 0, nil
	case n > items*2 && n > 10:
		return 0, fmt.Errorf("cannot serialise table: excessively sparse array")
	}
	return n, nil
}

func (m *machine) array(b *strings.Builder, t *lua.LTable, n, depth int) error {
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := m.write(b, t.RawGetInt(i+1), depth); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func (m *machine) object(b *strings.Builder, t *lua.LTable, depth int) error {
	b.WriteByte('{')
	first := true
	var failed error
	t.ForEach(func(key, v lua.LValue) {
		if failed != nil {
			return
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		name, ok := asText(key)
		if !ok {
			failed = fmt.Errorf("cannot serialise %s: table key must be a number or string", key.Type())
			return
		}
		quote(b, name)
		b.WriteByte(':')
		failed = m.write(b, v, depth)
	})
	b.WriteByte('}')
	return failed
}

// quote writes a text as cjson does: bytes that are not UTF-8 stay, a slash is escaped.
func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '/':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\b':
			b.WriteString(`\b`)
		case '\t':
			b.WriteString(`\t`)
		case '\n':
			b.WriteString(`\n`)
		case '\f':
			b.WriteString(`\f`)
		case '\r':
			b.WriteString(`\r`)
		default:
			if c < ' ' || c == 0x7f {
				fmt.Fprintf(b, `\u%04x`, c)
				continue
			}
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// decode is cjson.decode.
func (m *machine) decode(l *lua.LState) int {
	s, ok := asText(l.CheckAny(1))
	if !ok || !gjson.Valid(s) {
		l.RaiseError("cjson.decode: not JSON: %.60q", s)
	}
	l.Push(m.read(gjson.Parse(s)))
	return 1
}

func (m *machine) read(v gjson.Result) lua.LValue {
	switch {
	case v.Type == gjson.Null:
		return m.null
	case v.IsBool():
		return lua.LBool(v.Bool())
	case v.Type == gjson.Number:
		return lua.LNumber(v.Num)
	case v.Type == gjson.String:
		return lua.LString(v.Str)
	}
	t := m.state.NewTable()
	i := 0
	v.ForEach(func(key, element gjson.Result) bool {
		i++
		if v.IsArray() {
			t.RawSetInt(i, m.read(element))
		} else {
			t.RawSetString(key.Str, m.read(element))
		}
		return true
	})
	return t
}
