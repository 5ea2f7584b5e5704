/* Another libthreading.so, for example of an earlier commit. The environment variable BENCH_OTHER is its path;
 * process.c preloads it in the processes that measure this peer. */
#include <stdlib.h>

#define OTHER
#define PEER peer_other
#define PEER_NAME "other libthreading"

static const char *version(void)
{
    return getenv("BENCH_OTHER");
}

#include "threading.c"
