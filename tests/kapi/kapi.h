/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kapi: a target that is another process, for programs that each show one behaviour of the kernel.
 *
 * target_start() maps pages (at the same address in both processes), forks, registers them in the
 * child for missing faults and keeps the only userfaultfd in the test.  The child waits for
 * target_go(), then runs a body, which says what it saw with say(); the test hears it with
 * hear().  A target that blocks in the kernel says nothing: the test's alarm ends both, so
 * nothing here sleeps.
 *
 * System calls are made raw: what is tested is the kernel, not our own wrappers of it.
 */
#ifndef TESTS_KAPI_H
#define TESTS_KAPI_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/tap.h"

#define KAPI_FN static inline __attribute__((unused))
#define KAPI_TIMEOUT_S 20

static uint64_t page;	/* bytes */

struct target {
	pid_t pid;
	int uffd;
	int ch;			/* to say() and hear() */
	uint8_t *mem;
	uint64_t npages;
};

typedef void (*target_body)(int ch, uint8_t *mem);

KAPI_FN void say(int ch, uint64_t value)
{
	if (send(ch, &value, sizeof(value), MSG_NOSIGNAL) != sizeof(value))
		_exit(9);
}

/* Return: what the other side said; ends the program when there is no other side any more. */
KAPI_FN uint64_t hear(int ch)
{
	uint64_t value;

	if (recv(ch, &value, sizeof(value), 0) != sizeof(value)) {
		note("pid %d: the other side is gone", getpid());
		_exit(9);
	}
	return value;
}

/* The first eight bytes of page @i, read for real. */
KAPI_FN uint64_t peek(const uint8_t *mem, uint64_t i)
{
	return *(const volatile uint64_t *)(mem + i * page);
}

KAPI_FN void poke(uint8_t *mem, uint64_t i, uint64_t value)
{
	*(volatile uint64_t *)(mem + i * page) = value;
}

KAPI_FN uint64_t addr_of(const struct target *t, uint64_t i)
{
	return (uint64_t)(uintptr_t)t->mem + i * page;
}

