-- Lua code as a target: each target has its own Lua state, because a state must not run in two threads.
--
--   local threads = require("threads")
--   local target = threads.target("code, which gets its argument, a void *, as ...")
--   lib.threading_thread_new(target.call, arg)
--   target:close()        when no thread runs it
--
-- The new state is created by Lua's C API through the ffi, and the code is loaded there. The state creates a callback,
-- whose address is a C function. The library's thread calls it, and no other thread runs this state. Global variables
-- of the code persist between calls. The state shares nothing with the state that created it.

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

-- Declares the functions of threading.h in the calling state, and returns the library.
function threads.load()
    local declarations = assert(os.getenv("THREADING_DECLARATIONS"), "THREADING_DECLARATIONS is not set")
    local file = assert(io.open(declarations))
    ffi.cdef(file:read("*a"))
    file:close()
    return ffi.load("libthreading.so.0")
end

-- The code of the new state. Errors are caught, because a callback must not raise an error.
local template = [[
package.path = %q
local ffi = require("ffi")
local lib = require("threads").load()
local function run(...)
    %s
end
local function report(message)
    io.stderr:write(debug.traceback(tostring(message)), "\n")
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
    assert(state ~= nil, "out of memory for a Lua state")
    C.luaL_openlibs(state)
    if C.luaL_loadstring(state, template:format(package.path, code)) ~= 0 or C.lua_pcall(state, 0, 1, 0) ~= 0 then
        local message = ffi.string(C.lua_tolstring(state, -1, nil))
        C.lua_close(state)
        error(message, 2)
    end
    local call = ffi.cast("threading_target", C.lua_tonumber(state, -1))
    return setmetatable({state = state, call = call}, Target)
end

function Target:close()
    C.lua_close(self.state)
end

return threads
