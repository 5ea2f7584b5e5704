/*
 * threading.h - Python's threading module for C.
 *
 * Threads with names, daemon threads, timers that can be cancelled, locks, reentrant locks, condition variables,
 * semaphores, events, barriers and thread-local data. Every call reports its result, misuse is reported as an
 * error instead of being undefined behavior, and every wait can have a timeout.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Generated from src/capi/; do not edit. To update it, run UPDATE_HEADER=1 cargo test --test header.
 *
 * Binary interface. A program that was linked with version 0.1.x of the library runs with every later version
 * 0.1.y. Such a version may add functions and constants, but does not change or remove a function, the type of an
 * argument, or the number of a status or another constant. All objects are accessed through handles, so their
 * layout is not part of the interface. Each function has the version of the interface as its symbol version
 * (threading_lock_new@@THREADING_0.1 in the ELF file). While the major version is 0, version 0.2 may have a
 * different interface. It then has a different symbol version, and the dynamic linker does not start a program
 * with it that was linked with version 0.1.
 */
#ifndef THREADING_H
#define THREADING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The version of this header. */
#define THREADING_VERSION "@VERSION@"

#ifdef __cplusplus
extern "C" {
#endif
