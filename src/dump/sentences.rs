//! The parts of which the sentences of a dump are composed.
//!
//! `tools/threading-dump`, which makes the same dump from outside the process, has the same list; a test compares the
//! two.

pub(super) const PROCESS: &str = "threading: process ";
pub(super) const THREAD: &str = "thread";
pub(super) const DEADLOCKED: &str = " of them deadlocked:";

pub(super) const MAIN_THREAD: &str = "MainThread";
pub(super) const NATIVE_THREAD: &str = "thread ";
pub(super) const IDENT_THREAD: &str = "the thread with ident ";
pub(super) const IS_TIMER: &str = " (timer)";

pub(super) const MAKES_DUMP: &str = "makes this dump";
pub(super) const STARTING: &str = "starting";
pub(super) const OUTSIDE: &str = "running outside this library";
pub(super) const IN_SYSCALL: &str = ", in ";
pub(super) const SYSCALL: &str = "system call ";

pub(super) const OWNS: &str = "    owns ";
pub(super) const WAITER: &str = "waiter";

pub(super) const SLEEPS: &str = "sleeps";
pub(super) const JOINS: &str = "joins ";
pub(super) const WAITS_FOR: &str = "waits for ";
pub(super) const WAITS_FOR_NOTIFY: &str = "waits for a notify on ";
pub(super) const FREE_LOCK: &str = " free)";
pub(super) const NO_NOTIFY: &str = "; no waiter has been notified since it was created";
pub(super) const NOTIFIED: &str = "notified on ";
pub(super) const NOTIFIED_ON_FREED: &str = "notified on a condition that has been freed, waits for its lock";
pub(super) const WAITS_FOR_ITS: &str = ", waits for its ";
pub(super) const WAITS_AT: &str = "waits at ";
pub(super) const ARRIVED: &str = " arrived)";
pub(super) const ACTION_RUN_BY: &str = ", whose action is run by ";
pub(super) const OF: &str = " of ";
pub(super) const LEFT: &str = " left, ";
pub(super) const IS_SET: &str = " (set)";
pub(super) const IS_NOT_SET: &str = " (not set)";
pub(super) const ABOUT_TO_ACQUIRE: &str = ", which it is about to acquire";
pub(super) const WAITS_FOR_FREED: &str = "waits for an object that has been freed";
pub(super) const FREED: &str = "an object that has been freed";
pub(super) const FOR: &str = ", for ";
pub(super) const FOR_AT_MOST: &str = ", for at most ";
pub(super) const MORE: &str = " more";

pub(super) const OWNER_FREE: &str = ", free";
pub(super) const HANDED_OFF: &str = ", handed off to a waiter";
pub(super) const OWNED_IN_PARENT: &str = ", owned since before the fork by a thread that does not exist here";
pub(super) const OWNED_BY: &str = ", owned by ";

pub(super) const EXITS: &str = "waits in the process exit or a shutdown for ";
pub(super) const WAITS_FOR_CALLBACKS: &str =
    "waits in the process exit or a shutdown for the functions that another thread calls";
pub(super) const NON_DAEMON: &str = "non-daemon thread";
pub(super) const AND: &str = " and ";
pub(super) const TIMER: &str = "timer";
pub(super) const TIMERS_NOT_KNOWN: &str = "timers: not known, because the library is using them";
pub(super) const TIMER_DUE: &str = " timer, due";
pub(super) const DAEMON_TIMER_DUE: &str = " timer (daemon), due";
pub(super) const DUE_IN: &str = " in ";
pub(super) const DUE_NOW: &str = " now";
pub(super) const MORE_TIMERS: &str = "more pending timer";

pub(super) const CONTENTION: &str = "contention in the last ";
pub(super) const WAIT: &str = "wait";
pub(super) const IN_TOTAL: &str = " in total, ";
pub(super) const LONGEST: &str = " the longest";

pub(super) const LOCK: &str = "lock";
pub(super) const RLOCK: &str = "rlock";
pub(super) const CONDITION: &str = "condition";
pub(super) const EVENT: &str = "event";
pub(super) const SEMAPHORE: &str = "semaphore";
pub(super) const BARRIER: &str = "barrier";
