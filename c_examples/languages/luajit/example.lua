-- The example for LuaJIT: two threads, a lock, an event with a timeout, timers.

local ffi = require("ffi")
package.path = arg[0]:gsub("[^/]*$", "") .. "?.lua;" .. package.path
local threads = require("threads")
local lib = threads.load()

local function text(string)
    return ffi.string(string)
end

local function checked(result)
    local failed = type(result) == "cdata" and result == nil or type(result) == "number" and result < 0
    return failed and error(text(lib.threading_last_error_message()), 2) or result
end

-- The two threads share C memory, because Lua states share nothing else.
ffi.cdef "struct sum { threading_lock *lock; int total; };"
local lock = checked(lib.threading_lock_new())
local event = checked(lib.threading_event_new())
local sum = ffi.new("struct sum", lock, 0)

local add = [[
    ffi.cdef "struct sum { threading_lock *lock; int total; };"
    local sum = ffi.cast("struct sum *", ...)
    for _ = 1, 1000 do
        assert(lib.threading_lock_acquire(sum.lock) == 0)
        sum.total = sum.total + 1
        assert(lib.threading_lock_release(sum.lock) == 0)
    end
]]
local ring = [[
    print(ffi.string(lib.threading_thread_name(lib.threading_current_thread())) .. " rings")
    io.stdout:flush()
    assert(lib.threading_event_set(...) == 0)
]]

if checked(lib.threading_event_wait_timeout(event, 0.05)) == lib.THREADING_TIMED_OUT then
    print("the event is not set yet")
end

-- A separate state for each thread: two threads must not run the same target concurrently.
local adders, names = {}, {}
for i = 1, 2 do
    local target = threads.target(add)
    local thread = checked(lib.threading_thread_new(target.call, sum))
    checked(lib.threading_thread_set_name(thread, "adder-" .. i))
    checked(lib.threading_thread_start(thread))
    adders[i] = {target = target, thread = thread}
end
for i, adder in ipairs(adders) do
    checked(lib.threading_thread_join(adder.thread))
    names[i] = text(lib.threading_thread_name(adder.thread))
end
print(table.concat(names, " and ") .. " have added " .. sum.total)

if lib.threading_lock_release(lock) < 0 then
    local status = text(lib.threading_status_name(lib.threading_last_error()))
    print("release failed: " .. status .. ", " .. text(lib.threading_last_error_message()))
end
io.stdout:flush()

local target = threads.target(ring)
local timer = checked(lib.threading_timer_new(0.1, target.call, event))
checked(lib.threading_thread_set_name(lib.threading_timer_thread(timer), "alarm"))
checked(lib.threading_timer_start(timer))
if checked(lib.threading_event_wait_timeout(event, 10)) == lib.THREADING_OK then
    print("the event is set")
end
checked(lib.threading_thread_join(lib.threading_timer_thread(timer)))
checked(lib.threading_timer_free(timer))
target:close()

-- A function of the library as the timer's function, which needs no Lua state.
checked(lib.threading_event_clear(event))
timer = checked(lib.threading_timer_new(0.1, ffi.cast("threading_target", lib.threading_event_set), event))
checked(lib.threading_timer_start(timer))
if checked(lib.threading_event_wait_timeout(event, 10)) == lib.THREADING_OK then
    print("a timer without a callback has set the event")
end
checked(lib.threading_thread_join(lib.threading_timer_thread(timer)))

for _, adder in ipairs(adders) do
    checked(lib.threading_thread_free(adder.thread))
    adder.target:close()
end
checked(lib.threading_timer_free(timer))
checked(lib.threading_event_free(event))
checked(lib.threading_lock_free(lock))
