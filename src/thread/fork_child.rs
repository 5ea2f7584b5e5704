//! What becomes of threads in a child of fork.

use crate::sys::atomic::Ordering;
use core::ptr;

use crate::handle::Handle;
use crate::sys::tls;
use crate::thread::ident::Idents;
use crate::thread::links::List;
use crate::thread::object::{DAEMON, DUMMY, LEAVING, MAIN, NAMED, TIMER, Thread};
use crate::thread::registry::{MAIN_IDENT, UNREAPED};
use crate::thread::{ident, registry};
use crate::timer::object as timer_object;

/// In a child of fork: the calling thread is the main one, and alone. The others are over, which their numbers tell
/// when a caller asks (`Thread::state`): the child visits none of them here.
pub(crate) fn begin() {
    let me = tls::with(|mine| mine.thread.get());
    let mut registry = registry::lock();
    // Not `shutdowns`: the calling thread may be in one, and a count that is too high costs a wake-up for each change.
    registry.idents = Idents::NONE;
    registry.timers.after_fork_in_child();
    UNREAPED.store(0, Ordering::Relaxed);
    registry.looked_at = ptr::null();
    registry.ending_dummies = 0;
    registry.reaped = false;
    let mut heir = Handle::<Thread>::from_bits(me).check().ok().map(|(thread, _)| thread);
    if heir.is_none() && registry::is_main(ident::ident()) {
        // SAFETY: the registry keeps it.
        heir = unsafe { registry.main.as_ref() };
    }
    MAIN_IDENT.store(ident::ident(), Ordering::Release);
    registry.alive = List::EMPTY;
    registry.ended = List::EMPTY;
    registry.count = 0;
    registry.awaited = 0;
    registry.main = ptr::null();
    ident::after_fork_in_child();
    if let Some(heir) = heir {
        heir.lives_on();
        if heir.mark(TIMER, false)
            && let Ok(_itself) = heir.handle().internal_ref()
        {
            // It has no timer any more that keeps it.
            timer_object::abandon(heir);
        }
        heir.mark(MAIN, true);
        heir.mark(LEAVING, false);
        if heir.mark(DUMMY, false) {
            heir.mark(DAEMON, false);
            heir.mark(NAMED, true);
            heir.number.store(0, Ordering::Relaxed);
            heir.names.begin_anew();
        }
        heir.set_native_id(ident::native_id() as u32);
        registry.main = heir;
        registry.alive.push_back(heir);
        registry.count = 1;
    }
}
