-- Lua code as a target: each runs in a Lua state of its own, since one state must not run in two threads.
--
--   local threads = require("threads")
--   local target = threads.target("code that gets its argument, a void *, as ...")
--   lib.threading_thread_new(target.call, arg)
--   target:close()        when no thread runs it any more
--
-- The new state is made through Lua's own C API, by way of the ffi, and the code is loaded there. It ends with a
-- callback of that state, whose address is a C function: it is called in the library's thread, and that state runs
-- nowhere else. What the code has defined there stays from call to call. It shares nothing with the state that made it.

local ffi = require("ffi")

ffi.cdef [[
typedef struct lua_State lua_State;
lua_State *luaL_newstate(void);
void luaL_openlibs(lua_State *L);
int luaL_loadstring(lua_State *L, const char *code);
int lua_pcall(lua_State *L, int arguments, int results, int handler);
const char *lua_tolstring(lua_State *L, int index, size_t *length);
double lua_tonumber(lua_State *L, int index);
void lua_close(lua_State *L);
]]

local C = ffi.C
local threads = {}

-- Where the libthreading of a state comes from: the declarations of threading.h, and the library.
function threads.load()
    local declarations = assert(os.getenv("THREADING_DECLARATIONS"), "THREADING_DECLARATIONS names no file")
    local file = assert(io.open(declarations))
    ffi.cdef(file:read("*a"))
    file:close()
    return ffi.load("libthreading.so.0")
end

-- The code of the new state. A callback that raises an error would be left without a value: so it is caught.
local frame = [[
package.path = %q
local ffi = require("ffi")
local lib = require("threads").load()
local function run(...)
    %s
end
local function report(problem)
    io.stderr:write(debug.traceback(problem), "\n")
end
callback = ffi.cast("threading_target", function(arg)
    xpcall(run, report, arg)
    return nil
end)
return tonumber(ffi.cast("uintptr_t", callback))
]]

local Target = {}
Target.__index = Target

function threads.target(code)
    local state = C.luaL_newstate()
    assert(state ~= nil, "no memory for a Lua state")
    C.luaL_openlibs(state)
    if C.luaL_loadstring(state, frame:format(package.path, code)) ~= 0 or C.lua_pcall(state, 0, 1, 0) ~= 0 then
        local problem = ffi.string(C.lua_tolstring(state, -1, nil))
        C.lua_close(state)
        error(problem, 2)
    end
    local call = ffi.cast("threading_target", C.lua_tonumber(state, -1))
    return setmetatable({state = state, call = call}, Target)
end

function Target:close()
    C.lua_close(self.state)
end

return threads
