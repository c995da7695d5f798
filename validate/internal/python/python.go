// Package python finds syntax errors in Python 3.14 with the parser of Brython
// (https://brython.info, BSD-3-Clause), which follows CPython's grammar and
// messages. The parser runs in goja, a JavaScript interpreter in Go, and has no access to
// anything outside it. The Python code is not run.
package python

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"

	"github.com/dop251/goja"
)

// SyntaxError says why code can't be parsed.
type SyntaxError struct {
	Message      string // as CPython says it
	Line, Column int    // from 1, in code points
}

// Error returns the message.
func (e *SyntaxError) Error() string { return e.Message }

// Parse returns nil if code is a Python module. The error is a *[SyntaxError], or
// that of ctx if it ends first. It parses 10 to 40 kB per second, and 64 kB take about 200
// MB of memory: the caller must bound the length.
func Parse(ctx context.Context, code string) error {
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-turn }()
	if err := ctx.Err(); err != nil {
		return err
	}
	parse, err := idle()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { parse.vm.Interrupt(ctx.Err()) })
	found, err := parse.call(goja.Undefined(), parse.vm.ToValue(code))
	if !stop() || err != nil {
		// The interpreter was stopped or failed; it is not used again.
		if ended := ctx.Err(); ended != nil {
			return ended
		}
		if _, ok := errors.AsType[*goja.StackOverflowError](err); ok {
			return &SyntaxError{"the code is nested too deep", 1, 1}
		}
		return fmt.Errorf("the Python parser failed: %w", err)
	}
	release(parse)
	if goja.IsNull(found) {
		return nil
	}
	o := found.ToObject(parse.vm)
	e := &SyntaxError{Message: o.Get("message").String(), Line: int(o.Get("line").ToInteger()), Column: int(o.Get("column").ToInteger())}
	e.Line, e.Column = max(1, e.Line), max(1, e.Column)
	lines := strings.Split(strings.TrimRight(code, "\n"), "\n")
	if e.Line > len(lines) {
		// It points after the end if the last line is indented wrongly.
		e.Line, e.Column = len(lines), 1
	}
	e.Column = codePoints(lines[e.Line-1], e.Column-1) + 1
	return e
}

// codePoints returns the number of code points in the first units of UTF-16 of a
// line.
func codePoints(line string, units int) int {
	n := 0
	for _, r := range line {
		if units -= utf16.RuneLen(r); units < 0 {
			break
		}
		n++
	}
	return n + max(0, units)
}

// turn lets two texts be parsed at once: an interpreter takes 20 MB, and more while it
// works.
var turn = make(chan struct{}, 2)

// machine is an interpreter with Brython loaded, for one goroutine at a time.
type machine struct {
	vm   *goja.Runtime
	call goja.Callable
	used int
}

var machines struct {
	sync.Mutex
	free []*machine
}

func idle() (*machine, error) {
	machines.Lock()
	if n := len(machines.free); n > 0 {
		m := machines.free[n-1]
		machines.free = machines.free[:n-1]
		machines.Unlock()
		return m, nil
	}
	machines.Unlock()
	return load()
}

// release keeps an interpreter for the next text, but not for ever, since Brython may keep
// something of each text.
func release(m *machine) {
	const most = 1000
	if m.used++; m.used >= most {
		return
	}
	machines.Lock()
	defer machines.Unlock()
	machines.free = append(machines.free, m)
}

//go:embed brython.js.gz
var compressed []byte

//go:embed host.js
var host string

// program is Brython, compiled once for all interpreters.
var program = sync.OnceValues(func() (*goja.Program, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	source, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return goja.Compile("brython.js", string(source), false)
})

// entry parses one module. It returns a SyntaxError, which has a line, and throws
// anything else, which is a fault of the parser.
const entry = `(function (code) {
	try {
		__BRYTHON__._PyPegen.run_parser(new __BRYTHON__.Parser(code, "answer", "file"));
		return null;
	} catch (e) {
		if (e === null || typeof e !== "object" || e.lineno === undefined || e.msg === undefined) { throw e; }
		return {message: String(e.msg), line: Number(e.lineno), column: Number(e.offset)};
	}
})`

// load takes some tenths of a second, and one second more the first time, to compile.
func load() (*machine, error) {
	compiled, err := program()
	if err != nil {
		return nil, fmt.Errorf("the Python parser could not be loaded: %w", err)
	}
	m := &machine{vm: goja.New()}
	m.vm.SetMaxCallStackSize(20_000)
	if _, err := m.vm.RunString(host); err != nil {
		return nil, fmt.Errorf("the Python parser could not be loaded: %w", err)
	}
	if _, err := m.vm.RunProgram(compiled); err != nil {
		return nil, fmt.Errorf("the Python parser could not be loaded: %w", err)
	}
	// The interpreter's regular expressions have no Unicode categories.
	brython := m.vm.Get("__BRYTHON__").ToObject(m.vm)
	for name, f := range map[string]any{
		"is_XID_Start":    func(r rune) bool { return r == '_' || unicode.In(r, unicode.L, unicode.Nl, unicode.Other_ID_Start) },
		"is_XID_Continue": func(r rune) bool { return r == '_' || unicode.In(r, continues...) },
		"in_unicode_category": func(category string, r rune) bool {
			table := unicode.Categories[category]
			return table != nil && unicode.Is(table, r)
		},
	} {
		if err := brython.Set(name, f); err != nil {
			return nil, fmt.Errorf("the Python parser could not be loaded: %w", err)
		}
	}
	f, err := m.vm.RunString(entry)
	if err != nil {
		return nil, fmt.Errorf("the Python parser could not be loaded: %w", err)
	}
	m.call, _ = goja.AssertFunction(f)
	return m, nil
}

var continues = []*unicode.RangeTable{
	unicode.L, unicode.Nl, unicode.Other_ID_Start, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc, unicode.Other_ID_Continue,
}
