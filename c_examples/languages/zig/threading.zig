//! The declarations of threading.h that the example uses. `zig translate-c -lc threading.h` prints all of them, with
//! other types; it takes about a minute when it runs for the first time, because it builds itself then.

pub const Event = opaque {};
pub const Lock = opaque {};
pub const Thread = opaque {};
pub const Timer = opaque {};

pub const Status = i32;
pub const OK: Status = 0;
pub const TIMED_OUT: Status = 1;

pub const Target = *const fn (arg: ?*anyopaque) callconv(.c) ?*anyopaque;

pub extern fn threading_thread_new(target: ?Target, arg: ?*anyopaque) ?*Thread;
pub extern fn threading_thread_set_name(thread: ?*Thread, name: [*:0]const u8) Status;
pub extern fn threading_thread_name(thread: ?*Thread) ?[*:0]const u8;
pub extern fn threading_thread_start(thread: ?*Thread) Status;
pub extern fn threading_thread_join(thread: ?*Thread) Status;
pub extern fn threading_thread_free(thread: ?*Thread) Status;
pub extern fn threading_current_thread() ?*Thread;

pub extern fn threading_lock_new() ?*Lock;
pub extern fn threading_lock_acquire(lock: ?*Lock) Status;
pub extern fn threading_lock_release(lock: ?*Lock) Status;
pub extern fn threading_lock_free(lock: ?*Lock) Status;

pub extern fn threading_event_new() ?*Event;
pub extern fn threading_event_set(event: ?*Event) Status;
pub extern fn threading_event_clear(event: ?*Event) Status;
pub extern fn threading_event_wait_timeout(event: ?*Event, seconds: f64) Status;
pub extern fn threading_event_free(event: ?*Event) Status;

pub extern fn threading_timer_new(interval: f64, function: ?Target, arg: ?*anyopaque) ?*Timer;
pub extern fn threading_timer_thread(timer: ?*Timer) ?*Thread;
pub extern fn threading_timer_start(timer: ?*Timer) Status;
pub extern fn threading_timer_free(timer: ?*Timer) Status;

pub extern fn threading_status_name(status: Status) [*:0]const u8;
pub extern fn threading_last_error_message() [*:0]const u8;
