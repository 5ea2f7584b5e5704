/* Shows: a deadlock, and a program that prints which threads and locks it consists of.
 *
 * Each thread moves an amount between two records, and acquires their locks in the order of its arguments.
 * So one thread owns the accounts and waits for the journal, and the other one owns the journal and waits
 * for the accounts. The barrier ensures that this happens in every run; in a program that does this by
 * mistake, it may happen once a month.
 *
 * When the two have waited for half a second, one of them calls the hang hook: the library has no thread
 * that watches the others. The argument of the hook is a dump: the deadlock first, and then each thread
 * with what it waits for and what it owns. Without the names of the locks, it would show their handles.
 *
 * The hook ends the program with status 3, by _Exit(): exit() would wait for the two threads. The remedy
 * is to acquire the locks in the same order in both threads, for example in that of their addresses.
 */
#include "check.h"

#include <threading.h>

#define DEADLOCKED 3

struct record {
    threading_lock *lock;
    int balance;
};

struct transfer {
    struct record *from, *to;
    threading_barrier *both_own_one;
};

static void *move_one(void *arg)
{
    struct transfer *transfer = arg;
    check(threading_lock_acquire(transfer->from->lock));
    check(threading_barrier_wait(transfer->both_own_one, NULL));
    check(threading_lock_acquire(transfer->to->lock)); /* never returns */
    transfer->from->balance--;
    transfer->to->balance++;
    check(threading_lock_release(transfer->to->lock));
    check(threading_lock_release(transfer->from->lock));
    return NULL;
}

static void on_hang(int kind, const char *report, void *arg)
{
    (void)arg;
    fputs(report, stdout);
    fflush(stdout);
    _Exit(kind == THREADING_HANG_DEADLOCK ? DEADLOCKED : EXIT_FAILURE);
}

static struct record record_new(const char *name)
{
    struct record record = {.lock = check(threading_lock_new()), .balance = 100};
    check(threading_lock_set_name(record.lock, name));
    return record;
}

int main(void)
{
    check(threading_set_hang_hook(0.5, on_hang, NULL));

    struct record accounts = record_new("accounts"), journal = record_new("journal");
    threading_barrier *both = check(threading_barrier_new(2, NULL, NULL));
    struct transfer transfers[] = {{&accounts, &journal, both}, {&journal, &accounts, both}};
    threading_thread *threads[2];
    for (int i = 0; i < 2; i++) {
        threads[i] = check(threading_thread_new(move_one, &transfers[i]));
        check(threading_thread_start(threads[i]));
    }
    for (int i = 0; i < 2; i++) {
        check(threading_thread_join(threads[i])); /* does not return either */
    }
    return 0;
}
