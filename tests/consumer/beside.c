/* A program that is linked with two static libraries written in Rust. */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <threading.h>

uint64_t other_sum(uint32_t n);
bool other_catches(void);

static void *work(void *arg)
{
    *(uint64_t *)arg = other_sum(1000);
    /* Unwinds through both libraries. */
    if (other_catches())
        pthread_exit(NULL);
    *(uint64_t *)arg = 0;
    return NULL;
}

int main(void)
{
    uint64_t sum = 0;
    threading_thread *thread = threading_thread_new(work, &sum);
    threading_timer *timer = threading_timer_new(0.001, work, &sum);
    if (threading_thread_start(thread) != THREADING_OK || threading_thread_join(thread) != THREADING_OK || sum != 2890)
        return 1;
    sum = 0;
    if (threading_timer_start(timer) != THREADING_OK ||
        threading_thread_join(threading_timer_thread(timer)) != THREADING_OK || sum != 2890)
        return 2;
    return other_catches() ? 0 : 3;
}
