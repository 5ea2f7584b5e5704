// The test of the package: ./make_package compiles and runs it.
import * as threading from 'libthreading';

function checked<T>(result: T): NonNullable<T> {
    if (result === null || result === undefined || (typeof result === 'number' && result < 0))
        throw new Error(String(threading.threading_last_error_message()));
    return result;
}

async function main(): Promise<void> {
    const lock: threading.threading_lock = checked(threading.threading_lock_new());
    const event = checked(threading.threading_event_new());
    let rings = 0;
    const ring = threading.callback('threading_target', () => {
        rings++;
        checked(threading.threading_event_set(event));
        return null;
    });
    const timer = checked(threading.threading_timer_new(0.05, ring, null));
    // @ts-expect-error: a lock is not an event
    const wrong: number = threading.threading_event_set(lock);
    if (wrong !== threading.THREADING_ERR_HANDLE)
        throw new Error(`a lock was accepted as an event: ${wrong}`);
    checked(threading.threading_timer_start(timer));
    if (await threading.wait.threading_event_wait_timeout(event, 10) !== threading.THREADING_OK || rings !== 1)
        throw new Error('the timer did not ring once');
    checked(threading.threading_lock_acquire(lock));
    if (await threading.wait.threading_lock_acquire_timeout(lock, 0.01) !== threading.THREADING_TIMED_OUT)
        throw new Error('the lock was acquired twice');
    checked(threading.threading_lock_release(lock));
    checked(await threading.wait.threading_shutdown());
    threading.unregister(ring);
    console.log(`libthreading ${threading.threading_version()}: all checks passed`);
}

main();
