/* Shows: a program that does not exit, and finds out why.
 *
 * main() returns and has forgotten two things: to tell the worker to stop, and to cancel the timer. Threads
 * that are not daemons, and pending timers, are joined at process exit, so the process does not end.
 *
 * When the exit has waited for half a second, the thread that waits in it calls the hang hook, and again
 * whenever that time has doubled. The argument of the hook is a dump, which shows what the exit waits for:
 * the worker with the event that it waits for, and the timer with the time until it is due. Here, the hook
 * then does what main() has forgotten, so that the program ends. In a real program, the report shows what
 * main() must do before it returns.
 *
 * The daemon is in the report, too, but the exit does not wait for it.
 */
#include "check.h"

#include <threading.h>

static threading_event *stop;
static threading_timer *reminder;

static void *wait_for_stop(void *arg)
{
    check(threading_event_wait(stop));
    return arg;
}

static void *remind(void *arg)
{
    puts("an hour is over");
    return arg;
}

static void on_hang(int kind, const char *report, void *arg)
{
    (void)arg;
    fputs(kind == THREADING_HANG_EXIT ? "The process does not exit:\n" : "Threads hang:\n", stdout);
    fputs(report, stdout);
    fflush(stdout);
    check(threading_timer_cancel(reminder));
    check(threading_event_set(stop));
}

static void start_worker(const char *name, int daemon)
{
    threading_thread *worker = check(threading_thread_new(wait_for_stop, NULL));
    check(threading_thread_set_name(worker, name));
    check(threading_thread_set_daemon(worker, daemon));
    check(threading_thread_start(worker));
    check(threading_thread_free(worker));
}

int main(void)
{
    check(threading_set_hang_hook(0.5, on_hang, NULL));

    stop = check(threading_event_new());
    check(threading_event_set_name(stop, "stop"));
    start_worker("worker", 0);
    start_worker("daemon", 1);
    reminder = check(threading_timer_new(3600.0, remind, NULL));
    check(threading_thread_set_name(threading_timer_thread(reminder), "reminder"));
    check(threading_timer_start(reminder));

    puts("main returns");
    fflush(stdout);
    return 0;
}
