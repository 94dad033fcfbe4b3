// SPDX-License-Identifier: GPL-2.0-only
/*
 * restorer - stands in for `criu restore --lazy-pages`, for tests that need no criu.
 *
 *	restorer [-n] SPEC SOCKET
 *
 * SPEC says what the image set holds, see imgspec.h.  Commands come on stdin, one a line; each is
 * answered by one line on stdout.  The tasks get the pids of the image in a pid namespace of
 * their own (-n: in ours) and die with this program.
 *
 *	connect			to SOCKET
 *	make VPID		a task: VMAs where the image has them, registered with a uffd
 *	hand VPID		its pid and its uffd go over the socket
 *	task VPID		both
 *	zombie VPID		as criu announces one
 *	all | reverse		every task of SPEC, in order or backwards
 *	magic			all tasks are in place
 *	raw BYTE...		these bytes (hexadecimal)
 *	nofd VPID		a pid, and then no descriptor
 *	badfd VPID		a pid, and then a descriptor that is no uffd
 *	close			the connection
 *	post VPID ACT		let the task begin with something:
 *		verify			compare all its pages with what they have to be
 *		touch ADDR		read one word
 *		drop ADDR PAGES		MADV_DONTNEED; verify wants zeros there from then on
 *		fork			a child that waits
 *		child			let it verify all pages
 *	take VPID		and wait for the outcome
 *	do VPID ACT		both
 *	present VPID		how many pages of its VMAs there are; touches none
 *	pid VPID		the pid as seen from here
 *	wait VPID		for the task's end
 *
 * An outcome is "right", "zero" (a page that should hold bytes is zeros), "wrong", "killed SIGNAL",
 * or "late" after 10 s.
 */
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>

#include "tests/tools/imgspec.h"

#define LATE_MS 10000
#define MAGIC 0x52535446

enum act { ACT_VERIFY, ACT_TOUCH, ACT_DROP, ACT_FORK, ACT_CHILD };

struct order {
	enum act act;
	uint64_t addr, npages;
};

struct outcome {
	uint64_t pages, zero, wrong;
	uint64_t first_bad;
};

struct task {
	pid_t pid;
	int chan;
	int uffd;
	bool reaped;
	int status;
};

static struct spec spec;
static struct task tasks[SPEC_TASKS];
static int conn = -1;
static const char *sock_path;

/* What a task has given up itself. */
static struct {
	uint64_t start, end;
} dropped[16];
static unsigned int ndropped;

static void say(const char *fmt, ...) TAP_PRINTF(1);
static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static void say_done(int ret)
{
	say(ret ? "error %s" : "ok", strerror(errno));
}

/* ---- in a task ---- */

static bool task_dropped(uint64_t addr)
{
	for (unsigned int i = 0; i < ndropped; i++)
		if (addr >= dropped[i].start && addr < dropped[i].end)
			return true;
	return false;
}

static void task_check(unsigned int idx, uint64_t addr, unsigned int words, struct outcome *out)
{
	const volatile uint64_t *mem = (const uint64_t *)addr;
	uint64_t offset = 0;
	uint32_t id = 0;
	bool owed = !task_dropped(addr) && spec_page(&spec, idx, addr, &id, &offset);
	bool bad = false, zero = true;

	for (unsigned int w = 0; w < words; w++) {
		uint64_t got = mem[w], want = owed ? spec_word(id, offset + 8 * w) : 0;

		bad |= got != want;
		zero &= !got;
	}
	out->pages++;
	if (!bad)
		return;
	if (!(out->zero + out->wrong))
		out->first_bad = addr;
	if (zero)
		out->zero++;
	else
		out->wrong++;
}

static void task_verify(unsigned int idx, struct outcome *out)
{
	for (unsigned int i = 0; i < spec.task[idx].nvmas; i++) {
		const struct iw_vma *v = &spec.task[idx].vma[i];

		for (uint64_t a = v->start; a < v->end; a += SPEC_PAGE)
			task_check(idx, a, SPEC_PAGE / 8, out);
	}
}

