/* A baseline: libuv's timers in a loop under full load. Many timers are armed and cancelled per iteration, so the
 * iteration itself costs almost nothing. A second thread cannot use them. */
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
