/* Replaces functions of libc that the library calls, and makes them fail on request. Only calls that come from the
 * library's own code fail; calls from callbacks and from libc itself do not. */
#include "fault_injection.h"
#include "splitmix64.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------ which calls fail */

static _Thread_local bool thread_armed;
static atomic_bool all_threads_armed;
static enum fault_mode fault_mode;
static long fault_call;
static atomic_long call_count, memory_call_count, fault_count;
static _Atomic uint64_t random_state;
static const char *_Atomic last_name;

static uintptr_t code_begin, code_end; /* of the library */

static int find_code(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size, (void)arg;
    if (strstr(object->dlpi_name, "libthreading.so") == NULL)
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X) != 0) {
            code_begin = object->dlpi_addr + header->p_vaddr;
            code_end = code_begin + header->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    dl_iterate_phdr(find_code, NULL);
}

static bool from_library(const void *caller)
{
    return (uintptr_t)caller - code_begin < code_end - code_begin;
}

/* Counts a call of the library. Returns true, with errno set, if the call must fail. */
static bool fails(const char *what, const void *caller, int error)
{
    if ((!thread_armed && !atomic_load(&all_threads_armed)) || !from_library(caller))
        return false;
    bool is_file_call = strncmp(what, "open", 4) == 0 || strcmp(what, "read") == 0 || strcmp(what, "write") == 0;
    atomic_fetch_add(&memory_call_count, !is_file_call);
    long call = atomic_fetch_add(&call_count, 1) + 1;
    bool fails_now = (fault_mode == FAIL_ONE && call == fault_call) || (fault_mode == FAIL_FROM && call >= fault_call);
    if (fault_mode == FAIL_RANDOMLY)
        fails_now = splitmix64_mix(atomic_fetch_add(&random_state, 1)) % (uint64_t)fault_call == 0;
    if (fails_now) {
        atomic_fetch_add(&fault_count, 1);
        atomic_store(&last_name, what);
        errno = error;
    }
    return fails_now;
}

#define FAILS(error) fails(__func__, __builtin_return_address(0), (error))

void inject_faults(enum fault_mode mode, long n, uint64_t seed, bool all_threads)
{
    fault_mode = mode;
    fault_call = n;
    atomic_store(&random_state, seed);
    atomic_store(&call_count, 0);
    atomic_store(&memory_call_count, 0);
    atomic_store(&fault_count, 0);
    thread_armed = true;
    atomic_store(&all_threads_armed, all_threads);
}

long stop_faults(void)
{
    thread_armed = false;
    atomic_store(&all_threads_armed, false);
    return atomic_load(&call_count);
}

long memory_calls(void)
{
    return atomic_load(&memory_call_count);
}

long injected_faults(void)
{
    return atomic_load(&fault_count);
}

const char *last_fault(void)
{
    const char *what = atomic_load(&last_name);
    return what != NULL ? what : "nothing";
}

/* --------------------------------------------------------------------------------------------- memory blocks */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *old);

/* The blocks that the library has allocated, in a hash table. A block is not recorded if its neighbourhood is full. */
enum { BLOCKS = 1 << 14, MAX_PROBES = 64 };
static void *_Atomic blocks[BLOCKS];
static atomic_long block_count;

static size_t first_index(const void *block)
{
    return ((uintptr_t)block >> 4) % BLOCKS;
}

static void *record_block(void *block, const void *caller)
{
    if (block == NULL || !from_library(caller))
        return block;
    for (size_t n = 0, i = first_index(block); n < MAX_PROBES; n++, i = (i + 1) % BLOCKS) {
        void *none = NULL;
        if (atomic_compare_exchange_strong(&blocks[i], &none, block)) {
            atomic_fetch_add(&block_count, 1);
            break;
        }
    }
    return block;
}

static void forget_block(void *block)
{
    if (block == NULL || atomic_load(&block_count) == 0)
        return;
    for (size_t n = 0, i = first_index(block); n < MAX_PROBES; n++, i = (i + 1) % BLOCKS) {
        void *it = block;
        if (atomic_compare_exchange_strong(&blocks[i], &it, NULL)) {
            atomic_fetch_sub(&block_count, 1);
            return;
        }
    }
}

long live_blocks(void)
{
    return atomic_load(&block_count);
}

void *malloc(size_t size)
{
    return FAILS(ENOMEM) ? NULL : record_block(__libc_malloc(size), __builtin_return_address(0));
}

void *calloc(size_t count, size_t size)
{
    return FAILS(ENOMEM) ? NULL : record_block(__libc_calloc(count, size), __builtin_return_address(0));
}

void *realloc(void *old, size_t size)
{
    if (FAILS(ENOMEM))
        return NULL;
    void *block = __libc_realloc(old, size);
    if (block != NULL)
        forget_block(old);
    return record_block(block, __builtin_return_address(0));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return FAILS(ENOMEM) ? NULL : record_block(__libc_memalign(alignment, size), __builtin_return_address(0));
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    void *memory = FAILS(ENOMEM) ? NULL : record_block(__libc_memalign(alignment, size), __builtin_return_address(0));
    if (memory == NULL)
        return ENOMEM;
    *block = memory;
    return 0;
}

