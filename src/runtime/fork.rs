//! What a fork does: the library's lists are held across it, and the child begins anew with one thread.
//!
//! The small locks of user objects are not held: what they guard is the parent's waiters, which the child
//! forgets (`park::fork`).

use super::{end, excepthook, exit, identity, name, registry, stacks, values};
use crate::defect::{Place, contain, inject};
use crate::handle::arena::ARENAS;
use crate::handle::blocks::POOL;
use crate::park;
use crate::sys;

/// Run when the library is loaded.
pub(crate) fn prepare_for_forks() {
    // SAFETY: the handlers are functions as pthread_atfork wants them, and the library is never unloaded.
    // Without memory for them, forks are what they would be without.
    unsafe { sys::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// In the order in which they may be taken inside of each other.
extern "C" fn before() {
    contain(|| {
        inject(Place::Fork);
        // Whoever forks goes on in the child under the number that it has here.
        identity::ident();
        // The child will not ask the loader.
        stacks::are_executable();
    });
    // To take them and to give them back is all that cannot be contained: the child has all of them or none.
    exit::hold();
    values::hold();
    registry::hold();
    name::hold();
    excepthook::hold();
    stacks::hold();
    ARENAS.iter().for_each(|arena| arena.hold());
    POOL.hold();
}

fn let_go() {
    // SAFETY: `before` held them, on this thread or on the one that this is a fork of.
    unsafe {
        POOL.let_go();
        ARENAS.iter().for_each(|arena| arena.let_go());
        stacks::let_go();
        excepthook::let_go();
        name::let_go();
        registry::let_go();
        values::let_go();
        exit::let_go();
    }
}

extern "C" fn in_parent() {
    let_go();
}

extern "C" fn in_child() {
    park::fork::begin_child();
    let_go();
    contain(|| inject(Place::Fork));
    contain(exit::begin_child);
    contain(values::begin_child);
    contain(registry::begin_child);
    contain(stacks::begin_child);
    // The child's main thread may leave by pthread_exit.
    let _ = contain(end::arm);
}
