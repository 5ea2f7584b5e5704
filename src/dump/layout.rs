//! The layout note: where the library keeps what a dump needs, for programs that read the process from outside.
//!
//! `tools/threading-dump` makes the dump of a process that is stopped, or of a core file, without debug information. It
//! finds this note through the program headers of each ELF file that the process has mapped (`PT_NOTE`). The note is in
//! an allocated section, which `strip` keeps, and has no relocations.
//!
//! | part | content |
//! |---|---|
//! | name | `libthreading` |
//! | type | [`VERSION`] |
//! | descriptor, words of 32 bits | the numbers of addresses, values and system calls |
//! | | the addresses, each as its distance from its own word |
//! | | the values: sizes, offsets of fields, numbers of bits, and constants |
//! | | the numbers of the [`SYSCALLS`] |
//!
//! The reader has the same lists of names, in the same order; a test compares them. New entries are added at the end of
//! a list, and a reader ignores those that it does not know. Any other change increments the version, also one of the
//! meaning of the data.

#![expect(non_upper_case_globals, reason = "the names of system calls are those of libc")]
#![cfg_attr(
    any(target_arch = "powerpc", target_arch = "powerpc64"),
    allow(dead_code, unused_imports, reason = "there is no note")
)]

use core::ffi::c_long;
use core::mem::size_of;

use crate::barrier::Barrier;
use crate::dump::contention::{IS_ON, SINCE};
use crate::event::{self, Event};
use crate::handle::ObjectKind;
use crate::handle::arena::{ARENAS, Arena};
use crate::handle::block_table::{BlockTable, TABLE_ALIGNMENT};
use crate::handle::blocks::BLOCK_SIZE;
use crate::handle::header::{GENERATION, Header, LIVE};
use crate::handle::layout::BLOCK_GENERATION_BITS;
use crate::handle::note::{MAX_NAME, Note};
use crate::lock::condition::Condition;
use crate::lock::lock::Lock;
use crate::lock::rlock::RLock;
use crate::lock::word::HANDOFF_PENDING;
use crate::semaphore::{self, Semaphore};
use crate::sync::fork_epoch::EPOCH;
use crate::sync::mutex::{InternalMutex, STATE_BITS};
use crate::sync::record_pool::CHUNK_SIZE;
use crate::sync::wait_note::{COUNT_MASK, EXIT_CALLBACKS, PROCESS_EXIT, SLEEP, UNTIMED, WAITING};
use crate::sync::waiter::{PARKED, PARKED_TOGETHER, QUEUED, SPINNING, WaitNote, Waiter};
use crate::sync::waiter_pool::{CHUNKS, INHERITED};
use crate::thread::exit_callbacks::RUNNER;
use crate::thread::ident::{FIRST_CHILD_IDENT, FIRST_OWNER_TAG, FORKING_THREAD_IDENT, OWNER_SHIFT};
use crate::thread::name_table::Node;
use crate::thread::names::{EXPOSED, NameList};
use crate::thread::naming::MAX_REPORTED_NAME;
use crate::thread::object::{
    DAEMON, DONE, DUMMY, IN_SHUTDOWN, MAIN, NATIVE_ID_AWAITED, NOT_STARTED, STATE_MASK, TERMINATED, TIMER,
    Thread,
};
use crate::thread::registry::{MAIN_IDENT, REGISTRY, Registry};
use crate::timer::heap::{ARITY, Entry, Heap, IN_NURSERY, VECTOR_POINTER};
use crate::timer::object::{PENDING, Timer};
use crate::timer::queue::TimerQueue;

/// The type of the note.
const VERSION: u32 = 3;

/// Writes the note, and declares [`SYSCALLS`].
macro_rules! layout {
    (
        addresses { $($address_name:ident = $address:path;)+ }
        values { $($value_name:ident = $value:expr;)+ }
        system_calls { $($call:ident = $call_name:literal;)+ }
    ) => {
        /// The numbers and the names of the system calls in which programs usually block.
        ///
        /// A static, not a constant: the dump refers to it, so that this object file is linked, and with it the note.
        pub(super) static SYSCALLS: [(c_long, &str); [$($call_name),+].len()] = [$((number::$call, $call_name)),+];

        // Rust's own statics cannot contain the distance between two addresses. On PowerPC, the oldest Rust that can
        // build the library has no assembly.
        #[cfg(not(any(target_arch = "powerpc", target_arch = "powerpc64")))]
        core::arch::global_asm!(
            ".pushsection .note.threading, \"a\", %note",
            ".balign 4",
            ".4byte 13, 3f - 2f, {VERSION}", // the sizes of the name and of the descriptor, and the type
            ".asciz \"libthreading\"",
            ".balign 4",
            "2:",
            ".4byte {}, {}, {}",
            $(layout!(@address $address_name),)+
            $(layout!(@value $value_name),)+
            $(layout!(@value $call),)+
            "3:",
            ".popsection",
            const [$(stringify!($address_name)),+].len(),
            const [$(stringify!($value_name)),+].len(),
            const [$($call_name),+].len(),
            $(sym $address,)+
            $(const $value,)+
            $(const number::$call,)+
            VERSION = const VERSION,
        );
    };
    (@address $name:ident) => { ".4byte {} - ." };
    (@value $name:ident) => { ".4byte {}" };
}