/* @n pages of our own, missing. */
KAPI_FN uint8_t *pages_map(uint64_t n)
{
	uint8_t *p = mmap(NULL, n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	if (p == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	return p;
}

/* @n pages that begin with @value, @value + 1, and so on. */
KAPI_FN uint8_t *pattern(uint64_t n, uint64_t value)
{
	uint8_t *p = pages_map(n);

	for (uint64_t i = 0; i < n; i++)
		poke(p, i, value + i);
	return p;
}

/* The three below return 0 or -errno; *@done is the ioctl's own field. */
KAPI_FN int copy(int uffd, uint64_t dst, const void *src, uint64_t len, int64_t *done)
{
	struct uffdio_copy arg = { .dst = dst, .src = (uintptr_t)src, .len = len };
	int ret = ioctl(uffd, UFFDIO_COPY, &arg) ? -errno : 0;

	if (done)
		*done = arg.copy;
	return ret;
}

KAPI_FN int zeropage(int uffd, uint64_t start, uint64_t len, int64_t *done)
{
	struct uffdio_zeropage arg = { .range = { start, len } };
	int ret = ioctl(uffd, UFFDIO_ZEROPAGE, &arg) ? -errno : 0;

	if (done)
		*done = arg.zeropage;
	return ret;
}

KAPI_FN int wake(int uffd, uint64_t start, uint64_t len)
{
	struct uffdio_range arg = { start, len };

	return ioctl(uffd, UFFDIO_WAKE, &arg) ? -errno : 0;
}

/*
 * As copy(), again and again while the kernel says EAGAIN: an event that was read is pending until
 * the target that raised it has run.
 */
KAPI_FN int copy_settled(int uffd, uint64_t dst, const void *src, uint64_t len)
{
	int ret;

	do {
		ret = copy(uffd, dst, src, len, NULL);
	} while (ret == -EAGAIN);
	return ret;
}

KAPI_FN int zeropage_settled(int uffd, uint64_t start, uint64_t len)
{
	int ret;

	do {
		ret = zeropage(uffd, start, len, NULL);
	} while (ret == -EAGAIN);
	return ret;
}

/* Wait until a message can be read. */
KAPI_FN void await_readable(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };

	while (poll(&p, 1, -1) != 1 || !(p.revents & POLLIN))
		if (p.revents & (POLLERR | POLLNVAL))
			bail("the uffd reports an error");
}

/* Is a message waiting now? */
KAPI_FN bool readable(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

/* Wait for a message and take it. */
KAPI_FN struct uffd_msg take_msg(int uffd)
{
	struct uffd_msg msg;
	ssize_t n;

	do {
		await_readable(uffd);
		n = read(uffd, &msg, sizeof(msg));
	} while (n < 0 && errno == EAGAIN);
	if (n != sizeof(msg))
		bail("read of a uffd gave %zd", n);
	return msg;
}

/* Take a message, which must be a fault on page @i. */
KAPI_FN bool take_fault(const struct target *t, int uffd, uint64_t i, const char *name)
{
	struct uffd_msg msg = take_msg(uffd);

	return ok(msg.event == UFFD_EVENT_PAGEFAULT &&
		  (msg.arg.pagefault.address & ~(page - 1)) == addr_of(t, i), "%s", name);
}

KAPI_FN int send_fd(int ch, int fd)
{
	char byte = 0, ctl[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl,
			      .msg_controllen = sizeof(ctl) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(ch, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

KAPI_FN int recv_fd(int ch)
{
	char byte, ctl[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl,
			      .msg_controllen = sizeof(ctl) };
	struct cmsghdr *c;
	int fd;

	if (recvmsg(ch, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* A new userfaultfd with @features, or the program ends, as skipped where the kernel has none. */
KAPI_FN int uffd_new(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		skip_all("userfaultfd(2): %s", strerror(errno));
	if (ioctl(fd, UFFDIO_API, &api))
		skip_all("this kernel lacks a feature of %#" PRIx64, features);
	return fd;
}

KAPI_FN void uffd_register(int fd, void *mem, uint64_t len)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)mem, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(fd, UFFDIO_REGISTER, &reg))
		bail("UFFDIO_REGISTER: %s", strerror(errno));
}

KAPI_FN __attribute__((noreturn)) void target_main(struct target *t, uint64_t features,
						   pid_t parent, target_body body)
{
	int uffd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(9);
	uffd = uffd_new(features);
	uffd_register(uffd, t->mem, t->npages * page);
	if (send_fd(t->ch, uffd))
		_exit(9);
	close(uffd);
	hear(t->ch);
	body(t->ch, t->mem);
	_exit(0);
}

/* Start a target with @npages missing pages, see above. */
KAPI_FN struct target target_start(uint64_t features, uint64_t npages, target_body body)
{
	struct target t = { .npages = npages };
	pid_t self = getpid();
	int ch[2];

	page = sysconf(_SC_PAGESIZE);
	tap_timeout(KAPI_TIMEOUT_S);
	/* Here, and not in the child, so that a kernel without it ends the test as skipped. */
	close(uffd_new(features));
	t.mem = pages_map(npages);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ch))
		bail("no target: %s", strerror(errno));
	t.pid = fork();
	if (t.pid < 0)
		bail("fork: %s", strerror(errno));
	if (!t.pid) {
		close(ch[0]);
		t.ch = ch[1];
		target_main(&t, features, self, body);
	}
	close(ch[1]);
	t.ch = ch[0];
	t.uffd = recv_fd(t.ch);
	if (t.uffd < 0)
		bail("no uffd from the target");
	return t;
}

KAPI_FN void target_go(const struct target *t)
{
	say(t->ch, 0);
}

/* Kill what is left of the target, and wait for it. */
KAPI_FN void target_end(struct target *t)
{
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
	if (t->uffd >= 0)
		close(t->uffd);
	close(t->ch);
	munmap(t->mem, t->npages * page);
}

/* The usual end of a test with one target. */
KAPI_FN int target_done(struct target *t)
{
	target_end(t);
	return tap_done();
}

#endif
