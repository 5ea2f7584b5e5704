//! Local
//!
//! A local holds separate data for each thread: one value, which is fast to access, and any number of
//! named attributes, each of which has a value as well. Values are pointers, and NULL is a valid value.
//! Every thread can have values, including foreign threads, and each timer has separate values while
//! its function runs.
//!
//! A value that is no longer needed is passed to the local's destructor, unless it is NULL. The thread
//! that replaces or deletes a value destroys the previous one immediately; setting the value that is
//! already set destroys nothing. When a thread ends, its values are destroyed in that thread, before a
//! join returns; those of the main thread are destroyed at process exit, after the non-daemon threads
//! have been joined, if it returns from `main` or calls exit() or pthread_exit(). Values of other
//! threads that are still running when the process exits are not destroyed. Releasing the last
//! reference to a local destroys the values of all threads that are alive, in the thread that releases
//! it. In a destructor that is called at the end of a thread, threading_current_thread() still returns
//! that thread, and values that the destructor sets are destroyed too, in up to four rounds.
//!
//! Cost. Each call on a local takes constant time on average, regardless of the number of locals and
//! attributes of a thread. The end of a thread takes time proportional to the number of its values and
//! attributes. Releasing the last reference takes time proportional to the number of values that it
//! destroys and, if other threads have used the local, to the number of threads that have used any
//! local.
//!
//! A buffer for each thread that needs one, in a local created with `threading_local_new(free)`:
//!     static char *buffer_of_thread(threading_local *local)
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
use crate::capi::status::{THREADING_NO_VALUE, THREADING_OK, threading_status};
use crate::capi::types::{threading_destructor, threading_local, threading_local_init};
use crate::capi::utils::{cstr_arg, optional_cstr_arg, write_out};
use crate::capi::{fast_path_or, from_ptr, handle_or_null, status, status_or, value_or_default};
use crate::error::{Error, Result};
use crate::handle::Handle;

/// Creates a local in which no thread has a value.
///
/// \param destroy the destructor of values and attributes; if it is NULL, they are not destroyed
/// \return the new local, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not enough
///     memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.local()`
/// \since 0.1.0
/// \sa threading_local_new_with_init, threading_local_set, threading_local_set_attr,
///     threading_local_free, threading_destructor
///
/// # Safety
/// `destroy` accepts each value that is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_new(destroy: threading_destructor) -> *mut threading_local {
    // SAFETY: guaranteed by the caller.
    handle_or_null(|| unsafe { Handle::<Local>::new(destroy) })
}

/// Creates a local whose initial value in each thread is the result of `init(arg)`.
///
/// The init function is called once in each thread, by the thread's first call to any function of the
/// local that accesses values. It may use the local: a value that it sets is replaced by its result,
/// and attributes that it sets are kept.
///
/// \param init the function that returns the initial value, which may be NULL
/// \param arg the argument of the init function, which must stay valid as long as the local exists
/// \param destroy the destructor of values and attributes; if it is NULL, they are not destroyed
/// \return the new local, owned by the caller; NULL with THREADING_ERR_VALUE if `init` is NULL; NULL
///     with THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python a subclass of `threading.local` with its own `__init__()`
/// \since 0.1.0
/// \sa threading_local_new, threading_local_get, threading_local_free
///
/// # Safety
/// `init` accepts `arg`, which stays valid as long as the local exists, and `destroy` accepts each
/// value that is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_new_with_init(
    init: threading_local_init,
    arg: *mut c_void,
    destroy: threading_destructor,
) -> *mut threading_local {
    // SAFETY: guaranteed by the caller.
    handle_or_null(|| unsafe { Handle::<Local>::new_with_init(init.ok_or(Error::NoCallback)?, arg, destroy) })
}

/// Adds a reference to a local.
///
/// \param local the local
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_local_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_ref(local: *mut threading_local) -> *mut threading_local {
    handle_or_null(|| from_ptr(local).add_ref())
}

/// Releases a reference to a local. Releasing the last one destroys the values of all threads that are
/// alive, in the calling thread.
///
/// \param local the local
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks only while destructors run
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_local_new, threading_local_ref
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_free(local: *mut threading_local) -> threading_status {
    status(|| from_ptr(local).free())
}

/// Sets the calling thread's value. If there was a different value before, it is destroyed.
///
/// \param local the local
/// \param value the value, which the local owns from now on; if the call fails, the caller still owns
///     it
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_NO_MEMORY if
///     there is not enough memory; THREADING_ERR_SYSTEM if the system cannot notify the library of the
///     end of the calling thread; THREADING_ERR_SHUTDOWN if the calling thread is in its last round of
///     pthread key destructors
///
/// \blocks only while the init function and the destructor run
/// \threadsafety any thread; each thread has its own value
/// \python `data.value = value`
/// \since 0.1.0
/// \sa threading_local_get, threading_local_lookup, threading_local_del, threading_local_set_attr
///
/// # Safety
/// The local's destructor accepts `value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_set(
    local: *mut threading_local,
    value: *mut c_void,
) -> threading_status {
    let local = from_ptr(local);
    // SAFETY: guaranteed by the caller.
    let fast = unsafe { local.set_fast(value) }.then_some(THREADING_OK);
    // SAFETY: as above.
    fast_path_or(fast, move || status(|| unsafe { local.set(value) }))
}