layout! {
    addresses {
        arenas = ARENAS;
        waiter_chunks = CHUNKS;
        inherited_waiter = INHERITED;
        fork_epoch = EPOCH;
        main_ident = MAIN_IDENT;
        first_child_ident = FIRST_CHILD_IDENT;
        forking_thread_ident = FORKING_THREAD_IDENT;
        registry = REGISTRY;
        contention_is_on = IS_ON;
        contention_since = SINCE;
        exit_callbacks_runner = RUNNER;
    }
    values {
        block_size = BLOCK_SIZE;
        block_generation_bits = BLOCK_GENERATION_BITS;
        generation_mask = GENERATION;
        live = LIVE;
        arena_size = size_of::<Arena>();
        arena_table = Arena::OFFSETS.table + BlockTable::OFFSETS.table;
        table_alignment = TABLE_ALIGNMENT;
        header_link = Header::OFFSETS.link;
        thread_kind = ObjectKind::Thread as usize;
        thread_size = size_of::<Thread>();
        timer_kind = ObjectKind::Timer as usize;
        timer_size = size_of::<Timer>();
        lock_kind = ObjectKind::Lock as usize;
        lock_size = size_of::<Lock>();
        rlock_kind = ObjectKind::RLock as usize;
        rlock_size = size_of::<RLock>();
        condition_kind = ObjectKind::Condition as usize;
        condition_size = size_of::<Condition>();
        semaphore_kind = ObjectKind::Semaphore as usize;
        semaphore_size = size_of::<Semaphore>();
        event_kind = ObjectKind::Event as usize;
        event_size = size_of::<Event>();
        barrier_kind = ObjectKind::Barrier as usize;
        barrier_size = size_of::<Barrier>();
        note_size = size_of::<Note>();
        note_name = Note::OFFSETS.name;
        note_name_size = MAX_NAME + 1;
        note_waits = Note::OFFSETS.waits;
        note_total = Note::OFFSETS.total_ns;
        note_longest = Note::OFFSETS.longest_ns;
        note_longest_owner = Note::OFFSETS.longest_owner;
        waiter_size = size_of::<Waiter>();
        waiter_chunk_size = CHUNK_SIZE;
        waiter_next = Waiter::OFFSETS.links;
        waiter_state = Waiter::OFFSETS.state;
        waiter_notified = Waiter::OFFSETS.notified;
        waiter_owner_tag = Waiter::OFFSETS.owner_tag;
        waiter_native_id = Waiter::OFFSETS.native_id;
        waiter_since = Waiter::OFFSETS.note + WaitNote::OFFSETS.since;
        waiter_until = Waiter::OFFSETS.note + WaitNote::OFFSETS.until;
        waiter_object = Waiter::OFFSETS.note + WaitNote::OFFSETS.object;
        state_queued = QUEUED;
        state_spinning = SPINNING;
        state_parked = PARKED;
        state_parked_together = PARKED_TOGETHER;
        waiting = WAITING;
        wait_count_mask = COUNT_MASK;
        object_sleep = SLEEP;
        object_process_exit = PROCESS_EXIT;
        object_exit_callbacks = EXIT_CALLBACKS;
        untimed_shift = UNTIMED.trailing_zeros();
        owner_shift = OWNER_SHIFT;
        handoff_pending = HANDOFF_PENDING;
        first_owner_tag = FIRST_OWNER_TAG;
        thread_state = Thread::OFFSETS.state;
        thread_flags = Thread::OFFSETS.flags;
        thread_native_id = Thread::OFFSETS.native_id;
        thread_name_number = Thread::OFFSETS.name_number;
        thread_ident = Thread::OFFSETS.ident;
        thread_name = Thread::OFFSETS.names + NameList::OFFSETS.current;
        name_hash = Node::OFFSETS.hash;
        name_text = Node::OFFSETS.text;
        name_exposed = EXPOSED;
        name_size = MAX_REPORTED_NAME;
        state_mask = STATE_MASK;
        state_not_started = NOT_STARTED;
        state_terminated = TERMINATED;
        state_done = DONE;
        native_id_awaited = NATIVE_ID_AWAITED;
        flag_daemon = DAEMON;
        flag_main = MAIN;
        flag_dummy = DUMMY;
        flag_timer = TIMER;
        flag_in_shutdown = IN_SHUTDOWN;
        condition_lock = Condition::OFFSETS.lock;
        condition_is_reentrant = Condition::OFFSETS.is_reentrant;
        condition_has_notified = Condition::OFFSETS.has_notified;
        semaphore_limit = Semaphore::OFFSETS.limit;
        semaphore_is_bounded = Semaphore::OFFSETS.is_bounded;
        semaphore_waiters = semaphore::WAITERS;
        semaphore_permit_shift = semaphore::PERMIT.trailing_zeros();
        semaphore_permit_bits = semaphore::VALUE_BITS;
        event_set = event::SET;
        barrier_parties = Barrier::OFFSETS.parties;
        mutex_state_bits = STATE_BITS;
        registry_word = InternalMutex::<Registry>::WORD_OFFSET;
        registry_awaited_count = InternalMutex::<Registry>::DATA_OFFSET + Registry::OFFSETS.awaited_count;
        registry_entries = HEAP + Heap::OFFSETS.entries;
        registry_nursery = HEAP + Heap::OFFSETS.nursery;
        vector_pointer = VECTOR_POINTER;
        entry_size = size_of::<Entry>();
        entry_deadline = Entry::OFFSETS.deadline;
        entry_timer = Entry::OFFSETS.timer;
        timer_thread = Timer::OFFSETS.thread;
        timer_heap_index = Timer::OFFSETS.heap_index;
        timer_state = Timer::OFFSETS.state;
        timer_pending = PENDING;
        in_nursery = IN_NURSERY;
        barrier_acting = Barrier::OFFSETS.acting;
        heap_arity = ARITY;
    }
    system_calls {
        SYS_read = "read(2)";
        SYS_write = "write(2)";
        SYS_futex = "futex(2)";
        SYS_ppoll = "ppoll(2)";
        SYS_pselect6 = "pselect(2)";
        SYS_epoll_pwait = "epoll_wait(2)";
        SYS_nanosleep = "nanosleep(2)";
        SYS_clock_nanosleep = "clock_nanosleep(2)";
        SYS_wait4 = "wait4(2)";
        SYS_waitid = "waitid(2)";
        SYS_accept4 = "accept(2)";
        SYS_accept = "accept(2)";
        SYS_connect = "connect(2)";
        SYS_recvfrom = "recv(2)";
        SYS_recvmsg = "recvmsg(2)";
        SYS_sendto = "send(2)";
        SYS_fsync = "fsync(2)";
        SYS_flock = "flock(2)";
        SYS_rt_sigtimedwait = "sigtimedwait(2)";
        SYS_rt_sigsuspend = "sigsuspend(2)";
        SYS_poll = "poll(2)";
        SYS_select = "select(2)";
        SYS_epoll_wait = "epoll_wait(2)";
        SYS_pause = "pause(2)";
        SYS_futex_time64 = "futex(2)";
        SYS_ppoll_time64 = "ppoll(2)";
        SYS_pselect6_time64 = "pselect(2)";
        SYS_clock_nanosleep_time64 = "clock_nanosleep(2)";
        SYS_rt_sigtimedwait_time64 = "sigtimedwait(2)";
        SYS_restart_syscall = "restart_syscall(2)";
    }
}

