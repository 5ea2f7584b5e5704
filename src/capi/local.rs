//! Local
//!
//! A local is data of which each thread has its own: one value, which is fast, and apart from that any
//! number of named attributes. Values are pointers; NULL is one too. Every thread may have some, those
//! that this library did not start included, and each timer's function has its own.
//!
//! A value that is not needed any more is given to the local's destructor, unless it is NULL. One that
//! is replaced or deleted is destroyed at once, by the caller; setting the value that is there destroys
//! nothing. At a thread's end its values are destroyed in that thread, before a join returns; main's at
//! exit, after the joins. The last `_free` of the local destroys the values of all threads that are
//! alive, in the freeing thread. Inside a destructor threading_current_thread() is still the dying
//! thread, and values that are set there are destroyed too, in up to four rounds.
//!
//! Cost. A call on a local takes constant time on average, however many locals and attributes a thread
//! has. The end of a thread takes time linear in its values and attributes. The last `_free` takes time
//! linear in the values that it destroys and, if other threads have used the local, in the number of
//! threads that have used any local.
//!
//! A buffer for each thread that asks, in a local made by `threading_local_new(free)`:
//!     static char *buffer_of_mine(threading_local *local)
//!     {
//!         char *buffer = threading_local_get(local);
//!         if (buffer != NULL || (buffer = malloc(4096)) == NULL)
//!             return buffer;
//!         if (threading_local_set(local, buffer) == THREADING_OK)
//!             return buffer;
//!         free(buffer);
//!         return NULL;
//!     }

use core::ffi::{c_char, c_void};

use crate::Local;
use crate::capi::status::{THREADING_NO_VALUE, threading_status};
use crate::capi::threading::text;
use crate::capi::types::{threading_destructor, threading_local, threading_local_init};
use crate::capi::{handle, object, outcome, shortcut, status, value};
use crate::error::{Error, Result};
use crate::handle::Handle;

/// Makes a local in which no thread has a value.
///
/// \param destroy what gets values and attributes that are not needed any more; NULL leaves them alone
/// \return the local, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.local()`. Since 0.1.0.
///
/// # Safety
/// The destructor takes whatever is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_new(destroy: threading_destructor) -> *mut threading_local {
    // SAFETY: the caller's promise.
    handle(|| unsafe { Handle::<Local>::new(destroy) })
}

/// Makes a local whose value init(arg) makes in each thread.
///
/// It is called once in each thread, at the first call there on the local, whichever that is. It may
/// use the local: what it sets as the value is replaced by its result, attributes stay.
///
/// \param init what makes a value; its result, NULL too, is the value
/// \param arg its argument, to be kept valid as long as the local
/// \param destroy what gets values and attributes that are not needed any more; NULL leaves them alone
/// \return the local, owned by the caller; NULL with THREADING_ERR_VALUE (init is NULL),
///         THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: a subclass of `threading.local` with its own
/// `__init__()`. Since 0.1.0.
///
/// # Safety
/// The callbacks take their arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_new_with_init(
    init: threading_local_init,
    arg: *mut c_void,
    destroy: threading_destructor,
) -> *mut threading_local {
    // SAFETY: the caller's promise.
    handle(|| unsafe { Handle::<Local>::new_with_init(init.ok_or(Error::NoCallback)?, arg, destroy) })
}

/// Takes one more reference to a local.
///
/// \param local the local
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_ref(local: *mut threading_local) -> *mut threading_local {
    handle(|| object(local).add_ref())
}

/// Gives one reference to a local back. The last one destroys the values of all threads that are alive,
/// here.
///
/// \param local the local
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never, but for the destructors. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_free(local: *mut threading_local) -> threading_status {
    status(|| object(local).free())
}

/// Sets the calling thread's value. The one that was there before is destroyed, unless it is the same.
///
/// \param local the local
/// \param value the value, from now on the local's to destroy; after an error it stays the caller's
/// \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_NO_MEMORY; THREADING_ERR_SYSTEM when the
///         system cannot announce the thread's end; THREADING_ERR_SHUTDOWN when the thread is in the
///         very last of its destructors
///
/// Blocks: never, but for init and the destructor. Thread safety: any thread; each has its own. Python:
/// `data.value = value`. Since 0.1.0.
///
/// # Safety
/// The value is what the destructor takes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_set(
    local: *mut threading_local,
    value: *mut c_void,
) -> threading_status {
    // SAFETY: the caller's promise.
    status(|| unsafe { object(local).set(value) })
}

