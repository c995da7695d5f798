package lua

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"llmcall/fleet/internal/store"
)

// machine is the interpreter, with what Redis gives to scripts. Its server's lock is held.
type machine struct {
	server   *Server
	state    *lua.LState
	globals  *lua.LTable
	null     *lua.LUserData // cjson.null
	compiled map[string]*lua.FunctionProto
	key      string // of the script that runs
}

func newMachine(s *Server) *machine {
	m := &machine{
		server: s, state: lua.NewState(lua.Options{SkipOpenLibs: true}),
		compiled: map[string]*lua.FunctionProto{},
	}
	m.null = m.state.NewUserData()
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
		lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath,
	} {
		m.state.Push(m.state.NewFunction(open))
		m.state.Push(lua.LString(name))
		m.state.Call(1, 0)
	}
	m.globals = m.library()
	return m
}

// library returns what a script finds in its globals.
func (m *machine) library() *lua.LTable {
	l := m.state
	globals := l.NewTable()
	for _, name := range []string{
		"_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset",
		"select", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall", "math", "string", "table",
	} {
		globals.RawSetString(name, l.GetGlobal(name))
	}
	numbers := globals.RawGetString("math").(*lua.LTable)
	numbers.RawSetString("huge", lua.LNumber(math.Inf(1))) // it is the largest number that is finite
	numbers.RawSetString("random", lua.LNil)
	numbers.RawSetString("randomseed", lua.LNil)
	asInC(l, globals)
	globals.RawSetString("redis", l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{
		"call":        func(l *lua.LState) int { return m.call(l, true) },
		"pcall":       func(l *lua.LState) int { return m.call(l, false) },
		"error_reply": reply("err"), "status_reply": reply("ok"),
	}))
	cjson := l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"encode": m.encode, "decode": m.decode})
	cjson.RawSetString("null", m.null)
	globals.RawSetString("cjson", cjson)
	return globals
}

// reply returns the function that makes replies of a kind.
func reply(kind string) lua.LGFunction {
	return func(l *lua.LState) int {
		t := l.NewTable()
		t.RawSetString(kind, lua.LString(l.CheckString(1)))
		l.Push(t)
		return 1
	}
}

// run runs a script.
func (m *machine) run(c store.Call) (string, error) {
	proto, err := m.compile(c.Script)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Script.Name, err)
	}
	script := m.state.NewFunctionFromProto(proto)
	script.Env = m.environment(c)
	m.key = c.Key
	defer m.state.SetTop(0)
	if err := m.state.CallByParam(lua.P{Fn: script, NRet: 1, Protect: true}); err != nil {
		return "", fmt.Errorf("%s: %w", c.Script.Name, cause(err))
	}
	text, err := result(m.state.Get(-1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Script.Name, err)
	}
	return text, nil
}

// cause returns the error that a script has raised, without the traces of the interpreter.
func cause(err error) error {
	var raised *lua.ApiError
	if !errors.As(err, &raised) {
		return err
	}
	if t, ok := raised.Object.(*lua.LTable); ok {
		if text, ok := t.RawGetString("err").(lua.LString); ok {
			return errors.New(string(text))
		}
	}
	return errors.New(raised.Object.String())
}

func (m *machine) compile(s *store.Script) (*lua.FunctionProto, error) {
	if proto, done := m.compiled[s.Text]; done {
		return proto, nil
	}
	chunk, err := parse.Parse(strings.NewReader(s.Text), s.Name)
	if err != nil {
		return nil, err
	}
	concatAsInC(chunk)
	proto, err := lua.Compile(chunk, s.Name)
	if err != nil {
		return nil, err
	}
	m.compiled[s.Text] = proto
	return proto, nil
}

// environment returns the globals of one run, which the script can't change.
func (m *machine) environment(c store.Call) *lua.LTable {
	l := m.state
	keys, args := l.NewTable(), l.NewTable()
	keys.Append(lua.LString(c.Key))
	args.Append(lua.LString("publish"))
	for _, arg := range c.Args {
		args.Append(lua.LString(arg))
	}
	env, guard := l.NewTable(), l.NewTable()
	env.RawSetString("KEYS", keys)
	env.RawSetString("ARGV", args)
	guard.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		name := l.CheckString(2)
		got := m.globals.RawGetString(name)
		if got == lua.LNil {
			l.RaiseError("Script attempted to access nonexistent global variable '%s'", name)
		}
		l.Push(got)
		return 1
	}))
	guard.RawSetString("__newindex", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Attempt to modify a readonly table: global variable '%s'", l.CheckString(2))
		return 0
	}))
	l.SetMetatable(env, guard)
	return env
}

// result makes the one text of what a script has returned.
func result(v lua.LValue) (string, error) {
	switch v := v.(type) {
	case lua.LString:
		return string(v), nil
	case lua.LNumber:
		return strconv.FormatInt(int64(v), 10), nil
	case *lua.LTable:
		if text, ok := v.RawGetString("err").(lua.LString); ok {
			return "", errors.New(string(text))
		}
		if text, ok := v.RawGetString("ok").(lua.LString); ok {
			return string(text), nil
		}
		return "", store.ErrNoText
	case lua.LBool:
		if v {
			return "1", nil
		}
	}
	return "", nil
}

// call is redis.call, and redis.pcall, which does not raise.
func (m *machine) call(l *lua.LState, raise bool) int {
	args := make([]string, l.GetTop())
	for i := range args {
		switch v := l.Get(i + 1).(type) {
		case lua.LString:
			args[i] = string(v)
		case lua.LNumber:
			args[i] = number(v, 17)
		default:
			return m.push(l, errors.New("ERR Lua redis lib command arguments must be strings or integers"), raise)
		}
	}
	if len(args) == 0 {
		return m.push(l, errors.New("ERR Please specify at least one argument for this redis.call() call"), raise)
	}
	return m.push(l, m.server.do(m.key, args[0], args[1:]), raise)
}

// push returns a command's answer to a script.
func (m *machine) push(l *lua.LState, answer any, raise bool) int {
	if err, ok := answer.(error); ok {
		t := l.NewTable()
		t.RawSetString("err", lua.LString(err.Error()))
		if raise {
			l.Error(t, 1)
		}
		l.Push(t)
		return 1
	}
	l.Push(inLua(l, answer))
	return 1
}

func inLua(l *lua.LState, answer any) lua.LValue {
	switch answer := answer.(type) {
	case string:
		return lua.LString(answer)
	case int:
		return lua.LNumber(answer)
	case []any:
		t := l.NewTable()
		for _, v := range answer {
			t.Append(inLua(l, v))
		}
		return t
	}
	return lua.LFalse
}
