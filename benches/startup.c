/* Loads a library, uses its first lock, and starts and joins its first thread, in a process that has loaded nothing else.
 *
 *   startup PEER LIBRARY
 *
 * Prints the time until the lock was used, and until the thread was joined, in microseconds; and by how many bytes the
 * resident memory of the process has grown, and the part of it that is not in a file, which no other process shares. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void *library;

static void check(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "startup: %s failed\n", what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The functions of all libraries are called with arguments of these types; those that they do not use are ignored, as
 * are results. */
static void *call(const char *name, void *a, void *b, void *c)
{
    void *symbol = dlsym(library, name);
    check(symbol != NULL, name);
    void *(*function)(void *, void *, void *);
    memcpy(&function, &symbol, sizeof function);
    return function(a, b, c);
}

static void *returns(void *arg)
{
    return arg;
}

/* ---- the libraries ---- */

static void threading_lock(void)
{
    void *lock = call("threading_lock_new", NULL, NULL, NULL);
    check(lock != NULL, "threading_lock_new");
    call("threading_lock_acquire", lock, NULL, NULL);
    call("threading_lock_release", lock, NULL, NULL);
}

static void threading_thread(void)
{
    void *target;
    void *(*function)(void *) = returns;
    memcpy(&target, &function, sizeof target);
    void *thread = call("threading_thread_new", target, NULL, NULL);
    check(thread != NULL, "threading_thread_new");
    check((int)(long)call("threading_thread_start", thread, NULL, NULL) == 0, "threading_thread_start");
    check((int)(long)call("threading_thread_join", thread, NULL, NULL) == 0, "threading_thread_join");
    call("threading_thread_free", thread, NULL, NULL);
}

/* Larger than any mutex. */
static long mutex[32];

static void glib_lock(void)
{
    call("g_mutex_init", mutex, NULL, NULL);
    call("g_mutex_lock", mutex, NULL, NULL);
    call("g_mutex_unlock", mutex, NULL, NULL);
}

static void glib_thread(void)
{
    void *target;
    void *(*function)(void *) = returns;
    memcpy(&target, &function, sizeof target);
    void *thread = call("g_thread_new", NULL, target, NULL);
    check(thread != NULL, "g_thread_new");
    call("g_thread_join", thread, NULL, NULL);
}

static void libuv_lock(void)
{
    call("uv_mutex_init", mutex, NULL, NULL);
    call("uv_mutex_lock", mutex, NULL, NULL);
    call("uv_mutex_unlock", mutex, NULL, NULL);
}

static void libuv_thread(void)
{
    static long thread[4];
    void *target;
    void *(*function)(void *) = returns;
    memcpy(&target, &function, sizeof target);
    check((int)(long)call("uv_thread_create", thread, target, NULL) == 0, "uv_thread_create");
    call("uv_thread_join", thread, NULL, NULL);
}

static const struct {
    const char *peer;
    void (*use_lock)(void);
    void (*use_thread)(void);
} libraries[] = {
    {"libthreading", threading_lock, threading_thread},
    {"other libthreading", threading_lock, threading_thread},
    {"GLib", glib_lock, glib_thread},
    {"libuv", libuv_lock, libuv_thread},
};

/* ---- memory ---- */

struct memory {
    long resident;
    long own;
};

static long kilobytes(const char *text, const char *field)
{
    const char *at = strstr(text, field);
    check(at != NULL, field);
    return strtol(at + strlen(field), NULL, 10);
}

/* Allocates nothing. */
static struct memory memory(void)
{
    char text[2048];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    check(file >= 0, "/proc/self/smaps_rollup");
    ssize_t length = read(file, text, sizeof text - 1);
    check(length > 0, "read");
    close(file);
    text[length] = '\0';
    return (struct memory){kilobytes(text, "\nRss:"), kilobytes(text, "\nAnonymous:")};
}

int main(int argc, char **argv)
{
    size_t index = 0;
    check(argc == 3, "usage: startup PEER LIBRARY;");
    while (index < sizeof libraries / sizeof *libraries && strcmp(libraries[index].peer, argv[1]) != 0)
        index++;
    check(index < sizeof libraries / sizeof *libraries, argv[1]);
    /* The first calls touch pages of this program and of libc. */
    memory();
    now();
    struct memory before = memory();
    double began = now();
    library = dlopen(argv[2], RTLD_NOW);
    check(library != NULL, "dlopen");
    libraries[index].use_lock();
    double locked = now();
    libraries[index].use_thread();
    double joined = now();
    struct memory after = memory();
    printf("%.3f %.3f %ld %ld\n", locked - began, joined - began, (after.resident - before.resident) * 1024,
           (after.own - before.own) * 1024);
    fflush(stdout);
    _exit(0);
}
