/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * proc: what /proc and pidfds tell about other processes, and the clone that shares descriptors.
 * Everything is best read as a hint until it was confirmed: a pid can be reused between two calls.
 */
#ifndef KAPI_PROC_H
#define KAPI_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * proc_clone_files - a child that shares our descriptor table and copies our memory.
 * Call it with one thread only.  The child is waited for like a forked one.
 * Return: 0 in the child, its pid in the parent, or -errno.
 */
pid_t proc_clone_files(void);

/* proc_pidfd_open - Return: a descriptor (close-on-exec) or -errno. */
int proc_pidfd_open(pid_t pid);
/* proc_pidfd_kill - Return: 0 or -errno. */
int proc_pidfd_kill(int pidfd, int sig);
/* proc_pidfd_getfd - duplicate descriptor @fd of the process. Return: ours, or -errno. */
int proc_pidfd_getfd(int pidfd, int fd);
/* proc_pidfd_exited - have all threads of the process ended? Never blocks. */
bool proc_pidfd_exited(int pidfd);

/*
 * proc_children - pids of the children of all threads of @pid.
 * Return: how many stand in @out (at most @max), or -errno.
 */
int proc_children(pid_t pid, pid_t *out, int max);

/*
 * proc_all - all pids that /proc shows.
 * Return: how many stand in @out (at most @max), or -errno.
 */
int proc_all(pid_t *out, int max);

/* proc_nspid - the pid that @pid has in its own, innermost namespace. Return: it, or -errno. */
pid_t proc_nspid(pid_t pid);
/* proc_ppid - Return: the parent's pid, or -errno. */
pid_t proc_ppid(pid_t pid);
/* proc_tracer - Return: the pid of who traces it, 0: nobody, or -errno. */
pid_t proc_tracer(pid_t pid);

/*
 * proc_cpu_of - the CPU on which the leader of a process ran last.
 * @nthreads: set to the number of its threads.
 * Return: the CPU's number or -errno.
 */
int proc_cpu_of(pid_t pid, long *nthreads);
/* proc_pin - let the calling thread run on one CPU only, or (cpu < 0) on all. Return: 0 or -errno. */
int proc_pin(int cpu);
/* proc_avoid - let the calling thread run on all CPUs but one, or (cpu < 0) on all. */
int proc_avoid(int cpu);

/*
 * proc_boost - put a process of the ordinary scheduling class into the real-time class, or back.
 * Return: 0, or -errno; -EINVAL: it is in another class, and left there.
 */
int proc_boost(pid_t pid, bool on);
/* proc_boosted - is it in that class? */
bool proc_boosted(pid_t pid);

/*
 * proc_start_time - when a process began, in clock ticks since boot; with the pid it names it.
 * Return: the time, 0 when there is no such process.
 */
uint64_t proc_start_time(pid_t pid);

/* proc_pagemap_open - Return: descriptor of /proc/PID/pagemap or -errno. */
int proc_pagemap_open(pid_t pid);

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_GUARD (1ull << 58)
/* proc_pagemap_read - entries of @n pages from @addr on. Return: 0 or -errno. */
int proc_pagemap_read(int fd, uint64_t addr, uint64_t page_size, unsigned int n, uint64_t *entries);

/* proc_has_guards - does this kernel know guard pages (MADV_GUARD_INSTALL, 6.13)? */
bool proc_has_guards(void);

/* proc_raise_nofile - raise RLIMIT_NOFILE as far as we may. Return: the limit in force. */
uint64_t proc_raise_nofile(void);

/*
 * proc_protect_from_oom - ask the OOM killer to pass us by.
 * Return: 0 or -errno (needs CAP_SYS_RESOURCE).
 */
int proc_protect_from_oom(void);

#endif
