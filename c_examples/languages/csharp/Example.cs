// The example for C#: two threads, a lock, an event with a timeout, timers.

using System;
using System.Runtime.InteropServices;
using System.Threading;

static class Example
{
    // The declarations of threading.h that the example uses. A handle is an IntPtr, a status an int.
    const string Library = "libthreading.so.0";
    const int Ok = 0;
    const int TimedOut = 1;
    const int RtldNow = 2; // of dlfcn.h

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    delegate IntPtr Target(IntPtr arg);

    [DllImport(Library)] static extern IntPtr threading_thread_new(Target target, IntPtr arg);
    [DllImport(Library)] static extern int threading_thread_set_name(IntPtr thread, string name);
    [DllImport(Library)] static extern IntPtr threading_thread_name(IntPtr thread);
    [DllImport(Library)] static extern int threading_thread_start(IntPtr thread);
    [DllImport(Library)] static extern int threading_thread_join(IntPtr thread);
    [DllImport(Library)] static extern int threading_thread_free(IntPtr thread);
    [DllImport(Library)] static extern IntPtr threading_current_thread();

    [DllImport(Library)] static extern IntPtr threading_lock_new();
    [DllImport(Library)] static extern int threading_lock_acquire(IntPtr @lock);
    [DllImport(Library)] static extern int threading_lock_release(IntPtr @lock);
    [DllImport(Library)] static extern int threading_lock_free(IntPtr @lock);

    [DllImport(Library)] static extern IntPtr threading_event_new();
    [DllImport(Library)] static extern int threading_event_set(IntPtr @event);
    [DllImport(Library)] static extern int threading_event_clear(IntPtr @event);
    [DllImport(Library)] static extern int threading_event_wait_timeout(IntPtr @event, double seconds);
    [DllImport(Library)] static extern int threading_event_free(IntPtr @event);

    [DllImport(Library)] static extern IntPtr threading_timer_new(double interval, Target function, IntPtr arg);
    [DllImport(Library)] static extern IntPtr threading_timer_new(double interval, IntPtr function, IntPtr arg);
    [DllImport(Library)] static extern IntPtr threading_timer_thread(IntPtr timer);
    [DllImport(Library)] static extern int threading_timer_start(IntPtr timer);
    [DllImport(Library)] static extern int threading_timer_free(IntPtr timer);

    [DllImport(Library)] static extern IntPtr threading_status_name(int status);
    [DllImport(Library)] static extern int threading_last_error();
    [DllImport(Library)] static extern IntPtr threading_last_error_message();
    [DllImport(Library)] static extern int threading_shutdown();

    [DllImport("libc.so.6")] static extern void exit(int status);
    [DllImport("libdl.so.2")] static extern IntPtr dlopen(string name, int flags);
    [DllImport("libdl.so.2")] static extern IntPtr dlsym(IntPtr library, string name);

    static int total;

    static IntPtr Add(IntPtr @lock)
    {
        for (int i = 0; i < 1000; i++) {
            Check(threading_lock_acquire(@lock));
            total++;
            Check(threading_lock_release(@lock));
        }
        return IntPtr.Zero;
    }

    static IntPtr Ring(IntPtr @event)
    {
        Console.WriteLine(Text(threading_thread_name(threading_current_thread())) + " rings");
        Check(threading_event_set(@event));
        return IntPtr.Zero;
    }

    // Delegates must be kept alive as long as the library may call them. Here the class refers to them.
    static readonly Target AddTarget = Add;
    static readonly Target RingTarget = Ring;

    // The library owns its strings. The result type `string` would free them.
    static string Text(IntPtr text)
    {
        return Marshal.PtrToStringAnsi(text);
    }

    static int Check(int status)
    {
        if (status < 0)
            throw new InvalidOperationException(Text(threading_last_error_message()));
        return status;
    }

    static IntPtr Check(IntPtr handle)
    {
        if (handle == IntPtr.Zero)
            throw new InvalidOperationException(Text(threading_last_error_message()));
        return handle;
    }

    static void Main()
    {
        IntPtr @lock = Check(threading_lock_new());
        IntPtr @event = Check(threading_event_new());

        if (Check(threading_event_wait_timeout(@event, 0.05)) == TimedOut)
            Console.WriteLine("the event is not set yet");

        IntPtr[] threads = new IntPtr[2];
        for (int i = 0; i < threads.Length; i++) {
            threads[i] = Check(threading_thread_new(AddTarget, @lock));
            Check(threading_thread_set_name(threads[i], "adder-" + (i + 1)));
            Check(threading_thread_start(threads[i]));
        }
        foreach (IntPtr thread in threads)
            Check(threading_thread_join(thread));
        Console.WriteLine("{0} and {1} have added {2}", Text(threading_thread_name(threads[0])),
            Text(threading_thread_name(threads[1])), total);

        if (threading_lock_release(@lock) < 0)
            Console.WriteLine("release failed: {0}, {1}", Text(threading_status_name(threading_last_error())),
                Text(threading_last_error_message()));

        IntPtr timer = Check(threading_timer_new(0.1, RingTarget, @event));
        Check(threading_thread_set_name(threading_timer_thread(timer), "alarm"));
        Check(threading_timer_start(timer));
        if (Check(threading_event_wait_timeout(@event, 10)) == Ok)
            Console.WriteLine("the event is set");
        Check(threading_thread_join(threading_timer_thread(timer)));
        Check(threading_timer_free(timer));

        // A function of the library as the timer's function, which runs no C# code.
        IntPtr set = Check(dlsym(dlopen(Library, RtldNow), "threading_event_set"));
        Check(threading_event_clear(@event));
        timer = Check(threading_timer_new(0.1, set, @event));
        Check(threading_timer_start(timer));
        if (Check(threading_event_wait_timeout(@event, 10)) == Ok)
            Console.WriteLine("a timer without a callback has set the event");
        Check(threading_thread_join(threading_timer_thread(timer)));
        Check(threading_timer_free(timer));

        foreach (IntPtr thread in threads)
            Check(threading_thread_free(thread));
        Check(threading_event_free(@event));
        Check(threading_lock_free(@lock));

        // Waits for threads and timers while they can still call C#. Then exit ends the process. Mono's own end waits
        // for each thread that has called C# code, and the library keeps the threads that call timers' functions.
        Check(threading_shutdown());
        exit(0);
    }
}