/// The offset of the heap of timers in the registry.
const HEAP: usize =
    InternalMutex::<Registry>::DATA_OFFSET + Registry::OFFSETS.timers + TimerQueue::OFFSETS.heap;

/// The numbers of the system calls; -1 for those that the architecture does not have.
mod number {
    pub(super) use libc::{
        SYS_accept4, SYS_clock_nanosleep, SYS_connect, SYS_epoll_pwait, SYS_flock, SYS_fsync, SYS_futex,
        SYS_nanosleep, SYS_ppoll, SYS_pselect6, SYS_read, SYS_recvfrom, SYS_recvmsg, SYS_restart_syscall,
        SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_sendto, SYS_wait4, SYS_waitid, SYS_write, c_long,
    };

    #[cfg(not(any(target_arch = "x86", target_arch = "s390x")))]
    pub(super) use libc::SYS_accept;
    #[cfg(any(target_arch = "x86", target_arch = "s390x"))]
    pub(super) const SYS_accept: c_long = -1;

    #[cfg(target_arch = "x86_64")]
    pub(super) use libc::{SYS_epoll_wait, SYS_pause, SYS_poll, SYS_select};
    // The calls that newer architectures do not have.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const SYS_poll: c_long = -1;
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const SYS_select: c_long = -1;
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const SYS_epoll_wait: c_long = -1;
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const SYS_pause: c_long = -1;

    /// The number of a call that only architectures with words of 32 bits have.
    const fn if_32_bits(number: c_long) -> c_long {
        if cfg!(target_pointer_width = "32") { number } else { -1 }
    }
    pub(super) const SYS_clock_nanosleep_time64: c_long = if_32_bits(407);
    pub(super) const SYS_pselect6_time64: c_long = if_32_bits(413);
    pub(super) const SYS_ppoll_time64: c_long = if_32_bits(414);
    pub(super) const SYS_rt_sigtimedwait_time64: c_long = if_32_bits(421);
    pub(super) const SYS_futex_time64: c_long = if_32_bits(422);
}
