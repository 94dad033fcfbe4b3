/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * privs: what the pager keeps before it reads the first byte of an image.
 *
 * Capabilities are per thread and inherited by threads made later, and so is a seccomp filter:
 * both are set while there is one thread.
 *
 *	SYS_PTRACE	pagemap of the targets (guard pages, proof of a pid)
 *	KILL		end a target whose bytes are lost
 *	SYS_NICE	the fault thread's scheduling class
 *	DAC_READ_SEARCH, DAC_OVERRIDE	images and /proc files of other users
 *	IPC_LOCK	a successor that attaches to the state
 *
 * The filter answers EPERM instead of killing: a pager that dies of a library's new system call
 * would be replaced by one that dies of it too.
 */
#include <errno.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>
#include <seccomp.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "kapi/mm_abi.h"
#include "pager/internal.h"
#include "util/log.h"

/* A sanitizer's run-time makes system calls of its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PRIVS_FILTERED false
#else
#define PRIVS_FILTERED true
#endif

static const cap_value_t privs_keep[] = {
	CAP_SYS_PTRACE, CAP_KILL, CAP_SYS_NICE, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, CAP_IPC_LOCK,
};

/*
 * The hand (see hand.h) parses nothing, and keeps what injecting takes:
 *
 *	SYS_ADMIN	read-only mounts; suspending a target's filter of system calls
 *	SYS_RESOURCE	a target's limits, raised for the moment
 *	SYS_PTRACE, KILL, DAC_*	other users' processes
 */
static const cap_value_t privs_hand_keep[] = {
	CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_KILL, CAP_DAC_READ_SEARCH,
	CAP_DAC_OVERRIDE,
};

static const char *const privs_calls[] = {
	"accept4", "bind", "brk", "clock_gettime", "clock_nanosleep", "clone", "clone3", "close",
	"dup", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait",
	"eventfd2", "exit", "exit_group", "fallocate", "fchdir", "fcntl", "fstat", "ftruncate",
	"futex", "getcwd", "getdents64", "getegid", "geteuid", "getgid", "getpeername", "getpid",
	"getppid", "getrandom", "getsockname", "getsockopt", "gettid", "getuid", "kcmp", "kill",
	"listen", "lseek", "madvise", "membarrier", "memfd_create", "mincore", "mlock", "mmap", "mprotect",
	"mremap", "munlock", "munmap", "nanosleep", "newfstatat", "openat", "pidfd_open",
	"pidfd_send_signal", "poll", "ppoll", "prctl", "pread64", "preadv2", "prlimit64",
	"process_madvise", "read", "readlink", "readlinkat", "recvfrom", "recvmsg", "rename",
	"renameat", "restart_syscall", "rseq",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sched_getaffinity",
	"sched_getparam", "sched_getscheduler", "sched_setaffinity", "sched_setscheduler",
	"sched_yield", "sendmsg", "sendto", "set_robust_list", "set_tid_address",
	"setpriority", "setsid", "shutdown",
	"sigaltstack", "signalfd4", "socket", "socketpair", "statx", "tgkill", "uname", "unlink",
	"unlinkat",
	"wait4", "waitid", "write", "writev",
};

static const unsigned long privs_ioctls[] = {
	UFFDIO_COPY, UFFDIO_ZEROPAGE, UFFDIO_WAKE, UFFDIO_WRITEPROTECT, UFFDIO_REGISTER,
	PAGEMAP_SCAN,
	0x5413 /* TIOCGWINSZ */, 0x5401 /* TCGETS */,
};

/* Keep these @n, as far as we have them. */
static int privs_caps(const cap_value_t *keep, unsigned int n)
{
	cap_t have = cap_get_proc(), want = cap_init();
	int ret = 0;

	if (!have || !want) {
		ret = -errno;
		goto out;
	}
	for (unsigned int i = 0; i < n; i++) {
		cap_flag_value_t on;

		if (cap_get_flag(have, keep[i], CAP_PERMITTED, &on) || on != CAP_SET)
			continue;
		cap_set_flag(want, CAP_PERMITTED, 1, &keep[i], CAP_SET);
		cap_set_flag(want, CAP_EFFECTIVE, 1, &keep[i], CAP_SET);
	}
	if (cap_set_proc(want))
		ret = -errno;
out:
	cap_free(have);
	cap_free(want);
	return ret;
}

static int privs_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int ret = 0;

	if (!ctx)
		return -ENOMEM;
	/* A balanced tree instead of a list; an older libseccomp lists. */
	if (seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2))
		log_debug("seccomp: no binary tree");
	for (size_t i = 0; !ret && i < sizeof(privs_calls) / sizeof(privs_calls[0]); i++) {
		int nr = seccomp_syscall_resolve_name(privs_calls[i]);

		/* A libseccomp or an architecture without it needs no rule for it. */
		if (nr == __NR_SCMP_ERROR)
			continue;
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
	}
	/* cachestat: younger than Debian 12's libseccomp; the same number everywhere. */
	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, 451, 0);
	for (size_t i = 0; !ret && i < sizeof(privs_ioctls) / sizeof(privs_ioctls[0]); i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffull, privs_ioctls[i]));
	if (!ret)
		ret = seccomp_load(ctx);
	seccomp_release(ctx);
	return ret;
}

static bool privs_done;

bool privs_dropped(void)
{
	return privs_done;
}

int privs_drop(void)
{
	int ret;

	/* A pager that became the keeper has clones that are born this way. */
	if (privs_done)
		return 0;
	ret = privs_caps(privs_keep, sizeof(privs_keep) / sizeof(privs_keep[0]));
	if (ret) {
		log_err("cannot drop capabilities: %s", strerror(-ret));
		return ret;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		log_err("cannot set no_new_privs: %s", strerror(errno));
		return -errno;
	}
	ret = PRIVS_FILTERED ? privs_filter() : 0;
	if (ret) {
		log_err("cannot install the seccomp filter: %s", strerror(-ret));
		return ret;
	}
	privs_done = true;
	return 0;
}

int privs_hand(void)
{
	int ret = privs_caps(privs_hand_keep, sizeof(privs_hand_keep) / sizeof(privs_hand_keep[0]));

	if (ret)
		log_err("the hand cannot drop capabilities: %s", strerror(-ret));
	return ret;
}