/* The two ends of what the child waits for, and of what it answers. */
static int child_go[2], child_says[2];

static void task_fork(unsigned int idx, struct outcome *out)
{
	char go;

	if (pipe2(child_go, O_CLOEXEC) || pipe2(child_says, O_CLOEXEC))
		_exit(99);
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(child_go[1]);
		if (read(child_go[0], &go, 1) == 1)
			task_verify(idx, out);
		_exit(write(child_says[1], out, sizeof(*out)) != sizeof(*out));
	}
	close(child_says[1]);
	if (pid < 0)
		out->wrong++;
}

static void task_child(struct outcome *out)
{
	if (write(child_go[1], "", 1) != 1 ||
	    read(child_says[0], out, sizeof(*out)) != sizeof(*out))
		out->wrong++;
}

static void task_drop(const struct order *o)
{
	dropped[ndropped].start = o->addr;
	dropped[ndropped++].end = o->addr + o->npages * SPEC_PAGE;
	madvise((void *)o->addr, o->npages * SPEC_PAGE, MADV_DONTNEED);
}

static __attribute__((noreturn)) void task_main(unsigned int idx, int chan)
{
	struct order o;

	while (read(chan, &o, sizeof(o)) == sizeof(o)) {
		struct outcome out = { 0 };

		switch (o.act) {
		case ACT_VERIFY:
			task_verify(idx, &out);
			break;
		case ACT_TOUCH:
			task_check(idx, o.addr & -SPEC_PAGE, 1, &out);
			break;
		case ACT_DROP:
			task_drop(&o);
			break;
		case ACT_FORK:
			task_fork(idx, &out);
			break;
		case ACT_CHILD:
			task_child(&out);
			break;
		}
		if (write(chan, &out, sizeof(out)) != sizeof(out))
			break;
	}
	_exit(0);
}

static int task_uffd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
			    UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return -1;
	return fd;
}

