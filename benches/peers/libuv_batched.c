/* A baseline: libuv's timers where so many are armed and cancelled within one turn of the loop that the
 * turn itself costs nothing: a loop at full load. Nothing in it is ready for a second thread. */
#include "../bench.h"

#define PEER peer_libuv_batched
#define PEER_NAME "libuv batched"
#define BASELINE
#define CLOSED_PER_TURN 256

#include "libuv_timer.h"

static const char *version(void)
{
    return uv_version_string();
}

#include "loops.h"
