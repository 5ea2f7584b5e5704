/* Process exit with the library loaded by dlopen(): by main or another thread, closed and loaded again many times
 * while its threads run. No process crashes or hangs, and each exits with its status after its threads have
 * finished.
 *
 * One case is left out: main has never called the library, another thread loaded it, and main calls pthread_exit()
 * while daemons run. The library cannot detect this, and the process continues to run. */
#include "torture.h"

#include "child.h"

#include <dlfcn.h>

enum way {
    CLOSED_REPEATEDLY,         /* by main */
    CLOSED_CONCURRENTLY,       /* also by several threads */
    LEFT_OPEN,                 /* main returns */
    LOADED_BY_ANOTHER,         /* main returns and has never called the library */
    MAIN_PTHREAD_EXIT,         /* main calls pthread_exit() while daemons run */
    UNKNOWN_MAIN_PTHREAD_EXIT, /* main calls pthread_exit() and has never called the library; no daemons run */
    WAYS
};

static const char *const names[WAYS] = {
    "closed repeatedly",
    "closed repeatedly by several threads",
    "left open",
    "loaded by another thread",
    "pthread_exit in main",
    "pthread_exit in a main that never called the library",
};

/* The functions of the library that are used. */
static struct api {
    threading_thread *(*thread_new)(threading_target target, void *arg);
    threading_status (*set_daemon)(threading_thread *thread, int daemon);
    threading_status (*start)(threading_thread *thread);
    threading_status (*join)(threading_thread *thread);
    threading_status (*thread_free)(threading_thread *thread);
    threading_timer *(*timer_new)(double interval, threading_target function, void *arg);
    threading_status (*timer_start)(threading_timer *timer);
    threading_status (*timer_free)(threading_timer *timer);
    threading_lock *(*lock_new)(void);
    threading_status (*lock_acquire)(threading_lock *lock);
    threading_status (*lock_release)(threading_lock *lock);
    threading_local *(*local_new)(threading_destructor destroy);
    threading_status (*local_set)(threading_local *local, void *value);
    threading_status (*at_exit)(threading_callback callback, void *arg);
} api;

static void *open_library(void)
{
    static const char *const functions[] = {
        "thread_new", "thread_set_daemon", "thread_start", "thread_join",  "thread_free", "timer_new", "timer_start",
        "timer_free", "lock_new",          "lock_acquire", "lock_release", "local_new",   "local_set", "atexit",
    };
    void *library = dlopen(THREADING_LIBRARY, RTLD_NOW | RTLD_LOCAL), *symbols[sizeof api / sizeof(void *)];
    char name[64];
    if (library == NULL)
        torture_fail(__FILE__, __LINE__, "%s", dlerror());
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        snprintf(name, sizeof name, "threading_%s", functions[i]);
        symbols[i] = dlsym(library, name);
        TORTURE_CHECK(symbols[i] != NULL);
    }
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    if (api.thread_new == NULL)
        memcpy(&api, symbols, sizeof api);
    pthread_mutex_unlock(&mutex);
    return library;
}

static int out;

static void report(char letter)
{
    TORTURE_CHECK(write(out, &letter, 1) == 1);
}

static void *work(void *arg)
{
    usleep(1000);
    report('w');
    return arg;
}

static void *return_arg(void *arg)
{
    return arg;
}

static void keep_value(void *value)
{
    (void)value;
}

static void *use_library(void *arg)
{
    threading_lock *lock = api.lock_new();
    threading_local *local = api.local_new(keep_value);
    for (;;) {
        threading_timer *timer = api.timer_new(0.0001, return_arg, NULL);
        api.lock_acquire(lock);
        api.local_set(local, &timer);
        api.timer_start(timer);
        api.lock_release(lock);
        api.timer_free(timer);
        usleep(50);
    }
    return arg;
}

static void start(threading_target target, int daemon)
{
    threading_thread *thread = api.thread_new(target, NULL);
    TORTURE_CHECK(thread != NULL && api.set_daemon(thread, daemon) == 0);
    TORTURE_CHECK(api.start(thread) == 0 && api.thread_free(thread) == 0);
}

static void callback(void *arg)
{
    (void)arg;
    report('c');
}

