// Package threading wraps the functions of threading.h that the example uses.
//
// A goroutine can continue in another OS thread between two calls of C functions. The last error belongs to the OS
// thread, so the functions that need it lock the goroutine to its thread.
package threading

/*
#cgo LDFLAGS: -lthreading
#include <stdint.h>
#include <stdlib.h>
#include <threading.h>

// The functions of callbacks.go. The argument of a target is a cgo.Handle, which C code converts to a pointer and back,
// because it must not be in a variable that Go considers a pointer.
extern void goRun(uintptr_t handle);
extern void goDelete(uintptr_t handle);

static void *run(void *handle)
{
    goRun((uintptr_t)handle);
    return NULL;
}

static void delete(void *handle)
{
    goDelete((uintptr_t)handle);
}

static threading_thread *new_thread(uintptr_t handle)
{
    threading_thread *thread = threading_thread_new(run, (void *)handle);
    if (thread != NULL) // otherwise this would replace the error
        (void)threading_thread_set_arg_destructor(thread, delete);
    return thread;
}

static threading_timer *new_timer(double seconds, uintptr_t handle)
{
    threading_timer *timer = threading_timer_new(seconds, run, (void *)handle);
    if (timer != NULL)
        (void)threading_thread_set_arg_destructor(threading_timer_thread(timer), delete);
    return timer;
}

static threading_timer *new_event_timer(double seconds, threading_event *event)
{
    return threading_timer_new(seconds, (threading_target)threading_event_set, event);
}
*/
import "C"

import (
	"runtime"
	"runtime/cgo"
	"time"
	"unsafe"
)

// Error is a negative status.
type Error int32

// NotAcquired is the error of a release of an unlocked lock.
const NotAcquired Error = C.THREADING_ERR_NOT_ACQUIRED

func (e Error) Error() string {
	return C.GoString(C.threading_status_message(C.int32_t(e)))
}

// Name returns the name of the status, such as THREADING_ERR_VALUE.
func (e Error) Name() string {
	return C.GoString(C.threading_status_name(C.int32_t(e)))
}

func failure(status C.threading_status) error {
	if status < 0 {
		return Error(status)
	}
	return nil
}

// A Thread is an OS thread of the library, which runs a Go function.
type Thread struct{ handle *C.threading_thread }

// NewThread returns a thread that will run f. The library deletes the cgo.Handle of f when it no longer needs it.
func NewThread(f func()) (Thread, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	handle := cgo.NewHandle(f)
	thread := C.new_thread(C.uintptr_t(handle))
	if thread == nil {
		handle.Delete()
		return Thread{}, Error(C.threading_last_error())
	}
	return Thread{thread}, nil
}

// CurrentThread returns the thread of the library in which a target runs. A goroutine has no thread of its own.
func CurrentThread() Thread {
	return Thread{C.threading_current_thread()}
}

func (t Thread) SetName(name string) error {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	return failure(C.threading_thread_set_name(t.handle, s))
}

func (t Thread) Name() string { return C.GoString(C.threading_thread_name(t.handle)) }
func (t Thread) Start() error { return failure(C.threading_thread_start(t.handle)) }
func (t Thread) Join() error  { return failure(C.threading_thread_join(t.handle)) }
func (t Thread) Free() error  { return failure(C.threading_thread_free(t.handle)) }

// A Timer calls a function after a delay.
type Timer struct{ handle *C.threading_timer }

func newTimer(create func() *C.threading_timer) (Timer, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	timer := create()
	if timer == nil {
		return Timer{}, Error(C.threading_last_error())
	}
	return Timer{timer}, nil
}

// NewTimer returns a timer that will call f.
func NewTimer(delay time.Duration, f func()) (Timer, error) {
	handle := cgo.NewHandle(f)
	timer, err := newTimer(func() *C.threading_timer {
		return C.new_timer(C.double(delay.Seconds()), C.uintptr_t(handle))
	})
	if err != nil {
		handle.Delete()
	}
	return timer, err
}

// NewEventTimer returns a timer that will set an event. Its function is threading_event_set, so it runs no Go code.
// The event must exist until the timer has ended.
func NewEventTimer(delay time.Duration, event Event) (Timer, error) {
	return newTimer(func() *C.threading_timer { return C.new_event_timer(C.double(delay.Seconds()), event.handle) })
}

func (t Timer) Thread() Thread { return Thread{C.threading_timer_thread(t.handle)} }
func (t Timer) Start() error   { return failure(C.threading_timer_start(t.handle)) }
func (t Timer) Free() error    { return failure(C.threading_timer_free(t.handle)) }

// A Lock implements sync.Locker. Any goroutine may release it.
type Lock struct{ handle *C.threading_lock }

func NewLock() (Lock, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	lock := C.threading_lock_new()
	if lock == nil {
		return Lock{}, Error(C.threading_last_error())
	}
	return Lock{lock}, nil
}

func (l Lock) Acquire() error { return failure(C.threading_lock_acquire(l.handle)) }
func (l Lock) Release() error { return failure(C.threading_lock_release(l.handle)) }
func (l Lock) Free() error    { return failure(C.threading_lock_free(l.handle)) }

// Lock acquires the lock.
func (l Lock) Lock() {
	if err := l.Acquire(); err != nil {
		panic(err)
	}
}

// Unlock releases the lock.
func (l Lock) Unlock() {
	if err := l.Release(); err != nil {
		panic(err)
	}
}

// An Event is a flag that threads can wait for.
type Event struct{ handle *C.threading_event }

func NewEvent() (Event, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	event := C.threading_event_new()
	if event == nil {
		return Event{}, Error(C.threading_last_error())
	}
	return Event{event}, nil
}

// Wait returns whether the event was set before the timeout expired.
func (e Event) Wait(timeout time.Duration) (bool, error) {
	status := C.threading_event_wait_timeout(e.handle, C.double(timeout.Seconds()))
	return status == C.THREADING_OK, failure(status)
}

func (e Event) Set() error   { return failure(C.threading_event_set(e.handle)) }
func (e Event) Clear() error { return failure(C.threading_event_clear(e.handle)) }
func (e Event) Free() error  { return failure(C.threading_event_free(e.handle)) }

// Shutdown waits for all non-daemon threads and timers. A Go program ends without calling C's exit, where the library
// would wait, so main must call Shutdown before it returns.
func Shutdown() { C.threading_shutdown() }
