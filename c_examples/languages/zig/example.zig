//! The example for Zig: two threads, a lock, an event with a timeout, timers.

const std = @import("std");
const c = @import("threading.zig");

const Error = error{Threading};

/// Returns a status, or an error if it is negative.
fn check(status: c.Status) Error!c.Status {
    return if (status < 0) Error.Threading else status;
}

/// Returns a handle, or an error if it is null.
fn have(handle: anytype) Error!@typeInfo(@TypeOf(handle)).optional.child {
    return handle orelse Error.Threading;
}

/// What the threads share. It must exist until they have ended.
const Sum = struct {
    lock: *c.Lock,
    total: u32 = 0,

    /// A target is a function with C's calling convention, and cannot return an error.
    fn run(arg: ?*anyopaque) callconv(.c) ?*anyopaque {
        const sum: *Sum = @ptrCast(@alignCast(arg));
        sum.add() catch fatal();
        return null;
    }

    fn add(sum: *Sum) Error!void {
        for (0..1000) |_| {
            _ = try check(c.threading_lock_acquire(sum.lock));
            sum.total += 1;
            _ = try check(c.threading_lock_release(sum.lock));
        }
    }
};

const Alarm = struct {
    event: *c.Event,
    stdout: *std.Io.Writer,

    fn run(arg: ?*anyopaque) callconv(.c) ?*anyopaque {
        const alarm: *Alarm = @ptrCast(@alignCast(arg));
        alarm.ring() catch fatal();
        return null;
    }

    fn ring(alarm: *Alarm) !void {
        const name = c.threading_thread_name(c.threading_current_thread()) orelse return Error.Threading;
        try alarm.stdout.print("{s} rings\n", .{name});
        _ = try check(c.threading_event_set(alarm.event));
    }
};

fn fatal() noreturn {
    std.debug.panic("{s}", .{c.threading_last_error_message()});
}

pub fn main(init: std.process.Init) !void {
    errdefer std.log.err("{s}", .{c.threading_last_error_message()});
    var file = std.Io.File.stdout().writerStreaming(init.io, &.{}); // without a buffer
    const stdout = &file.interface;

    const lock = try have(c.threading_lock_new());
    defer _ = c.threading_lock_free(lock);
    const event = try have(c.threading_event_new());
    defer _ = c.threading_event_free(event);

    if (try check(c.threading_event_wait_timeout(event, 0.05)) == c.TIMED_OUT)
        try stdout.writeAll("the event is not set yet\n");

    var sum: Sum = .{ .lock = lock };
    var threads: [2]*c.Thread = undefined;
    for (&threads, [_][*:0]const u8{ "adder-1", "adder-2" }) |*thread, name| {
        thread.* = try have(c.threading_thread_new(Sum.run, &sum));
        _ = try check(c.threading_thread_set_name(thread.*, name));
        _ = try check(c.threading_thread_start(thread.*));
    }
    for (threads) |thread|
        _ = try check(c.threading_thread_join(thread));
    try stdout.print("{s} and {s} have added {d}\n", .{
        c.threading_thread_name(threads[0]).?, c.threading_thread_name(threads[1]).?, sum.total,
    });
    for (threads) |thread|
        _ = try check(c.threading_thread_free(thread));

    const status = c.threading_lock_release(lock);
    if (status < 0)
        try stdout.print("release failed: {s}, {s}\n", .{
            c.threading_status_name(status), c.threading_last_error_message(),
        });

    var alarm: Alarm = .{ .event = event, .stdout = stdout };
    const ringing = try have(c.threading_timer_new(0.1, Alarm.run, &alarm));
    defer _ = c.threading_timer_free(ringing);
    _ = try check(c.threading_thread_set_name(c.threading_timer_thread(ringing), "alarm"));
    _ = try check(c.threading_timer_start(ringing));
    if (try check(c.threading_event_wait_timeout(event, 10)) == c.OK)
        try stdout.writeAll("the event is set\n");
    _ = try check(c.threading_thread_join(c.threading_timer_thread(ringing)));

    // A function of the library as the timer's function.
    _ = try check(c.threading_event_clear(event));
    const setting = try have(c.threading_timer_new(0.1, @ptrCast(&c.threading_event_set), event));
    defer _ = c.threading_timer_free(setting);
    _ = try check(c.threading_timer_start(setting));
    if (try check(c.threading_event_wait_timeout(event, 10)) == c.OK)
        try stdout.writeAll("a timer without a callback has set the event\n");
    _ = try check(c.threading_thread_join(c.threading_timer_thread(setting)));
}
