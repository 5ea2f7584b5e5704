/*
 * threading.h - Python's threading module for C.
 *
 * Threads with names, daemon threads, timers that can be cancelled, locks, re-entrant locks, conditions,
 * semaphores, events, barriers and thread-local data. Every call says what happened, misuse is answered
 * with an error and does not crash, and every wait can have a limit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Generated from src/capi/; do not edit. UPDATE_HEADER=1 cargo test --test header writes it anew.
 *
 * The binary interface. A program that was linked with version 0.1.x of the library runs with every later
 * 0.1.x. In these, functions and numbers are added, and nothing that is here changes or goes: no function, no type
 * of an argument, no number of a status or of another constant. All objects are behind handles, so that
 * what they are made of is not part of it. Each function carries the version of the interface (in the ELF
 * file threading_lock_new@@THREADING_0.1); a library of another interface, as 0.2 may be while the major
 * version is 0, has another one, and the system refuses to start the program with it.
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
