package pgquery

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// PostgreSQL's parser reports an error by longjmp. WASIX
// (https://wasix.org/docs/api-reference) has it as two host functions: one takes a
// checkpoint of the stack (setjmp), the other goes back to it.

// checkpoint is a stack: wazero's, and the one in the module's memory.
type checkpoint struct {
	snapshot     experimental.Snapshot
	result       uint32 // where stack_checkpoint's caller looks for longjmp's value
	stackPointer uint32
	stack        []byte
}

type checkpointsKey struct{}

// withCheckpoints returns the context for one call of the parser.
func withCheckpoints(ctx context.Context) context.Context {
	return context.WithValue(experimental.WithSnapshotter(ctx), checkpointsKey{}, new([]checkpoint))
}

func checkpoints(ctx context.Context) *[]checkpoint {
	list, ok := ctx.Value(checkpointsKey{}).(*[]checkpoint)
	if !ok {
		panic(errors.New("stack_checkpoint outside a call"))
	}
	return list
}

// instantiateWASIX gives the module the host functions that it imports from
// wasix_32v1. A panic in one ends the call with an error.
func instantiateWASIX(ctx context.Context, r wazero.Runtime) error {
	const i32, i64 = api.ValueTypeI32, api.ValueTypeI64
	type types = []api.ValueType
	builder := r.NewHostModuleBuilder("wasix_32v1")
	export := func(name string, f api.GoModuleFunc, params, results types) {
		builder = builder.NewFunctionBuilder().WithGoModuleFunction(f, params, results).Export(name)
	}
	export("stack_checkpoint", stackCheckpoint, types{i32, i32}, types{i32})
	export("stack_restore", stackRestore, types{i32, i64}, nil)
	export("proc_id", processID, types{i32}, types{i32})
	// The rest is for threads and signals, which the parser does not use.
	export("callback_signal", never("callback_signal"), types{i32, i32}, nil)
	export("futex_wait", never("futex_wait"), types{i32, i32, i32, i32}, types{i32})
	export("futex_wake", never("futex_wake"), types{i32, i32}, types{i32})
	export("futex_wake_all", never("futex_wake_all"), types{i32, i32}, types{i32})
	export("thread_exit", never("thread_exit"), types{i32}, nil)
	export("thread_signal", never("thread_signal"), types{i32, i32}, types{i32})
	_, err := builder.Instantiate(ctx)
	return err
}

func never(name string) api.GoModuleFunc {
	return func(context.Context, api.Module, []uint64) { panic(errors.New(name + " was called")) }
}

func processID(_ context.Context, m api.Module, stack []uint64) {
	must(m.Memory().WriteUint32Le(uint32(stack[0]), 1))
	stack[0] = 0
}

func stackCheckpoint(ctx context.Context, m api.Module, stack []uint64) {
	number, result := uint32(stack[0]), uint32(stack[1])
	pointer := uint32(m.ExportedGlobal("__stack_pointer").Get())
	top := uint32(m.ExportedGlobal("__heap_base").Get())
	memory := m.Memory()
	view, ok := memory.Read(pointer, top-pointer)
	must(ok)
	list := checkpoints(ctx)
	must(memory.WriteUint64Le(number, uint64(len(*list))))
	must(memory.WriteUint64Le(result, 0))
	*list = append(*list, checkpoint{experimental.GetSnapshotter(ctx).Snapshot(), result, pointer, append([]byte(nil), view...)})
	stack[0] = 0
}

func stackRestore(ctx context.Context, m api.Module, stack []uint64) {
	memory := m.Memory()
	number, ok := memory.ReadUint64Le(uint32(stack[0]))
	list := *checkpoints(ctx)
	must(ok && number < uint64(len(list)))
	c := list[number]
	pointer, ok := m.ExportedGlobal("__stack_pointer").(api.MutableGlobal)
	must(ok)
	pointer.Set(uint64(c.stackPointer))
	must(memory.Write(c.stackPointer, c.stack))
	must(memory.WriteUint64Le(c.result, stack[1]))
	stack[0] = 0 // what stack_checkpoint returns the second time
	c.snapshot.Restore(stack[:1])
}

func must(ok bool) {
	if !ok {
		panic(errMemory)
	}
}
