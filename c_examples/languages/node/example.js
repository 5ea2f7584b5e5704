'use strict';
// The example for Node: two threads, a lock, an event with a timeout, timers.
//
// A callback from another thread does not run in that thread: koffi runs it in the thread that runs JavaScript, and the
// other thread waits. So this code must not block while it waits for a callback: it uses lib.wait for blocking calls.

const fs = require('node:fs');
const koffi = require('koffi');
const lib = require('./libthreading.js').load(fs.readFileSync(process.env.THREADING_DECLARATIONS, 'utf8'));

let total = 0;

// The last error belongs to the calling thread, which is another thread after lib.wait. So the message is that of the
// status.
function checked(result) {
    if (result === null)
        throw new Error(lib.threading_last_error_message());
    if (result < 0)
        throw new Error(lib.threading_status_message(result));
    return result;
}

// Callbacks must stay registered as long as the library may call them. Both threads run this callback in the JavaScript
// thread, one after the other, so the lock is always available here; it excludes threads outside of JavaScript.
const add = koffi.register((lock) => {
    for (let i = 0; i < 1000; i++) {
        checked(lib.threading_lock_acquire(lock));
        total++;
        checked(lib.threading_lock_release(lock));
    }
    return null;
}, 'threading_target');
const ring = koffi.register((event) => {
    console.log('alarm rings');
    checked(lib.threading_event_set(event));
    return null;
}, 'threading_target');

async function main() {
    const lock = checked(lib.threading_lock_new());
    const event = checked(lib.threading_event_new());

    if (checked(await lib.wait.threading_event_wait_timeout(event, 0.05)) === lib.THREADING_TIMED_OUT)
        console.log('the event is not set yet');

    const threads = [];
    for (let i = 1; i <= 2; i++) {
        const thread = checked(lib.threading_thread_new(add, lock));
        checked(lib.threading_thread_set_name(thread, `adder-${i}`));
        checked(lib.threading_thread_start(thread));
        threads.push(thread);
    }
    for (const thread of threads)
        checked(await lib.wait.threading_thread_join(thread));
    console.log(`${threads.map((thread) => lib.threading_thread_name(thread)).join(' and ')} have added ${total}`);

    if (lib.threading_lock_release(lock) < 0)
        console.log(`release failed: ${lib.threading_status_name(lib.threading_last_error())}, ` +
            lib.threading_last_error_message());

    let timer = checked(lib.threading_timer_new(0.1, ring, event));
    checked(lib.threading_thread_set_name(lib.threading_timer_thread(timer), 'alarm'));
    checked(lib.threading_timer_start(timer));
    if (checked(await lib.wait.threading_event_wait_timeout(event, 10)) === lib.THREADING_OK)
        console.log('the event is set');
    checked(await lib.wait.threading_thread_join(lib.threading_timer_thread(timer)));
    checked(lib.threading_timer_free(timer));

    // A function of the library as the timer's function, which runs no JavaScript.
    checked(lib.threading_event_clear(event));
    timer = checked(lib.threading_timer_new(0.1, lib.address('threading_event_set'), event));
    checked(lib.threading_timer_start(timer));
    if (checked(await lib.wait.threading_event_wait_timeout(event, 10)) === lib.THREADING_OK)
        console.log('a timer without a callback has set the event');
    checked(await lib.wait.threading_thread_join(lib.threading_timer_thread(timer)));

    for (const thread of threads)
        checked(lib.threading_thread_free(thread));
    checked(lib.threading_timer_free(timer));
    checked(lib.threading_event_free(event));
    checked(lib.threading_lock_free(lock));

    checked(await lib.wait.threading_shutdown()); // at process exit, callbacks could not run any more
    koffi.unregister(add);
    koffi.unregister(ring);
}

main();
