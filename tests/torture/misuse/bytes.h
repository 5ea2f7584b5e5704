/* The source of all random decisions: a stream of bytes. It comes from a file or a fuzzer, and then it is finite, or
 * from a pseudorandom generator with a seed, and then it is infinite. Also turns bytes into counts, timeouts and
 * names, many of which are extreme or invalid. */
#ifndef MISUSE_BYTES_H
#define MISUSE_BYTES_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <threading.h>

#include "../splitmix64.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct bytes {
    const uint8_t *at, *end; /* the unread rest of a given stream */
    bool seeded;             /* the bytes are generated instead */
    uint64_t state, pool;    /* the generator's state, and the unused bytes of its last number */
    unsigned in_pool;
};

static inline bool bytes_left(const struct bytes *bytes)
{
    return bytes->seeded || bytes->at < bytes->end;
}

/* Returns the next byte; 0 at the end of the stream. */
static inline uint8_t next_byte(struct bytes *bytes)
{
    if (!bytes->seeded)
        return bytes->at < bytes->end ? *bytes->at++ : 0;
    if (bytes->in_pool == 0) {
        bytes->pool = splitmix64_next(&bytes->state);
        bytes->in_pool = sizeof bytes->pool;
    }
    uint8_t byte = (uint8_t)bytes->pool;
    bytes->pool >>= 8;
    bytes->in_pool--;
    return byte;
}

static inline bool one_in(struct bytes *bytes, unsigned n)
{
    return next_byte(bytes) % n == 0;
}

/* Returns 64 random bits. They are hashed, because a fuzzer that watches comparisons could otherwise construct valid
 * addresses. */
static inline uint64_t next_bits(struct bytes *bytes)
{
    uint64_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits = bits << 8 | next_byte(bytes);
    return splitmix64_next(&bits);
}

/* --------------------------------------------------------------------------------------------- sets of statuses */

typedef uint32_t statuses;

#define ONE(status) (UINT32_C(1) << ((status) + 17))
#define EITHER(one, other) (ONE(one) | ONE(other))
#define NONE UINT32_C(0)

static inline bool is_one_of(threading_status status, statuses set)
{
    return status >= -17 && status <= 4 && (set & ONE(status)) != 0;
}

/* ------------------------------------------------------------------------------------------------------ timeouts */

/* A timeout, and the errors that a function which takes it must return. */
struct seconds {
    double value;
    statuses error;
};

/* Returns an invalid or a very short timeout. If the call does not block (`does_not_block`), it may also be long. */
static inline struct seconds next_seconds(struct bytes *bytes, bool does_not_block)
{
    static const double short_timeouts[] = {0, 0, 0, 0, 0, -0.0, DBL_TRUE_MIN, 1e-9, 1e-6, 5e-5};
    static const double long_timeouts[] = {THREADING_FOREVER, INFINITY, THREADING_TIMEOUT_MAX, 86400, 0.5};
    static const double negative[] = {-INFINITY,           -2,      -0.5,          -1.0000000000000002,
                                      -0.9999999999999999, -1e-300, -DBL_TRUE_MIN, -1e300};
    static const double too_long[] = {9223372036.000002, 9223372037, 1e10, 1e19, 1e300, DBL_MAX};
    uint8_t byte = next_byte(bytes);
    unsigned which = byte / 8;
    switch (byte % 8) {
    case 0:
        return (struct seconds){negative[which % COUNT(negative)], ONE(THREADING_ERR_VALUE)};
    case 1:
        return (struct seconds){too_long[which % COUNT(too_long)], ONE(THREADING_ERR_OVERFLOW)};
    case 2:
        return (struct seconds){which % 2 ? NAN : -NAN, ONE(THREADING_ERR_VALUE)};
    case 3:
    case 4:
    case 5:
        if (does_not_block)
            return (struct seconds){long_timeouts[which % COUNT(long_timeouts)], NONE};
        /* fall through */
    default:
        return (struct seconds){short_timeouts[which % COUNT(short_timeouts)], NONE};
    }
}

/* ------------------------------------------------------------------------------------------------ numbers, names */

static inline int64_t next_count(struct bytes *bytes)
{
    static const int64_t counts[] = {0,
                                     1,
                                     2,
                                     3,
                                     -1,
                                     1,
                                     2,
                                     INT64_MIN,
                                     INT64_MAX,
                                     THREADING_SEMAPHORE_MAX,
                                     (int64_t)THREADING_SEMAPHORE_MAX + 1,
                                     (int64_t)THREADING_SEMAPHORE_MAX - 1,
                                     INT32_MIN,
                                     UINT32_MAX,
                                     (int64_t)1 << 32,
                                     ((int64_t)1 << 32) + 1};
    uint8_t byte = next_byte(bytes);
    return byte < 240 ? counts[byte % COUNT(counts)] : (int64_t)next_bits(bytes);
}

static inline size_t next_size(struct bytes *bytes)
{
    static const size_t sizes[] = {0, 1, 2, 3, 7, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, (size_t)UINT32_MAX + 1, INT32_MAX};
    uint8_t byte = next_byte(bytes);
    return byte < 240 ? sizes[byte % COUNT(sizes)] : (size_t)next_bits(bytes);
}

/* A thread name or an attribute name. */
struct name {
    const char *text;
    bool is_utf8; /* valid UTF-8, and not NULL */
};

#define LONG_16 "0123456789abcdef"
#define LONG_256                                                                                                       \
    LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16 LONG_16    \
        LONG_16 LONG_16
#define LONG_3072                                                                                                      \
    LONG_256 LONG_256 LONG_256 LONG_256 LONG_256 LONG_256 LONG_256 LONG_256 LONG_256 LONG_256 LONG_256 LONG_256

static inline struct name next_name(struct bytes *bytes)
{
    static const struct name names[] = {
        {"", true},
        {"a", true},
        {"worker", true},
        {"fifteen bytes..", true},
        {"sixteen bytes...", true},
        {"fourteen bytes\xc3\xa9", true},
        {"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", true},
        {"\xf0\x9f\xa7\xb5 four bytes \xf0\x9f\xa7\xb5", true},
        {"control \x01\x1b\x7f\n", true},
        {LONG_3072, true},
        {NULL, false},
        {"\xff", false},
        {"\xc0\x80", false},
        {"\xed\xa0\x80", false},
        {"truncated \xe2\x82", false},
        {"\xf4\x90\x80\x80", false},
    };
    return names[next_byte(bytes) % COUNT(names)];
}

#endif