/// Returns the calling thread's value. This is the fastest access to a local.
///
/// \param local the local
/// \return the value, which the local still owns and which is valid until it is replaced or deleted;
///     NULL if there is none; NULL with any error of threading_local_set()
///
/// \blocks only while the init function runs
/// \threadsafety any thread; each thread has its own value
/// \python `getattr(data, "value", None)`
/// \since 0.1.0
/// \sa threading_local_lookup, threading_local_set
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_get(local: *mut threading_local) -> *mut c_void {
    let local = from_ptr(local);
    fast_path_or(local.get_fast(), move || value_or_default(|| local.get()))
}

/// Looks up the calling thread's value. Unlike threading_local_get(), it distinguishes a NULL value
/// from no value.
///
/// \param local the local
/// \param value where to store the value, if there is one; NULL to check only whether there is one
/// \return THREADING_OK if there is a value; THREADING_NO_VALUE if there is none, in which case nothing
///     is stored; any error of threading_local_set()
///
/// \blocks only while the init function runs
/// \threadsafety any thread; each thread has its own value
/// \python `data.value`
/// \since 0.1.0
/// \sa threading_local_get, threading_local_set, threading_local_get_attr
///
/// # Safety
/// `value` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_lookup(
    local: *mut threading_local,
    value: *mut *mut c_void,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status_or(THREADING_NO_VALUE, || unsafe { write_found(value, from_ptr(local).lookup()?) })
}

/// Deletes the calling thread's value, and destroys it with the local's destructor.
///
/// \param local the local
/// \return THREADING_OK if there was a value; THREADING_NO_VALUE if there was none; any error of
///     threading_local_set()
///
/// \blocks only while the init function and the destructor run
/// \threadsafety any thread; each thread has its own value
/// \python `del data.value`
/// \since 0.1.0
/// \sa threading_local_set, threading_local_del_attr
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_del(local: *mut threading_local) -> threading_status {
    status_or(THREADING_NO_VALUE, || from_ptr(local).del())
}

/// Sets the calling thread's value of an attribute. If the attribute had a different value before, that
/// value is destroyed.
///
/// \param local the local
/// \param name the name of the attribute, any string, which is copied
/// \param value the value, which the local owns from now on; if the call fails, the caller still owns
///     it
/// \return THREADING_OK; THREADING_ERR_VALUE if the name is NULL; any error of threading_local_set()
///
/// \blocks only while the init function and the destructor run
/// \threadsafety any thread; each thread has its own attributes
/// \python `data.name = value`
/// \since 0.1.0
/// \sa threading_local_get_attr, threading_local_del_attr, threading_local_set
///
/// # Safety
/// `name` is NULL or a NUL-terminated string, and the local's destructor accepts `value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_set_attr(
    local: *mut threading_local,
    name: *const c_char,
    value: *mut c_void,
) -> threading_status {
    let local = from_ptr(local);
    // SAFETY: guaranteed by the caller.
    let is_set = unsafe { optional_cstr_arg(name).is_some_and(|name| local.set_attr_fast(name, value)) };
    fast_path_or(is_set.then_some(THREADING_OK), move || {
        // SAFETY: as above.
        status(|| unsafe { local.set_attr(local.or_handle_error(cstr_arg(name))?, value) })
    })
}

/// Looks up the calling thread's value of an attribute.
///
/// \param local the local
/// \param name the name of the attribute
/// \param value where to store the value, if there is one; NULL to check only whether there is one
/// \return THREADING_OK if the attribute exists; THREADING_NO_VALUE if it does not, in which case
///     nothing is stored; THREADING_ERR_VALUE if the name is NULL; any error of threading_local_set()
///
/// \blocks only while the init function runs
/// \threadsafety any thread; each thread has its own attributes
/// \python `data.name`
/// \since 0.1.0
/// \sa threading_local_set_attr, threading_local_del_attr, threading_local_lookup
///
/// # Safety
/// `name` is NULL or a NUL-terminated string, and `value` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_get_attr(
    local: *mut threading_local,
    name: *const c_char,
    value: *mut *mut c_void,
) -> threading_status {
    let local = from_ptr(local);
    // SAFETY: guaranteed by the caller.
    let found = unsafe { optional_cstr_arg(name) }.and_then(|name| local.attr_fast(name));
    let fast = found.map(|found| {
        // SAFETY: as above.
        unsafe { write_out(value, found) };
        THREADING_OK
    });
    fast_path_or(fast, move || {
        status_or(THREADING_NO_VALUE, || {
            // SAFETY: as above.
            unsafe { write_found(value, local.attr(local.or_handle_error(cstr_arg(name))?)?) }
        })
    })
}

/// Deletes an attribute of the calling thread, and destroys its value with the local's destructor.
///
/// \param local the local
/// \param name the name of the attribute
/// \return THREADING_OK if the attribute existed; THREADING_NO_VALUE if it did not; THREADING_ERR_VALUE
///     if the name is NULL; any error of threading_local_set()
///
/// \blocks only while the init function and the destructor run
/// \threadsafety any thread; each thread has its own attributes
/// \python `del data.name`
/// \since 0.1.0
/// \sa threading_local_set_attr, threading_local_get_attr, threading_local_del
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_del_attr(
    local: *mut threading_local,
    name: *const c_char,
) -> threading_status {
    status_or(THREADING_NO_VALUE, || {
        let local = from_ptr(local);
        // SAFETY: guaranteed by the caller.
        local.del_attr(local.or_handle_error(unsafe { cstr_arg(name) })?)
    })
}

/// Stores the value, if one was found. Returns true if it was.
///
/// # Safety
/// `out` is NULL or valid for a write.
unsafe fn write_found(out: *mut *mut c_void, found: Option<*mut c_void>) -> Result<bool> {
    // SAFETY: guaranteed by the caller.
    Ok(found.map(|value| unsafe { write_out(out, value) }).is_some())
}
