//go:build unix

package breaker

import (
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"
)

// The breaker is put into memory that can't be written: a write, even of the
// value that is there already, is a fault.
func TestSuccessInClosedWorksInReadOnlyMemory(t *testing.T) {
	type bytes = [unsafe.Sizeof(Breaker{})]byte
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for state, b := range quiet(t) {
		page, err := syscall.Mmap(-1, 0, syscall.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			t.Skip("no memory of our own: ", err)
		}
		frozen := unsafe.Pointer(&page[0])
		*(*bytes)(frozen) = *(*bytes)(unsafe.Pointer(b))
		if err := syscall.Mprotect(page, syscall.PROT_READ); err != nil {
			t.Skip("can't be protected: ", err)
		}
		for _, call := range closedCalls {
			call(t.Context(), (*Breaker)(frozen))
		}
		if !faults(func() { page[0] = 0 }) {
			t.Errorf("%s: the memory can be written after all", state)
		}
		if err := syscall.Munmap(page); err != nil {
			t.Error(err)
		}
		runtime.KeepAlive(b)
	}
}

func faults(f func()) (faulted bool) {
	defer func() { faulted = recover() != nil }()
	f()
	return false
}
