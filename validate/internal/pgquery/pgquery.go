// Package pgquery parses SQL with PostgreSQL's own parser: libpg_query, compiled
// to WebAssembly and run by wazero, so that it needs no C compiler.
//
// Compiling the WebAssembly to machine code takes a second and 300 MB. The result is kept
// in the user's cache directory, so that this happens once per user and not once per
// process; see [cacheDir].
package pgquery

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

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/wasilibs/wazero-helpers/allocator"
)

//go:embed libpg_query.wasm.gz
var compressed []byte

// Error is the error of PostgreSQL's parser for a text that it can't parse.
type Error struct {
	Message string
	// Position is the position in the text, in code points from 1; 0 if it is not
	// known.
	Position int
}

// Error returns the parser's message.
func (e *Error) Error() string { return e.Message }

// parser is the compiled module with its one instance, which parses one text at a time.
type parser struct {
	turn     chan struct{} // of capacity 1: a semaphore for the instance
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	instance *instance // nil before the first text, and after a failure
}

// shared is compiled for the first text. A failure is kept, since its cause is this
// machine or the embedded module, and a second try would fail too.
var shared = sync.OnceValues(func() (*parser, error) {
	module, err := decompressed()
	if err != nil {
		return nil, fmt.Errorf("the embedded PostgreSQL parser: %w", err)
	}
	return load(module, cacheDir())
})

// Parse returns the syntax tree of a text as JSON
// (https://github.com/pganalyze/libpg_query describes it). The error is an
// *[Error] if the text can't be parsed, ctx's own if it ends while another text is
// being parsed, or that the parser can't be loaded. Texts are parsed one after
// the other, and a text that has begun is parsed to its end.
func Parse(ctx context.Context, text string) (tree []byte, err error) {
	p, err := shared()
	if err != nil {
		return nil, err
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.turn }()
	return p.parse(text)
}

// load compiles the module, or loads it from the cache in dir. If that can't be used, or
// is "", the result is kept only in memory.
func load(module []byte, dir string) (*parser, error) {
	if dir != "" {
		if cache, err := wazero.NewCompilationCacheWithDir(dir); err == nil {
			if p, err := compile(module, cache); err == nil {
				return p, nil
			}
			// A full disk or a damaged file is not a reason to fail.
		}
	}
	return compile(module, wazero.NewCompilationCache())
}

func decompressed() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func compile(module []byte, cache wazero.CompilationCache) (*parser, error) {
	ctx := context.Background()
	config := wazero.NewRuntimeConfig().WithCompilationCache(cache).
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesThreads)
	p := &parser{turn: make(chan struct{}, 1), runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	_, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime)
	if err == nil {
		err = instantiateWASIX(ctx, p.runtime)
	}
	if err == nil {
		p.compiled, err = p.runtime.CompileModule(ctx, module)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("compiling PostgreSQL's parser: %w", err), p.runtime.Close(ctx), cache.Close(ctx))
	}
	return p, nil
}

func (p *parser) parse(text string) ([]byte, error) {
	if p.instance == nil {
		i, err := p.instantiate()
		if err != nil {
			return nil, err
		}
		p.instance = i
	}
	tree, err := p.instance.parse(text)
	if err == nil {
		return tree, nil
	}
	if _, bad := errors.AsType[*Error](err); bad {
		return nil, err
	}
	// The text was too much for the parser, for example by overflowing its stack. Its
	// memory may be in any state now, so the next text gets another instance.
	i := p.instance
	p.instance = nil
	if closed := i.module.Close(context.Background()); closed != nil {
		return nil, errors.Join(err, closed)
	}
	reason, _, _ := strings.Cut(err.Error(), "\n") // a stack trace follows
	return nil, &Error{Message: "the SQL can't be parsed (" + reason + ")"}
}

// instance is a module with a memory of its own.
type instance struct {
	module                        api.Module
	malloc, free, query, freeTree api.Function
}

func (p *parser) instantiate() (*instance, error) {
	// The module's memory is shared and may grow to 4 GB: it needs an allocator
	// that only reserves the addresses.
	ctx := experimental.WithMemoryAllocator(context.Background(), allocator.NewNonMoving())
	module, err := p.runtime.InstantiateModule(ctx, p.compiled, wazero.NewModuleConfig().WithSysNanotime().WithStartFunctions("_initialize"))
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL's parser: %w", err)
	}
	i := &instance{
		module: module,
		malloc: module.ExportedFunction("malloc"), free: module.ExportedFunction("free"),
		query: module.ExportedFunction("pg_query_parse"), freeTree: module.ExportedFunction("pg_query_free_parse_result"),
	}
	if _, err := module.ExportedFunction("pg_query_init").Call(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("starting PostgreSQL's parser: %w", err), module.Close(ctx))
	}
	return i, nil
}

// resultSize is the size of libpg_query's PgQueryParseResult: three pointers, to
// the tree, to what is written to standard error, and to a PgQueryError.
const resultSize = 12

var errMemory = errors.New("PostgreSQL's parser: a pointer outside its memory")

func (i *instance) parse(text string) (tree []byte, err error) {
	ctx := withCheckpoints(context.Background())
	input, err := i.allocate(ctx, len(text)+1)
	if err != nil {
		return nil, err
	}
	result, err := i.allocate(ctx, resultSize)
	if err != nil {
		return nil, err
	}
	memory := i.module.Memory()
	if !memory.WriteString(input, text) || !memory.WriteByte(input+uint32(len(text)), 0) {
		return nil, errMemory
	}
	if _, err := i.query.Call(ctx, uint64(result), uint64(input)); err != nil {
		return nil, fmt.Errorf("PostgreSQL's parser: %w", err)
	}
	tree, err = i.answer(result)
	_, freed := i.freeTree.Call(ctx, uint64(result))
	_, freedResult := i.free.Call(ctx, uint64(result))
	_, freedInput := i.free.Call(ctx, uint64(input))
	if fault := errors.Join(freed, freedResult, freedInput); fault != nil {
		return nil, fault
	}
	return tree, err
}

func (i *instance) allocate(ctx context.Context, size int) (uint32, error) {
	results, err := i.malloc.Call(ctx, uint64(size))
	if err != nil {
		return 0, fmt.Errorf("PostgreSQL's parser: %w", err)
	}
	if results[0] == 0 {
		return 0, errors.New("PostgreSQL's parser: out of memory")
	}
	return uint32(results[0]), nil
}

// answer reads a PgQueryParseResult. A PgQueryError is a pointer to the message,
// two to names of C's source, its line, and the position in the text.
func (i *instance) answer(result uint32) ([]byte, error) {
	memory := i.module.Memory()
	wrong, ok := memory.ReadUint32Le(result + 8)
	if !ok {
		return nil, errMemory
	}
	if wrong == 0 {
		return i.text(result)
	}
	message, err := i.text(wrong)
	if err != nil {
		return nil, err
	}
	position, ok := memory.ReadUint32Le(wrong + 16)
	if !ok {
		return nil, errMemory
	}
	return nil, &Error{string(message), int(int32(position))}
}

// text copies the C string that the pointer at an address points to.
func (i *instance) text(at uint32) ([]byte, error) {
	memory := i.module.Memory()
	start, ok := memory.ReadUint32Le(at)
	if !ok {
		return nil, errMemory
	}
	if start == 0 {
		return nil, nil
	}
	rest, ok := memory.Read(start, memory.Size()-start)
	if !ok {
		return nil, errMemory
	}
	end := bytes.IndexByte(rest, 0)
	if end < 0 {
		return nil, errMemory
	}
	return bytes.Clone(rest[:end]), nil
}
