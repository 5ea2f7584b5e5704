/*
 * load LIBRARY: loads the library by dlopen(), as interpreters do, runs a thread, and checks that the thread has run.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <threading.h>

static void *store(void *flag)
{
    *(int *)flag = 1;
    return NULL;
}

/* Stores the address of a function of the library in *function. */
static int find(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

int main(int argc, char **argv)
{
    threading_thread *(*create)(threading_target target, void *arg);
    threading_status (*start)(threading_thread *), (*join)(threading_thread *), (*release)(threading_thread *);
    threading_thread *thread;
    void *library;
    int has_run = 0;
    if (argc != 2)
        return 2;
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "load: %s\n", dlerror());
        return 1;
    }
    if (!find(library, "threading_thread_new", &create) || !find(library, "threading_thread_start", &start) ||
        !find(library, "threading_thread_join", &join) || !find(library, "threading_thread_free", &release)) {
        fprintf(stderr, "load: a function is missing\n");
        return 1;
    }
    thread = create(store, &has_run);
    if (start(thread) != THREADING_OK || join(thread) != THREADING_OK || release(thread) != THREADING_OK || !has_run) {
        fprintf(stderr, "load: the thread has not run\n");
        return 1;
    }
    printf("load: passed\n");
    return 0;
}
