// The example for JNA: two threads, a lock, an event with a timeout, timers.

import com.sun.jna.Callback;
import com.sun.jna.CallbackThreadInitializer;
import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;

public class Example {
    /** The declarations of threading.h that the example uses. A handle is a Pointer, a status an int. */
    public interface Threading extends Library {
        int OK = 0;
        int TIMED_OUT = 1;

        interface Target extends Callback {
            Pointer run(Pointer arg);
        }

        Pointer threading_thread_new(Target target, Pointer arg);
        int threading_thread_set_name(Pointer thread, String name);
        String threading_thread_name(Pointer thread);
        int threading_thread_start(Pointer thread);
        int threading_thread_join(Pointer thread);
        int threading_thread_free(Pointer thread);
        Pointer threading_current_thread();

        Pointer threading_lock_new();
        int threading_lock_acquire(Pointer lock);
        int threading_lock_release(Pointer lock);
        int threading_lock_free(Pointer lock);

        Pointer threading_event_new();
        int threading_event_set(Pointer event);
        int threading_event_clear(Pointer event);
        int threading_event_wait_timeout(Pointer event, double seconds);
        int threading_event_free(Pointer event);

        Pointer threading_timer_new(double interval, Target function, Pointer arg);
        Pointer threading_timer_new(double interval, Pointer function, Pointer arg);
        Pointer threading_timer_thread(Pointer timer);
        int threading_timer_start(Pointer timer);
        int threading_timer_free(Pointer timer);

        String threading_status_name(int status);
        int threading_last_error();
        String threading_last_error_message();
        int threading_shutdown();
    }

    static final Threading LIB = Native.load("libthreading.so.0", Threading.class);
    static int total;

    // Callbacks must be kept alive as long as the library may call them. Here the class refers to them.
    static final Threading.Target ADD = lock -> {
        for (int i = 0; i < 1000; i++) {
            check(LIB.threading_lock_acquire(lock));
            total++;
            check(LIB.threading_lock_release(lock));
        }
        return null;
    };
    static final Threading.Target RING = event -> {
        System.out.println(LIB.threading_thread_name(LIB.threading_current_thread()) + " rings");
        check(LIB.threading_event_set(event));
        return null;
    };

    static int check(int status) {
        if (status < 0) {
            throw new IllegalStateException(LIB.threading_last_error_message());
        }
        return status;
    }

    static Pointer check(Pointer handle) {
        if (handle == null) {
            throw new IllegalStateException(LIB.threading_last_error_message());
        }
        return handle;
    }

    public static void main(String[] args) {
        // Waits for threads and timers while they can still call Java. Process exit would wait too late.
        Runtime.getRuntime().addShutdownHook(new Thread(LIB::threading_shutdown));
        // JNA attaches foreign threads as Java threads: here as daemons, which the virtual machine does not wait for.
        for (Threading.Target target : new Threading.Target[] {ADD, RING}) {
            Native.setCallbackThreadInitializer(target, new CallbackThreadInitializer(true));
        }
        Pointer lock = check(LIB.threading_lock_new());
        Pointer event = check(LIB.threading_event_new());

        if (check(LIB.threading_event_wait_timeout(event, 0.05)) == Threading.TIMED_OUT) {
            System.out.println("the event is not set yet");
        }

        Pointer[] threads = new Pointer[2];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = check(LIB.threading_thread_new(ADD, lock));
            check(LIB.threading_thread_set_name(threads[i], "adder-" + (i + 1)));
            check(LIB.threading_thread_start(threads[i]));
        }
        for (Pointer thread : threads) {
            check(LIB.threading_thread_join(thread));
        }
        System.out.println(LIB.threading_thread_name(threads[0]) + " and " + LIB.threading_thread_name(threads[1])
            + " have added " + total);

        if (LIB.threading_lock_release(lock) < 0) {
            System.out.println("release failed: " + LIB.threading_status_name(LIB.threading_last_error()) + ", "
                + LIB.threading_last_error_message());
        }

        Pointer timer = check(LIB.threading_timer_new(0.1, RING, event));
        check(LIB.threading_thread_set_name(LIB.threading_timer_thread(timer), "alarm"));
        check(LIB.threading_timer_start(timer));
        if (check(LIB.threading_event_wait_timeout(event, 10)) == Threading.OK) {
            System.out.println("the event is set");
        }
        check(LIB.threading_thread_join(LIB.threading_timer_thread(timer)));
        check(LIB.threading_timer_free(timer));

        // A function of the library as the timer's function, which runs no Java code.
        Pointer set = NativeLibrary.getInstance("libthreading.so.0").getFunction("threading_event_set");
        check(LIB.threading_event_clear(event));
        timer = check(LIB.threading_timer_new(0.1, set, event));
        check(LIB.threading_timer_start(timer));
        if (check(LIB.threading_event_wait_timeout(event, 10)) == Threading.OK) {
            System.out.println("a timer without a callback has set the event");
        }
        check(LIB.threading_thread_join(LIB.threading_timer_thread(timer)));

        for (Pointer thread : threads) {
            check(LIB.threading_thread_free(thread));
        }
        check(LIB.threading_timer_free(timer));
        check(LIB.threading_event_free(event));
        check(LIB.threading_lock_free(lock));
    }
}