void free(void *block)
{
    forget_block(block);
    __libc_free(block);
}

/* -------------------------------------------------------------------------------------------------- mappings */

static atomic_long mapped;

static void *map(void *at, size_t size, int protection, int flags, int fd, off_t offset, const void *caller)
{
    void *memory = (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
    if (memory != MAP_FAILED && from_library(caller) && (flags & MAP_FIXED) == 0)
        atomic_fetch_add(&mapped, (long)size);
    return memory;
}

size_t slot_offset(const void *handle)
{
    enum { BLOCK = 64 * 1024, SLOT = 64 };
    return (uintptr_t)handle % BLOCK / SLOT * SLOT; /* without the generation */
}

long mapped_bytes(void)
{
    return atomic_load(&mapped);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (FAILS(ENOMEM))
        return MAP_FAILED;
    return map(at, size, protection, flags, fd, offset, __builtin_return_address(0));
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    if (FAILS(ENOMEM))
        return MAP_FAILED;
    return map(at, size, protection, flags, fd, offset, __builtin_return_address(0));
}

int munmap(void *at, size_t size)
{
    if (from_library(__builtin_return_address(0)))
        atomic_fetch_sub(&mapped, (long)size);
    return (int)syscall(SYS_munmap, at, size);
}

int mprotect(void *at, size_t size, int protection)
{
    return FAILS(ENOMEM) ? -1 : (int)syscall(SYS_mprotect, at, size, protection);
}

int madvise(void *at, size_t size, int advice)
{
    return FAILS(EAGAIN) ? -1 : (int)syscall(SYS_madvise, at, size, advice);
}

/* ------------------------------------------------------------------------------- threads and other functions */

/* Defines a function that fails on request, and otherwise calls the original. */
#define DEFINE_FAILING(name, parameters, arguments, error_value)                                                       \
    int name parameters                                                                                                \
    {                                                                                                                  \
        static int(*real) parameters;                                                                                  \
        void *symbol;                                                                                                  \
        if (FAILS(EAGAIN))                                                                                             \
            return error_value;                                                                                        \
        if (real == NULL) {                                                                                            \
            symbol = dlsym(RTLD_NEXT, #name);                                                                          \
            memcpy(&real, &symbol, sizeof real);                                                                       \
        }                                                                                                              \
        return real arguments;                                                                                         \
    }

DEFINE_FAILING(pthread_create,
               (pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*entry)(void *),
                void *restrict arg),
               (thread, attributes, entry, arg), EAGAIN)
DEFINE_FAILING(pthread_key_create, (pthread_key_t * key, void (*destructor)(void *)), (key, destructor), EAGAIN)
DEFINE_FAILING(pthread_setspecific, (pthread_key_t key, const void *value), (key, value), ENOMEM)
DEFINE_FAILING(pthread_attr_init, (pthread_attr_t * attributes), (attributes), ENOMEM)
DEFINE_FAILING(pthread_attr_setstack, (pthread_attr_t * attributes, void *stack, size_t size),
               (attributes, stack, size), EINVAL)
DEFINE_FAILING(pthread_attr_setstacksize, (pthread_attr_t * attributes, size_t size), (attributes, size), EINVAL)
DEFINE_FAILING(pthread_attr_setdetachstate, (pthread_attr_t * attributes, int state), (attributes, state), EINVAL)

/* What atexit() calls in a shared library. */
int __cxa_atexit(void (*function)(void *), void *arg, void *object);
DEFINE_FAILING(__cxa_atexit, (void (*function)(void *), void *arg, void *object), (function, arg, object), -1)

int getrlimit(__rlimit_resource_t resource, struct rlimit *limits)
{
    return FAILS(EINVAL) ? -1 : (int)syscall(SYS_prlimit64, 0, resource, NULL, limits);
}

int prctl(int option, ...)
{
    unsigned long a[4];
    va_list values;
    va_start(values, option);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(values, unsigned long);
    va_end(values);
    return FAILS(EPERM) ? -1 : (int)syscall(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}

int open(const char *path, int flags, ...)
{
    va_list values;
    va_start(values, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(values, mode_t) : 0;
    va_end(values);
    return FAILS(EMFILE) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list values;
    va_start(values, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(values, mode_t) : 0;
    va_end(values);
    return FAILS(EMFILE) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t read(int fd, void *buffer, size_t size)
{
    return FAILS(EIO) ? -1 : syscall(SYS_read, fd, buffer, size);
}

ssize_t write(int fd, const void *buffer, size_t size)
{
    return FAILS(EIO) ? -1 : syscall(SYS_write, fd, buffer, size);
}