static void use_once(void)
{
    int value;
    threading_thread *thread = api.thread_new(return_arg, &value);
    threading_timer *timer = api.timer_new(0, return_arg, &value);
    TORTURE_CHECK(thread != NULL && timer != NULL);
    TORTURE_CHECK(api.start(thread) == 0 && api.timer_start(timer) == 0);
    TORTURE_CHECK(api.join(thread) == 0 && api.thread_free(thread) == 0 && api.timer_free(timer) == 0);
}

static void *open_and_close(void *times)
{
    for (size_t i = 0; i < (size_t)(uintptr_t)times; i++) {
        void *library = open_library();
        if (i % 8 == 0)
            use_once();
        TORTURE_CHECK(dlclose(library) == 0);
    }
    return times;
}

static void *open_and_start_threads(void *daemons)
{
    open_library();
    TORTURE_CHECK(api.at_exit(callback, NULL) == 0);
    for (int i = 0; i < 2; i++)
        start(work, 0);
    if (daemons != NULL)
        start(use_library, 1);
    return daemons;
}

enum { TIMES = 1000, CLOSERS = 3 };

static int run_process(enum way way, int status)
{
    pthread_t threads[CLOSERS];
    int any = 0;
    switch (way) {
    case CLOSED_REPEATEDLY:
    case CLOSED_CONCURRENTLY:
        TORTURE_CHECK(dlclose((open_and_start_threads(&any), open_library())) == 0);
        for (int i = 0; way == CLOSED_CONCURRENTLY && i < CLOSERS; i++)
            TORTURE_CHECK(pthread_create(&threads[i], NULL, open_and_close, (void *)TIMES) == 0);
        open_and_close((void *)TIMES);
        for (int i = 0; way == CLOSED_CONCURRENTLY && i < CLOSERS; i++)
            TORTURE_CHECK(pthread_join(threads[i], NULL) == 0);
        return status;
    case LEFT_OPEN:
        open_and_start_threads(&any);
        return status;
    case MAIN_PTHREAD_EXIT:
        open_and_start_threads(&any);
        pthread_exit(&any);
    default:
        TORTURE_CHECK(
            pthread_create(&threads[0], NULL, open_and_start_threads, way == LOADED_BY_ANOTHER ? &any : NULL) == 0);
        TORTURE_CHECK(pthread_join(threads[0], NULL) == 0);
        if (way == UNKNOWN_MAIN_PTHREAD_EXIT)
            pthread_exit(&any);
        return status;
    }
}

/* Runs one process and checks it. Returns true in the child, which must then call run_process(). */
static bool run_and_check(enum way way, int status)
{
    char output[16] = "", description[80];
    int fds[2], wait_status;
    pid_t pid;
    TORTURE_CHECK(pipe(fds) == 0);
    pid = fork();
    TORTURE_CHECK(pid >= 0);
    if (pid == 0) {
        out = fds[1];
        return true;
    }
    close(fds[1]);
    snprintf(description, sizeof description, "a process (%s)", names[way]);
    wait_status = read_child(pid, fds[0], description, output, sizeof output);
    bool returns_status = way != MAIN_PTHREAD_EXIT && way != UNKNOWN_MAIN_PTHREAD_EXIT;
    if (WIFSIGNALED(wait_status) || WEXITSTATUS(wait_status) != (returns_status ? status : 0))
        torture_fail(__FILE__, __LINE__, "%s ended with wait status %#x, after the output \"%s\"", description,
                     (unsigned)wait_status, output);
    unsigned workers = 0, callbacks = 0;
    for (const char *letter = output; *letter != '\0'; letter++) {
        workers += *letter == 'w';
        callbacks += *letter == 'c';
    }
    if (workers != 2 || callbacks != 1)
        torture_fail(__FILE__, __LINE__, "%s wrote \"%s\"", description, output);
    torture_step(1);
    return false;
}

int main(int argc, char **argv)
{
    uint64_t loads = 0;
    torture_begin("exit_dlopen", argc, argv);
    struct random random = random_of(0);
    for (unsigned i = 0; torture_running(); i++) {
        enum way way = (enum way)(i % WAYS);
        int status = 1 + (int)random_below(&random, 250);
        if (run_and_check(way, status))
            return run_process(way, status);
        loads += way == CLOSED_REPEATEDLY ? TIMES : way == CLOSED_CONCURRENTLY ? TIMES * (1 + CLOSERS) : 1;
    }
    torture_figure("processes ended", (double)atomic_load(&torture.steps));
    torture_figure("loads", (double)loads);
    torture_figure("ways to end a process", WAYS);
    return torture_end();
}
