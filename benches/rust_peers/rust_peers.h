/* The exports of rust_peers/src: for each object, `_new`, `_free` and its operations, with opaque pointers. */
#ifndef RUST_PEERS_H
#define RUST_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rust_lock rust_lock;
typedef struct rust_rlock rust_rlock;
typedef struct rust_condition rust_condition;
typedef struct rust_event rust_event;
typedef struct rust_semaphore rust_semaphore;
typedef struct rust_buffer rust_buffer;
typedef struct rust_barrier rust_barrier;
typedef struct rust_thread rust_thread;

#define RUST_PEER(prefix)                                                                                    \
    rust_lock *prefix##_lock_new(void);                                                                      \
    void prefix##_lock_free(rust_lock *);                                                                    \
    void prefix##_lock_acquire(rust_lock *);                                                                 \
    bool prefix##_lock_try(rust_lock *);                                                                     \
    void prefix##_lock_release(rust_lock *);                                                                 \
    rust_condition *prefix##_condition_new(void);                                                            \
    void prefix##_condition_free(rust_condition *);                                                          \
    void prefix##_condition_wait(rust_condition *, rust_lock *);                                             \
    void prefix##_condition_notify(rust_condition *);                                                        \
    void prefix##_condition_notify_all(rust_condition *);                                                    \
    rust_event *prefix##_event_new(void);                                                                    \
    void prefix##_event_free(rust_event *);                                                                  \
    bool prefix##_event_is_set(rust_event *);                                                                \
    void prefix##_event_set(rust_event *);                                                                   \
    void prefix##_event_clear(rust_event *);                                                                 \
    void prefix##_event_wait(rust_event *);                                                                  \
    rust_semaphore *prefix##_semaphore_new(int64_t value);                                                   \
    void prefix##_semaphore_free(rust_semaphore *);                                                          \
    void prefix##_semaphore_acquire(rust_semaphore *);                                                       \
    void prefix##_semaphore_release(rust_semaphore *);                                                       \
    rust_buffer *prefix##_buffer_new(size_t size);                                                           \
    void prefix##_buffer_free(rust_buffer *);                                                                \
    void prefix##_buffer_put(rust_buffer *, uint64_t item);                                                  \
    uint64_t prefix##_buffer_get(rust_buffer *)

RUST_PEER(parking_lot);
RUST_PEER(std);

bool parking_lot_lock_timed(rust_lock *lock, uint64_t seconds);
rust_rlock *parking_lot_rlock_new(void);
void parking_lot_rlock_free(rust_rlock *rlock);
void parking_lot_rlock_acquire(rust_rlock *rlock);
void parking_lot_rlock_release(rust_rlock *rlock);

rust_barrier *std_barrier_new(size_t parties);
void std_barrier_free(rust_barrier *barrier);
void std_barrier_wait(rust_barrier *barrier);
rust_thread *std_thread_start(void (*function)(void *arg), void *arg);
void std_thread_join(rust_thread *thread);
void std_local_set(void *value);
void *std_local_get(void);

#endif
