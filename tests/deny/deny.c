// SPDX-License-Identifier: GPL-2.0-only
/*
 * deny - run a command as if the kernel lacked something.
 *
 *	deny [-e ERRNO] WHAT... -- COMMAND [ARGUMENT...]
 *
 * WHAT is the name or number of a system call, or one request of a call that carries its request
 * in an argument:
 *
 *	userfaultfd pidfd_getfd process_vm_readv 323
 *	ioctl:0xC028AA05	second argument (the names below do as well)
 *	madvise:25		third argument
 *	process_madvise:25	fourth argument
 *
 * Denied calls fail with ERRNO (name or number, default ENOSYS for calls, EINVAL for requests) in the
 * command and in everything that it starts.  All else is untouched.  Only 64-bit x86.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RULES_MAX 32

struct rule {
	uint32_t nr;
	int arg;	/* index of the argument that carries the request, -1: the whole call */
	uint32_t request;
	uint32_t err;
};

static const struct {
	const char *name;
	uint32_t nr;
	int arg;
} calls[] = {
	{ "ioctl", SYS_ioctl, 1 },
	{ "madvise", SYS_madvise, 2 },
	{ "process_madvise", 440, 3 },
	{ "prctl", SYS_prctl, 0 },
	{ "fcntl", SYS_fcntl, 1 },
	{ "userfaultfd", SYS_userfaultfd, -1 },
	{ "pidfd_open", 434, -1 },
	{ "pidfd_getfd", 438, -1 },
	{ "pidfd_send_signal", 424, -1 },
	{ "process_vm_readv", SYS_process_vm_readv, -1 },
	{ "process_vm_writev", SYS_process_vm_writev, -1 },
	{ "memfd_create", SYS_memfd_create, -1 },
	{ "mlock", SYS_mlock, -1 },
	{ "ptrace", SYS_ptrace, -1 },
	{ "kcmp", SYS_kcmp, -1 },
	{ "clone3", 435, -1 },
	{ "seccomp", SYS_seccomp, -1 },
	{ "sched_setscheduler", SYS_sched_setscheduler, -1 },
	{ "setpriority", SYS_setpriority, -1 },
	{ "prlimit64", SYS_prlimit64, -1 },
	{ "fallocate", SYS_fallocate, -1 },
};

static const struct {
	const char *name;
	uint32_t request;
} requests[] = {
	{ "UFFDIO_MOVE", 0xc028aa05 },
	{ "UFFDIO_POISON", 0xc020aa08 },
	{ "UFFDIO_COPY", 0xc028aa03 },
	{ "UFFDIO_ZEROPAGE", 0xc020aa04 },
	{ "PAGEMAP_SCAN", 0xc0606610 },
	{ "MADV_POPULATE_READ", 22 },
	{ "MADV_COLLAPSE", 25 },
	{ "MADV_GUARD_INSTALL", 102 },
};

static const struct {
	const char *name;
	int err;
} errnos[] = {
	{ "ENOSYS", ENOSYS }, { "EPERM", EPERM }, { "EINVAL", EINVAL }, { "ENOTTY", ENOTTY },
	{ "EACCES", EACCES }, { "ENOMEM", ENOMEM }, { "EAGAIN", EAGAIN }, { "ESRCH", ESRCH },
	{ "EOPNOTSUPP", EOPNOTSUPP }, { "EIO", EIO },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void die(const char *what, const char *why)
{
	fprintf(stderr, "deny: %s: %s\n", what, why);
	exit(125);
}

static uint32_t number(const char *text)
{
	char *end;
	unsigned long v = strtoul(text, &end, 0);

	if (!*text || *end || v > UINT32_MAX)
		die(text, "neither a known name nor a number");
	return (uint32_t)v;
}

static uint32_t parse_errno(const char *text)
{
	size_t i;

	for (i = 0; i < COUNT(errnos); i++)
		if (!strcmp(errnos[i].name, text))
			return (uint32_t)errnos[i].err;
	return number(text);
}

static uint32_t parse_request(const char *text)
{
	size_t i;

	for (i = 0; i < COUNT(requests); i++)
		if (!strcmp(requests[i].name, text))
			return requests[i].request;
	return number(text);
}

static struct rule parse_rule(const char *text, uint32_t err)
{
	size_t len = strcspn(text, ":"), i;
	struct rule rule = { 0, -1, 0, err ? err : ENOSYS };

	for (i = 0; i < COUNT(calls); i++)
		if (strlen(calls[i].name) == len && !strncmp(calls[i].name, text, len))
			break;
	rule.nr = i < COUNT(calls) ? calls[i].nr : number(text);
	if (text[len]) {
		if (i == COUNT(calls) || calls[i].arg < 0)
			die(text, "this call has no requests");
		rule.arg = calls[i].arg;
		rule.request = parse_request(text + len + 1);
		rule.err = err ? err : EINVAL;
	}
	return rule;
}

/* Low half of an argument: requests are 32 bits wide. */
static uint32_t arg_offset(int arg)
{
	return (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)arg);
}

static unsigned int emit_rule(struct sock_filter *f, const struct rule *rule)
{
	unsigned int n = 0;
	const uint32_t nr = offsetof(struct seccomp_data, nr);

	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, nr);
	if (rule->arg < 0) {
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->nr, 0, 1);
	} else {
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->nr, 0, 3);
		f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						      arg_offset(rule->arg));
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->request, 0, 1);
	}
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | rule->err);
	return n;
}

static void install(const struct rule *rules, unsigned int nrules)
{
	struct sock_filter f[4 + 5 * RULES_MAX];
	struct sock_fprog prog = { .filter = f };
	unsigned int n = 0, i;

	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	for (i = 0; i < nrules; i++)
		n += emit_rule(f + n, &rules[i]);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = (unsigned short)n;

	/* Without privilege a filter needs no_new_privs; with it, criu and runc are not to notice. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	     syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog)))
		die("seccomp", strerror(errno));
}

int main(int argc, char **argv)
{
	struct rule rules[RULES_MAX];
	unsigned int nrules = 0;
	uint32_t err = 0;
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "-e") && i + 1 < argc)
			err = parse_errno(argv[++i]);
		else if (nrules == RULES_MAX)
			die(argv[i], "too many rules");
		else
			rules[nrules++] = parse_rule(argv[i], err);
	}
	if (!nrules || i + 1 >= argc)
		die("usage", "deny [-e ERRNO] WHAT... -- COMMAND [ARGUMENT...]");
	install(rules, nrules);
	execvp(argv[i + 1], argv + i + 1);
	die(argv[i + 1], strerror(errno));
}
