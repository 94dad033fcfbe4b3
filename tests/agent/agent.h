/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * agent: a victim, what can be seen of it from outside, and orders for an agent in it.
 *
 *	struct victim v = victim_start(body, arg);	forked, waits until the body says ready
 *	struct trace before = trace_take(v.pid);	maps, descriptors, children, limits, signals
 *	place(&v, &opts) ... order(&v, ...) ... cure(&v)
 *	trace_same(&before, v.pid, "...");
 *	victim_end(&v);
 */
#ifndef TESTS_AGENT_AGENT_H
#define TESTS_AGENT_AGENT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "abi/agent_abi.h"
#include "inject/inject.h"
#include "tests/tap.h"

#define AGENT_FN static inline __attribute__((unused))
#define HUGE AGENT_HUGE_BYTES

/* Shared by the test and its victims. */
struct shared {
	volatile uint32_t ready;
	volatile uint32_t stop;
	volatile uint64_t count;	/* of whatever a body does */
	volatile uint64_t bad;		/* of whatever must not happen */
	volatile uint64_t word[64];	/* for the test and its body */
};

struct victim {
	pid_t pid;
	struct shared *sh;
	struct inject_record rec;
	struct inject_error err;
	int sock;
	uint32_t seq;
};

typedef void (*victim_body)(struct shared *sh, void *arg);

AGENT_FN void ms_sleep(unsigned int ms)
{
	const struct timespec ts = { ms / 1000, (ms % 1000) * 1000000l };

	nanosleep(&ts, NULL);
}

/* Wait for a condition, as long as it takes; the alarm of the test is the limit. */
#define await(cond) \
	do { \
		while (!(cond)) \
			ms_sleep(1); \
	} while (0)

AGENT_FN bool has_ended(pid_t child)
{
	siginfo_t si = { .si_pid = 0 };

	return waitid(P_PID, child, &si, WEXITED | WNOHANG | WNOWAIT) || si.si_pid;
}

