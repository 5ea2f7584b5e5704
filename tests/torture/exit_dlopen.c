/* Leaving, with the library loaded by dlopen alone: by main or by another thread, closed again and loaded
 * again many times while its threads run. None of these processes crashes or hangs, and each exits with its
 * status after its threads have ended.
 *
 * One case is left out: a main thread that never met the library, loaded by another thread, and leaves by
 * pthread_exit while daemons run. Nobody tells the library of it, and the process goes on. */
#include "torture.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

enum way {
    CLOSED_OFTEN,        /* by main */
    CLOSED_AT_ONCE,      /* and by several threads */
    LEFT_OPEN,           /* main returns */
    LOADED_BY_ANOTHER,   /* main returns, and never met the library */
    LEFT_BY_MAIN,        /* pthread_exit, with daemons */
    LEFT_BY_MAIN_UNMET,  /* pthread_exit of a main that never met the library, without daemons */
    WAYS
};

static const char *const names[WAYS] = {
    "closed often", "closed often by several", "left open", "loaded by another thread", "left by pthread_exit",
    "left by pthread_exit of a main that never met it",
};

/* What is needed of the library. */
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
    static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&writing);
    if (api.thread_new == NULL)
        memcpy(&api, symbols, sizeof api);
    pthread_mutex_unlock(&writing);
    return library;
}

static int out;

static void say(char letter)
{
    TORTURE_CHECK(write(out, &letter, 1) == 1);
}

static void *work(void *arg)
{
    usleep(1000);
    say('w');
    return arg;
}

static void *nothing(void *arg)
{
    return arg;
}

static void ignore(void *value)
{
    (void)value;
}

static void *hammer(void *arg)
{
    threading_lock *lock = api.lock_new();
    threading_local *local = api.local_new(ignore);
    for (;;) {
        threading_timer *timer = api.timer_new(0.0001, nothing, NULL);
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
    say('c');
}

static void use_once(void)
{
    int value;
    threading_thread *thread = api.thread_new(nothing, &value);
    threading_timer *timer = api.timer_new(0, nothing, &value);
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

static void *open_and_leave_behind(void *daemons)
{
    open_library();
    TORTURE_CHECK(api.at_exit(callback, NULL) == 0);
    for (int i = 0; i < 2; i++)
        start(work, 0);
    if (daemons != NULL)
        start(hammer, 1);
    return daemons;
}

enum { TIMES = 1000, CLOSERS = 3 };

static int run_process(enum way way, int status)
{
    pthread_t threads[CLOSERS];
    int any = 0;
    switch (way) {
    case CLOSED_OFTEN:
    case CLOSED_AT_ONCE:
        TORTURE_CHECK(dlclose((open_and_leave_behind(&any), open_library())) == 0);
        for (int i = 0; way == CLOSED_AT_ONCE && i < CLOSERS; i++)
            TORTURE_CHECK(pthread_create(&threads[i], NULL, open_and_close, (void *)TIMES) == 0);
        open_and_close((void *)TIMES);
        for (int i = 0; way == CLOSED_AT_ONCE && i < CLOSERS; i++)
            TORTURE_CHECK(pthread_join(threads[i], NULL) == 0);
        return status;
    case LEFT_OPEN:
        open_and_leave_behind(&any);
        return status;
    case LEFT_BY_MAIN:
        open_and_leave_behind(&any);
        pthread_exit(&any);
    default:
        TORTURE_CHECK(pthread_create(&threads[0], NULL, open_and_leave_behind,
                                     way == LOADED_BY_ANOTHER ? &any : NULL) == 0);
        TORTURE_CHECK(pthread_join(threads[0], NULL) == 0);
        if (way == LEFT_BY_MAIN_UNMET)
            pthread_exit(&any);
        return status;
    }
}

/* What comes of the process: true in itself. */
static bool run_one(enum way way, int status)
{
    char said[16] = "";
    size_t size = 0;
    int fds[2], ended;
    pid_t pid;
    TORTURE_CHECK(pipe(fds) == 0);
    pid = fork();
    TORTURE_CHECK(pid >= 0);
    if (pid == 0) {
        out = fds[1];
        return true;
    }
    close(fds[1]);
    double end = torture_now() + TORTURE_HANG / 2;
    for (ssize_t got = 1; got != 0 && size < sizeof said - 1;) {
        struct pollfd ready = {.fd = fds[0], .events = POLLIN};
        if (poll(&ready, 1, 1000) > 0 && (got = read(fds[0], said + size, sizeof said - 1 - size)) > 0)
            size += (size_t)got;
        if (torture_now() > end) {
            kill(pid, SIGABRT);
            torture_fail(__FILE__, __LINE__, "a process (%s) hangs, having said \"%s\"", names[way], said);
        }
    }
    close(fds[0]);
    while (waitpid(pid, &ended, 0) < 0)
        TORTURE_CHECK(errno == EINTR);
    bool by_exit = way != LEFT_BY_MAIN && way != LEFT_BY_MAIN_UNMET;
    if (WIFSIGNALED(ended) || WEXITSTATUS(ended) != (by_exit ? status : 0))
        torture_fail(__FILE__, __LINE__, "a process (%s) ends with %d, having said \"%s\"", names[way], ended, said);
    unsigned workers = 0, callbacks = 0;
    for (const char *letter = said; *letter != '\0'; letter++) {
        workers += *letter == 'w';
        callbacks += *letter == 'c';
    }
    if (workers != 2 || callbacks != 1)
        torture_fail(__FILE__, __LINE__, "a process (%s) said \"%s\"", names[way], said);
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
        if (run_one(way, status))
            return run_process(way, status);
        loads += way == CLOSED_OFTEN ? TIMES : way == CLOSED_AT_ONCE ? TIMES * (1 + CLOSERS) : 1;
    }
    torture_figure("processes ended", (double)atomic_load(&torture.steps));
    torture_figure("times loaded", (double)loads);
    torture_figure("ways", WAYS);
    return torture_end();
}
