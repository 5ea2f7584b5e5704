/* The peers of this build, in the order of the table; libthreading is the first. */
#include "../bench.h"

#include <string.h>

extern const struct peer peer_threading;
extern const struct peer peer_pthread;
extern const struct peer peer_c11;
extern const struct peer peer_nsync;
extern const struct peer peer_glib;
extern const struct peer peer_parking_lot;
extern const struct peer peer_std;
extern const struct peer peer_libuv;
extern const struct peer peer_sdl2;
extern const struct peer peer_apr;
extern const struct peer peer_nspr;
extern const struct peer peer_timer_create;
extern const struct peer peer_thread_each;
extern const struct peer peer_cpython;
extern const struct peer peer_other;
extern const struct peer peer_libuv_batched;
extern const struct peer peer_limit;
extern const struct peer peer_empty_call;

const struct peer *const peers[] = {
    &peer_threading,     &peer_pthread,     &peer_c11,
#ifdef WITH_NSYNC
    &peer_nsync,
#endif
#ifdef WITH_GLIB
    &peer_glib,
#endif
    &peer_parking_lot,   &peer_std,
#ifdef WITH_LIBUV
    &peer_libuv,
#endif
#ifdef WITH_SDL2
    &peer_sdl2,
#endif
#ifdef WITH_APR
    &peer_apr,
#endif
#ifdef WITH_NSPR
    &peer_nspr,
#endif
    &peer_timer_create,  &peer_thread_each, &peer_cpython,
#ifdef WITH_LIBUV
    &peer_libuv_batched,
#endif
    &peer_other,         &peer_limit,       &peer_empty_call,  NULL,
};

const struct peer *peer_find(const char *name, size_t length)
{
    for (int i = 0; peers[i] != NULL; i++) {
        if (strlen(peers[i]->name) == length && strncmp(peers[i]->name, name, length) == 0)
            return peers[i];
    }
    return NULL;
}