static int send_fd(int sock, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	char dummy = 0;
	struct iovec iov = { &dummy, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		msg.msg_control = u.buf;
		msg.msg_controllen = sizeof(u.buf);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int recv_fd(int sock)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u;
	char dummy;
	int fd = -1;
	struct iovec iov = { &dummy, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.buf,
			      .msg_controllen = sizeof(u.buf) };

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static __attribute__((noreturn)) void task_start(unsigned int idx, int chan)
{
	const struct spec_task *t = &spec.task[idx];
	int uffd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	chan = dup2(chan, 100);
	close_range(3, 99, 0);
	close_range(101, ~0u, 0);
	uffd = task_uffd();
	if (uffd < 0)
		die("userfaultfd: %s", strerror(errno));
	for (unsigned int i = 0; i < t->nvmas; i++) {
		const struct iw_vma *v = &t->vma[i];
		struct uffdio_register reg = { .range = { v->start, v->end - v->start },
					       .mode = UFFDIO_REGISTER_MODE_MISSING };

		if (mmap((void *)v->start, v->end - v->start, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
			 0) != (void *)v->start)
			die("%#lx: %s", (unsigned long)v->start, strerror(errno));
		/* Two that touch stay two, as they would with different protections. */
		if (i % 2)
			madvise((void *)v->start, v->end - v->start, MADV_DONTDUMP);
		if (v->flags == IW_FLAGS_PRIVATE_ANON && ioctl(uffd, UFFDIO_REGISTER, &reg))
			die("%#lx: register: %s", (unsigned long)v->start, strerror(errno));
	}
	if (send_fd(chan, uffd))
		die("no uffd sent");
	close(uffd);
	task_main(idx, chan);
}

/* ---- in the restorer ---- */

static pid_t clone_as(pid_t vpid)
{
	struct clone_args args = { .exit_signal = SIGCHLD,
				   .set_tid = (uintptr_t)&vpid,
				   .set_tid_size = 1 };

	return syscall(SYS_clone3, &args, sizeof(args));
}

/* The first process of a namespace; the others need it. */
static pid_t make_namespace(void)
{
	if (unshare(CLONE_NEWPID))
		die("a pid namespace: %s", strerror(errno));
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_range(0, ~0u, 0);
	for (;;)
		pause();
}

static int make(unsigned int idx)
{
	struct task *t = &tasks[idx];
	int pair[2];

	if (t->pid)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	t->pid = clone_as(spec.task[idx].vpid);
	if (!t->pid)
		task_start(idx, pair[1]);
	close(pair[1]);
	if (t->pid < 0)
		return -1;
	t->chan = pair[0];
	t->uffd = recv_fd(t->chan);
	return t->uffd < 0 ? -1 : 0;
}

static int send_word(int32_t word)
{
	return send(conn, &word, sizeof(word), MSG_NOSIGNAL) == sizeof(word) ? 0 : -1;
}

/* criu keeps no uffd once it is sent. */
static int hand(unsigned int idx)
{
	struct task *t = &tasks[idx];
	int ret = send_word(spec.task[idx].vpid) || send_fd(conn, t->uffd);
	int saved = errno;

	close(t->uffd);
	t->uffd = -1;
	errno = saved;
	return ret;
}

static int send_task(unsigned int idx)
{
	if (spec.task[idx].zombie)
		return send_word(-(int32_t)spec.task[idx].vpid);
	return make(idx) || hand(idx);
}

static int send_all(bool reverse)
{
	for (unsigned int i = 0; i < spec.ntasks; i++)
		if (send_task(reverse ? spec.ntasks - 1 - i : i))
			return -1;
	return 0;
}

static int do_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", sock_path);
	conn = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(conn, (struct sockaddr *)&sa,
		       offsetof(struct sockaddr_un, sun_path) + strlen(sa.sun_path));
}

static int send_raw(const char *text)
{
	char buf[64];
	unsigned int byte;
	int n, len = 0;

	for (; len < 64 && sscanf(text, " %x%n", &byte, &n) == 1; text += n)
		buf[len++] = byte;
	return send(conn, buf, len, MSG_NOSIGNAL) == len ? 0 : -1;
}

static int send_badfd(unsigned int idx)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int ret = send_word(spec.task[idx].vpid) || send_fd(conn, fd);

	close(fd);
	return ret;
}

/* Return: has it ended, within @ms? */
static bool ended(struct task *t, int ms)
{
	for (int left = ms / 10; !t->reaped; left--) {
		t->reaped = waitpid(t->pid, &t->status, WNOHANG) == t->pid;
		if (!t->reaped && left <= 0)
			return false;
		if (!t->reaped)
			usleep(10000);
	}
	return true;
}

static void say_end(const struct task *t)
{
	if (WIFSIGNALED(t->status))
		say("killed %d", WTERMSIG(t->status));
	else
		say("exited %d", WEXITSTATUS(t->status));
}

static int post(struct task *t, const char *text)
{
	struct order o = { 0 };
	unsigned long long a = 0, n = 0;
	char what[16];

	if (sscanf(text, "%15s %lli %llu", what, (long long *)&a, &n) < 1)
		return -1;
	o.act = !strcmp(what, "verify")	    ? ACT_VERIFY
		: !strcmp(what, "touch")    ? ACT_TOUCH
		: !strcmp(what, "drop")	    ? ACT_DROP
		: !strcmp(what, "fork")	    ? ACT_FORK
					    : ACT_CHILD;
	o.addr = a;
	o.npages = n;
	return send(t->chan, &o, sizeof(o), MSG_NOSIGNAL) == sizeof(o) ? 0 : -1;
}

static void take(struct task *t)
{
	struct pollfd pfd = { .fd = t->chan, .events = POLLIN };
	struct outcome out;

	if (poll(&pfd, 1, LATE_MS) != 1) {
		say("late");
	} else if (read(t->chan, &out, sizeof(out)) != sizeof(out)) {
		if (ended(t, LATE_MS))
			say_end(t);
		else
			say("error no outcome");
	} else if (!(out.zero + out.wrong)) {
		say("right %lu", (unsigned long)out.pages);
	} else {
		say("%s %lu zero %lu wrong of %lu, first at %#lx", out.wrong ? "wrong" : "zero",
		    (unsigned long)out.zero, (unsigned long)out.wrong, (unsigned long)out.pages,
		    (unsigned long)out.first_bad);
	}
}

