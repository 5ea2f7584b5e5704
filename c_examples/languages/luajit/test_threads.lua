-- The test of threads.lua: each error that leaves a target is printed, whatever its value is.
--
--   luajit test_threads.lua          runs the targets in another process, and checks what it prints

local here = arg[0]:gsub("[^/]*$", "")
package.path = here .. "?.lua;" .. package.path
local threads = require("threads")

local codes = {'error("a text")', "error({})", "error(nil)"}

if arg[1] == "child" then
    local lib = threads.load()
    for _, code in ipairs(codes) do
        local target = threads.target(code)
        local thread = lib.threading_thread_new(target.call, nil)
        assert(lib.threading_thread_start(thread) == 0 and lib.threading_thread_join(thread) == 0)
        assert(lib.threading_thread_result(thread) == nil and lib.threading_thread_free(thread) == 0)
        target:close()
    end
    print("joined")
else
    local process = io.popen("luajit '" .. arg[0] .. "' child 2>&1")
    local output = process:read("*a")
    process:close()
    local _, reports = output:gsub("stack traceback:", "")
    assert(output:find("a text", 1, true) and output:find("joined", 1, true) and reports == #codes, output)
    print(reports .. " errors were printed")
end