/// Tells the calling thread's value: the fast way.
///
/// \param local the local
/// \return the value, borrowed until it is replaced or deleted; NULL when that is the value or there is
///         none, or with an error of threading_local_set()
///
/// Blocks: never, but for init. Thread safety: any thread; each has its own. Python:
/// `getattr(data, "value", None)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_get(local: *mut threading_local) -> *mut c_void {
    let local = object(local);
    shortcut(local.get_at_once(), move || value(|| local.get()))
}

/// Tells the calling thread's value, and whether it has one.
///
/// \param local the local
/// \param value where to write it, if there is one; NULL only asks
/// \return THREADING_OK when there is one; THREADING_NO_VALUE when there is none; or an error of
///         threading_local_set()
///
/// Blocks: never, but for init. Thread safety: any thread; each has its own. Python: `data.value`.
/// Since 0.1.0.
///
/// # Safety
/// `value` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_lookup(
    local: *mut threading_local,
    value: *mut *mut c_void,
) -> threading_status {
    // SAFETY: the caller's promise.
    outcome(THREADING_NO_VALUE, || unsafe { tell(value, object(local).lookup()) })
}

/// Deletes the calling thread's value, and destroys it.
///
/// \param local the local
/// \return THREADING_OK when there was one; THREADING_NO_VALUE when there was none; or an error of
///         threading_local_set()
///
/// Blocks: never, but for init and the destructor. Thread safety: any thread; each has its own. Python:
/// `del data.value`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_del(local: *mut threading_local) -> threading_status {
    outcome(THREADING_NO_VALUE, || object(local).del())
}

/// Sets an attribute of the calling thread's. The one that was there before is destroyed, unless it is
/// the same.
///
/// \param local the local
/// \param name its name, which is copied
/// \param value the value, from now on the local's to destroy; after an error it stays the caller's
/// \return THREADING_OK; THREADING_ERR_VALUE when the name is NULL; or an error of
///         threading_local_set()
///
/// Blocks: never, but for init and the destructor. Thread safety: any thread; each has its own. Python:
/// `data.name = value`. Since 0.1.0.
///
/// # Safety
/// `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_set_attr(
    local: *mut threading_local,
    name: *const c_char,
    value: *mut c_void,
) -> threading_status {
    status(|| {
        let local = object(local);
        // SAFETY: the caller's promise.
        unsafe { local.set_attr(local.argument(text(name))?, value) }
    })
}

/// Tells an attribute of the calling thread's, and whether it has it.
///
/// \param local the local
/// \param name its name
/// \param value where to write it, if there is one; NULL only asks
/// \return THREADING_OK when there is one; THREADING_NO_VALUE when there is none; THREADING_ERR_VALUE
///         when the name is NULL; or an error of threading_local_set()
///
/// Blocks: never, but for init. Thread safety: any thread; each has its own. Python: `data.name`. Since
/// 0.1.0.
///
/// # Safety
/// `name` is NULL or a string, `value` NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_get_attr(
    local: *mut threading_local,
    name: *const c_char,
    value: *mut *mut c_void,
) -> threading_status {
    outcome(THREADING_NO_VALUE, || {
        let local = object(local);
        // SAFETY: the caller's promise.
        unsafe { tell(value, local.attr(local.argument(text(name))?)) }
    })
}

/// Deletes an attribute of the calling thread's, and destroys it.
///
/// \param local the local
/// \param name its name
/// \return THREADING_OK when there was one; THREADING_NO_VALUE when there was none; THREADING_ERR_VALUE
///         when the name is NULL; or an error of threading_local_set()
///
/// Blocks: never, but for init and the destructor. Thread safety: any thread; each has its own. Python:
/// `del data.name`. Since 0.1.0.
///
/// # Safety
/// `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_del_attr(
    local: *mut threading_local,
    name: *const c_char,
) -> threading_status {
    outcome(THREADING_NO_VALUE, || {
        let local = object(local);
        // SAFETY: the caller's promise.
        local.del_attr(local.argument(unsafe { text(name) })?)
    })
}

/// Writes what was found, if there is something, and somewhere to write it to.
///
/// # Safety
/// `to` is NULL or can be written to.
unsafe fn tell(to: *mut *mut c_void, found: Result<Option<*mut c_void>>) -> Result<bool> {
    let Some(value) = found? else { return Ok(false) };
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(value) };
    }
    Ok(true)
}