static void present(unsigned int idx)
{
	uint64_t entry[512], n = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", tasks[idx].pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	for (unsigned int i = 0; i < spec.task[idx].nvmas; i++) {
		const struct iw_vma *v = &spec.task[idx].vma[i];

		for (uint64_t a = v->start; a < v->end; a += 512 * SPEC_PAGE) {
			uint64_t want = (v->end - a) / SPEC_PAGE;

			want = want > 512 ? 512 : want;
			if (pread(fd, entry, want * 8, a / SPEC_PAGE * 8) != (ssize_t)want * 8) {
				say("error %s: %s", path, strerror(errno));
				close(fd);
				return;
			}
			for (uint64_t k = 0; k < want; k++)
				n += entry[k] >> 62 != 0;
		}
	}
	close(fd);
	say("%lu", (unsigned long)n);
}

static void command(char *line)
{
	unsigned int vpid = 0, idx = 0;
	char verb[16] = "";
	int rest = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%15s%n", verb, &rest) != 1) {
		say("error nothing asked");
		return;
	}
	if (!strcmp(verb, "connect"))
		return say_done(do_connect());
	if (!strcmp(verb, "all") || !strcmp(verb, "reverse"))
		return say_done(send_all(verb[0] == 'r'));
	if (!strcmp(verb, "magic"))
		return say_done(send_word(MAGIC));
	if (!strcmp(verb, "raw"))
		return say_done(send_raw(line + rest));
	if (!strcmp(verb, "close"))
		return say_done(close(conn));
	if (sscanf(line, "%*s %u%n", &vpid, &rest) != 1) {
		say("error what is: %s", line);
		return;
	}
	while (idx < spec.ntasks && spec.task[idx].vpid != vpid)
		idx++;
	if (idx == spec.ntasks) {
		say("error no task %u", vpid);
		return;
	}
	struct task *t = &tasks[idx];

	if (!strcmp(verb, "make"))
		say_done(make(idx));
	else if (!strcmp(verb, "hand"))
		say_done(hand(idx));
	else if (!strcmp(verb, "task") || !strcmp(verb, "zombie"))
		say_done(send_task(idx));
	else if (!strcmp(verb, "nofd"))
		say_done(send_word(vpid) || send_fd(conn, -1));
	else if (!strcmp(verb, "badfd"))
		say_done(send_badfd(idx));
	else if (!t->pid)
		say("error task %u is not made", vpid);
	else if (!strcmp(verb, "post"))
		say_done(post(t, line + rest));
	else if (!strcmp(verb, "take"))
		take(t);
	else if (!strcmp(verb, "do"))
		post(t, line + rest), take(t);
	else if (!strcmp(verb, "present"))
		present(idx);
	else if (!strcmp(verb, "pid"))
		say("%d", t->pid);
	else if (!strcmp(verb, "wait") && ended(t, LATE_MS))
		say_end(t);
	else if (!strcmp(verb, "wait"))
		say("alive");
	else
		say("error what is: %s", line);
}

int main(int argc, char **argv)
{
	bool ours = argc > 1 && !strcmp(argv[1], "-n");
	char line[256];

	if (argc != 3 + ours)
		die("usage: restorer [-n] SPEC SOCKET");
	spec_load(&spec, argv[1 + ours]);
	sock_path = argv[2 + ours];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pid_t first = ours ? 0 : make_namespace();

	while (fgets(line, sizeof(line), stdin))
		command(line);
	/* Nobody is to be left when we are gone. */
	for (unsigned int i = 0; i < spec.ntasks; i++)
		if (tasks[i].pid > 0 && !tasks[i].reaped)
			kill(tasks[i].pid, SIGKILL);
	if (first)
		kill(first, SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
