/* A sandbox in which one system call fails. */
#ifndef TEST_SANDBOX_H
#define TEST_SANDBOX_H

#include "child.h"

/* A compiler for musl may be without the headers of the kernel. */
#if defined(__linux__) && defined(__x86_64__) && defined(__has_include)
#if __has_include(<linux/filter.h>)
#define HAS_FILTERS
#endif
#endif

#if defined(HAS_FILTERS)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* From now on, the call fails with EPERM in this process. Called in a child process. */
static inline void block_system_call(unsigned number)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {(unsigned short)TEST_COUNT(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(CHILD_SKIPPED);
}
#endif

#endif
