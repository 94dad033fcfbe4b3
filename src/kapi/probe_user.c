// SPDX-License-Identifier: GPL-2.0-only
/* probe_user: what the caller may do: capabilities, namespaces, limits. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kapi/probe_int.h"

/* A descriptor each for a task and its forked children, and what the pager itself has open. */
#define NOFILE_LOW 1024

bool probe_has_cap(int cap)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t on = CAP_CLEAR;

	if (!caps)
		return false;
	if (cap_get_flag(caps, cap, CAP_EFFECTIVE, &on))
		on = CAP_CLEAR;
	cap_free(caps);
	return on == CAP_SET;
}

static void ask_cap(struct probe *p, enum probe_need need, int cap, const char *key,
		    const char *what, const char *without)
{
	struct probe_item *item = probe_add(p, PROBE_USER, need, key, what);

	if (probe_has_cap(cap))
		probe_yes(item, "%s", "");
	else
		probe_no(item, geteuid() ? "run as root, or grant the capability" :
			 "grant it: this root was stripped of it, as in a container", "%s", without);
}

static void ask_caps(struct probe *p)
{
	struct probe_item *item;

	ask_cap(p, PROBE_REQUIRED, CAP_SYS_PTRACE, "cap.sys_ptrace", "CAP_SYS_PTRACE",
		"without it the memory maps of the targets cannot be read");
	item = probe_add(p, PROBE_USER, PROBE_REQUIRED, "cap.restore",
			 "CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE (criu)");
	if (probe_has_cap(CAP_SYS_ADMIN))
		probe_yes(item, "CAP_SYS_ADMIN");
	else if (probe_has_cap(CAP_CHECKPOINT_RESTORE))
		probe_yes(item, "CAP_CHECKPOINT_RESTORE");
	else
		probe_no(item, "run as root", "without one of them criu does not restore");
	ask_cap(p, PROBE_OPTIONAL, CAP_KILL, "cap.kill", "CAP_KILL",
		"without it a target of another user whose memory is lost cannot be killed");
	ask_cap(p, PROBE_OPTIONAL, CAP_SYS_NICE, "cap.sys_nice", "CAP_SYS_NICE",
		"without it memory of a target cannot be collapsed to huge pages");
	ask_cap(p, PROBE_OPTIONAL, CAP_IPC_LOCK, "cap.ipc_lock", "CAP_IPC_LOCK",
		"without it the shared state is locked only as far as RLIMIT_MEMLOCK goes");
	ask_cap(p, PROBE_OPTIONAL, CAP_SYS_RESOURCE, "cap.sys_resource", "CAP_SYS_RESOURCE",
		"without it the OOM killer is not asked to spare the pager, and limits stay low");
}

/* The map of the initial namespace is the whole identity. */
static void note_userns(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_USER, PROBE_NOTE, "user", "user");
	unsigned long long inside = 0, outside = 1, count = 0;
	char line[128];
	int ret = probe_read_line("/proc/self/uid_map", line, sizeof(line));
	bool initial = ret >= 0 &&
		       sscanf(line, "%llu %llu %llu", &inside, &outside, &count) == 3 &&
		       !inside && !outside && count == 4294967295u;

	probe_yes(item, "uid %u, %s user namespace", (unsigned int)geteuid(),
		  ret < 0 ? "unknown" : initial ? "the initial" : "not the initial");
}

static void limit_text(rlim_t v, char *buf, size_t size)
{
	if (v == RLIM_INFINITY)
		snprintf(buf, size, "unlimited");
	else
		snprintf(buf, size, "%llu", (unsigned long long)v);
}

static void ask_limit(struct probe *p, int resource, const char *key, const char *what,
		      rlim_t low, int raises, const char *trouble)
{
	struct probe_item *item = probe_add(p, PROBE_USER, PROBE_OPTIONAL, key, what);
	char soft[32], hard[32];
	struct rlimit rl;

	if (getrlimit(resource, &rl)) {
		probe_unknown(item, "%s", strerror(errno));
		return;
	}
	limit_text(rl.rlim_cur, soft, sizeof(soft));
	limit_text(rl.rlim_max, hard, sizeof(hard));
	if (rl.rlim_max < low && !probe_has_cap(raises))
		probe_no(item, "raise the hard limit (ulimit -H)", "the hard limit is %s: %s", hard,
			 trouble);
	else
		probe_yes(item, "soft %s, hard %s", soft, hard);
}

static void ask_yama(struct probe *p)
{
	char line[16];
	struct probe_item *item;

	if (probe_read_line("/proc/sys/kernel/yama/ptrace_scope", line, sizeof(line)) < 0)
		return;
	item = probe_add(p, PROBE_USER, PROBE_REQUIRED, "yama", "ptrace is allowed (yama)");
	if (atoi(line) < 3)
		probe_yes(item, "scope %s", line);
	else
		probe_no(item, "boot with kernel.yama.ptrace_scope below 3",
			 "kernel.yama.ptrace_scope is %s: no process may trace another", line);
}

void probe_user(struct probe *p)
{
	note_userns(p);
	ask_caps(p);
	ask_yama(p);
	ask_limit(p, RLIMIT_NOFILE, "limit.nofile", "open files (RLIMIT_NOFILE)", NOFILE_LOW,
		  CAP_SYS_RESOURCE, "each restored process and each child it forks needs one");
	ask_limit(p, RLIMIT_MEMLOCK, "limit.memlock", "locked memory (RLIMIT_MEMLOCK)", 1 << 20,
		  CAP_IPC_LOCK, "the shared state cannot be locked into memory");
}
