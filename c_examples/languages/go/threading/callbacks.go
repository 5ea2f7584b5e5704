package threading

// A file that exports functions must not define C functions, so these are not in threading.go.

// #include <stdint.h>
import "C"

import "runtime/cgo"

//export goRun
func goRun(handle C.uintptr_t) {
	cgo.Handle(handle).Value().(func())()
}

//export goDelete
func goDelete(handle C.uintptr_t) {
	cgo.Handle(handle).Delete()
}