AGENT_FN struct victim victim_start(victim_body body, void *arg)
{
	struct victim v = { .sock = -1 };
	pid_t self = getpid();

	v.sh = mmap(NULL, sizeof(*v.sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (v.sh == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	v.pid = fork();
	if (v.pid < 0)
		bail("fork: %s", strerror(errno));
	if (!v.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(9);
		alarm(0);
		signal(SIGALRM, SIG_DFL);
		body(v.sh, arg);
		_exit(0);
	}
	await(v.sh->ready || has_ended(v.pid));
	if (!v.sh->ready)
		bail("the victim did not come up");
	return v;
}

/* Ask it to end. Return: its wait status. */
AGENT_FN int victim_stop(struct victim *v)
{
	int status = -1;

	v->sh->stop = 1;
	while (waitpid(v->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (v->sock >= 0)
		close(v->sock);
	munmap(v->sh, sizeof(*v->sh));
	return status;
}

/* End it by force. */
AGENT_FN void victim_kill(struct victim *v)
{
	kill(v->pid, SIGKILL);
	victim_stop(v);
}

AGENT_FN struct inject_opts opts_default(void)
{
	return (struct inject_opts){ .nslots = 2 };
}

AGENT_FN int place(struct victim *v, const struct inject_opts *opts)
{
	struct inject_opts plain = opts_default();
	int ret;

	memset(&v->err, 0, sizeof(v->err));
	ret = inject_place(v->pid, opts ? opts : &plain, &v->rec, &v->sock, &v->err);
	if (ret)
		note("place: %d: %s", ret, v->err.text);
	return ret;
}

AGENT_FN int cure(struct victim *v, const struct inject_opts *opts)
{
	struct inject_opts plain = opts_default();
	int ret;

	memset(&v->err, 0, sizeof(v->err));
	ret = inject_cure(&v->rec, opts ? opts : &plain, &v->err);
	if (ret)
		note("cure: %d: %s", ret, v->err.text);
	if (v->sock >= 0)
		close(v->sock);
	v->sock = -1;
	return ret;
}

/* Send an order, with a descriptor if @fd >= 0. */
AGENT_FN void order_send(struct victim *v, struct agent_order *o, int fd)
{
	struct iovec iov = { o, sizeof(*o) };
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} c = { .hdr = { .cmsg_len = CMSG_LEN(sizeof(int)),
			 .cmsg_level = SOL_SOCKET,
			 .cmsg_type = SCM_RIGHTS } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	o->seq = ++v->seq;
	if (fd >= 0) {
		memcpy(CMSG_DATA(&c.hdr), &fd, sizeof(fd));
		msg.msg_control = &c;
		msg.msg_controllen = sizeof(c);
	}
	if (sendmsg(v->sock, &msg, MSG_NOSIGNAL) != sizeof(*o))
		bail("the agent cannot be told: %s", strerror(errno));
}

/* Take an answer; @fd: what came along, or NULL. */
AGENT_FN struct agent_answer answer_take(struct victim *v, int *fd)
{
	struct agent_answer r = { .error = -EPIPE };
	struct iovec iov = { &r, sizeof(r) };
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} c;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c,
			      .msg_controllen = sizeof(c) };
	ssize_t n = recvmsg(v->sock, &msg, MSG_CMSG_CLOEXEC);

	if (n != sizeof(r))
		note("the agent does not answer: %s", n < 0 ? strerror(errno) : "end of channel");
	if (fd) {
		struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

		*fd = -1;
		if (h && h->cmsg_type == SCM_RIGHTS)
			memcpy(fd, CMSG_DATA(h), sizeof(*fd));
	}
	return r;
}

AGENT_FN struct agent_answer order(struct victim *v, struct agent_order o, int fd)
{
	order_send(v, &o, fd);
	return answer_take(v, NULL);
}

/* Have the agent make a uffd, and register the range so that MOVE may go there. */
AGENT_FN int agent_register(struct victim *v, uint64_t dst, uint64_t len)
{
	struct agent_answer r = order(v, (struct agent_order){ .op = AGENT_OPEN_UFFD, .flags = O_CLOEXEC,
							       .nranges = 1 }, -1);

	if (r.error)
		return r.error;
	r = order(v, (struct agent_order){ .op = AGENT_REGISTER, .flags = 1, .nranges = 1,
					   .range = { { dst, 0, len } } }, -1);
	return r.error;
}

/* ---- what can be seen of a process ---- */

struct trace {
	char *maps;	/* without what belongs to the kernel's own moods */
	char *fds;
	char *children;
	char *status;	/* signals, threads, limits */
};

AGENT_FN char *file_text(const char *path)
{
	size_t have = 0, room = 65536;
	char *buf = malloc(room);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (fd >= 0 && (n = read(fd, buf + have, room - have - 1)) > 0) {
		have += n;
		if (room - have < 4096)
			buf = realloc(buf, room *= 2);
	}
	if (fd >= 0)
		close(fd);
	buf[have] = '\0';
	return buf;
}

/* Lines of a file that begin with one of the keys; all without keys. */
AGENT_FN char *file_lines(const char *path, const char *const *keys)
{
	char *text = file_text(path), *out = calloc(1, strlen(text) + 1);

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		bool take = !keys;

		for (const char *const *k = keys; k && *k; k++)
			take |= !strncmp(line, *k, strlen(*k));
		if (take)
			strcat(strcat(out, line), "\n");
	}
	free(text);
	return out;
}

AGENT_FN int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

AGENT_FN char *dir_links(const char *dir)
{
	struct dirent **e;
	int n = scandir(dir, &e, NULL, by_name);
	char *out = calloc(1, 1 + (n > 0 ? n : 0) * 300);

	for (int i = 0; i < n; i++) {
		char path[600], link[200];
		ssize_t len;

		snprintf(path, sizeof(path), "%s/%.200s", dir, e[i]->d_name);
		len = readlink(path, link, sizeof(link) - 1);
		if (len > 0) {
			link[len] = '\0';
			sprintf(out + strlen(out), "%.40s %s\n", e[i]->d_name, link);
		}
		free(e[i]);
	}
	if (n >= 0)
		free(e);
	return out;
}

AGENT_FN struct trace trace_take(pid_t pid)
{
	static const char *const keys[] = { "Threads:", "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:",
					    "SigCgt:", "TracerPid:", "Seccomp:", "VmLck:", "VmSize:",
					    NULL };
	struct trace t;
	char path[64], *status, *limits;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	t.maps = file_text(path);
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	t.fds = dir_links(path);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	t.children = file_text(path);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = file_lines(path, keys);
	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	limits = file_text(path);
	t.status = malloc(strlen(status) + strlen(limits) + 1);
	strcat(strcpy(t.status, status), limits);
	free(status);
	free(limits);
	return t;
}

AGENT_FN void trace_drop(struct trace *t)
{
	free(t->maps);
	free(t->fds);
	free(t->children);
	free(t->status);
}

AGENT_FN bool text_same(const char *a, const char *b, const char *what)
{
	if (!strcmp(a, b))
		return true;
	/* Show the first lines that differ. */
	while (*a && *a == *b)
		a++, b++;
	note("%s differ: was \"%.*s\", is \"%.*s\"", what, (int)strcspn(a, "\n"), a,
	     (int)strcspn(b, "\n"), b);
	return false;
}

/* Is it all as it was? Drops @before. */
AGENT_FN bool trace_same(struct trace *before, pid_t pid, const char *name)
{
	struct trace now = trace_take(pid);
	bool same = text_same(before->maps, now.maps, "maps");

	same &= text_same(before->fds, now.fds, "descriptors");
	same &= text_same(before->children, now.children, "children");
	same &= text_same(before->status, now.status, "status");
	trace_drop(&now);
	trace_drop(before);
	return ok(same, "%s", name);
}

#endif
