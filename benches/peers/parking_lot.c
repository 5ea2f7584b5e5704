/* parking_lot, through rust_peers/. */
#include "../bench.h"

#define PEER peer_parking_lot
#define PEER_NAME "parking_lot"
#define ON_HEAP
#define PREFIX parking_lot

static const char *version(void)
{
    return PARKING_LOT_VERSION;
}

#include "rust.h"

#define HAS_LOCK_TIMED
static inline bool lock_timed(lock *l, double seconds)
{
    return parking_lot_lock_timed(l, (uint64_t)seconds);
}

#define HAS_RLOCK
typedef rust_rlock rlock;

static rlock *rlock_new(void)
{
    return parking_lot_rlock_new();
}

static void rlock_free(rlock *r)
{
    parking_lot_rlock_free(r);
}

static inline void rlock_acquire(rlock *r)
{
    parking_lot_rlock_acquire(r);
}

static inline void rlock_release(rlock *r)
{
    parking_lot_rlock_release(r);
}

#include "loops.h"
