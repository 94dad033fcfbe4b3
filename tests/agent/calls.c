// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thread that waits in a system call while an agent is placed and taken out goes on waiting, and
 * gets what it waited for: never an EINTR that was not its own, of the calls that the kernel
 * restarts by itself and of those that it never does.  And a signal that comes meanwhile interrupts
 * what it would have interrupted.
 */
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>

#include "tests/agent/agent.h"

/* Where an abstract socket of the victim's is. */
struct address {
	unsigned short family;
	char path[30];
};

/* What test and victim both hold, made before the fork. */
static int chan[2];		/* bytes for the victim */
static int sem_id, msg_id;
static int lock_fd;
static char lock_path[] = "/tmp/agent-calls.XXXXXX";
static uint32_t *word;		/* shared, for futexes */

static volatile sig_atomic_t handled;

static void on_usr1(int sig)
{
	(void)sig;
	handled++;
}

/* ---- the calls: each returns what it got ---- */

static long in_read(void)
{
	char c;

	return syscall(SYS_read, chan[0], &c, 1);
}

static long in_recv_timeout(void)
{
	struct timeval tv = { 100, 0 };
	char c;

	setsockopt(chan[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return syscall(SYS_recvfrom, chan[0], &c, 1, 0, NULL, NULL);
}

static long in_read_timeout(void)
{
	struct timeval tv = { 100, 0 };

	setsockopt(chan[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return in_read();
}

static long in_poll(void)
{
	struct pollfd p = { .fd = chan[0], .events = POLLIN };

	return syscall(SYS_poll, &p, 1, 100000);
}

static long in_ppoll(void)
{
	struct pollfd p = { .fd = chan[0], .events = POLLIN };
	struct timespec ts = { 100, 0 };
	uint64_t mask = 1ull << (SIGUSR2 - 1);

	return syscall(SYS_ppoll, &p, 1, &ts, &mask, sizeof(mask));
}

static long in_select(void)
{
	struct timeval tv = { 100, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(chan[0], &set);
	return syscall(SYS_select, chan[0] + 1, &set, NULL, NULL, &tv);
}

static long in_pselect(void)
{
	uint64_t mask = 0;
	struct {
		void *mask;
		size_t len;
	} sig = { &mask, sizeof(mask) };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(chan[0], &set);
	return syscall(SYS_pselect6, chan[0] + 1, &set, NULL, NULL, NULL, &sig);
}

static int epoll_on(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	int fd = epoll_create1(0);

	epoll_ctl(fd, EPOLL_CTL_ADD, chan[0], &e);
	return fd;
}

static long in_epoll_wait(void)
{
	struct epoll_event e;

	return syscall(SYS_epoll_wait, epoll_on(), &e, 1, -1);
}

static long in_epoll_pwait(void)
{
	struct epoll_event e;
	uint64_t mask = 1ull << (SIGUSR2 - 1);

	return syscall(SYS_epoll_pwait, epoll_on(), &e, 1, 100000, &mask, sizeof(mask));
}

static long in_epoll_pwait2(void)
{
	struct epoll_event e;
	struct timespec ts = { 100, 0 };

	return syscall(SYS_epoll_pwait2, epoll_on(), &e, 1, &ts, NULL, 8);
}

static long in_futex(void)
{
	return syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static long in_futex_timeout(void)
{
	struct timespec ts = { 100, 0 };

	return syscall(SYS_futex, word, FUTEX_WAIT, 0, &ts, NULL, 0);
}

static long in_semop(void)
{
	struct sembuf op = { 0, -1, 0 };

	return syscall(SYS_semop, sem_id, &op, 1);
}

static long in_semtimedop(void)
{
	struct sembuf op = { 0, -1, 0 };
	struct timespec ts = { 100, 0 };

	return syscall(SYS_semtimedop, sem_id, &op, 1, &ts);
}

static long in_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} m;

	return syscall(SYS_msgrcv, msg_id, &m, 8, 0, 0);
}

static long in_sigtimedwait(void)
{
	uint64_t mask = 1ull << (SIGUSR2 - 1);
	struct timespec ts = { 100, 0 };

	return syscall(SYS_rt_sigtimedwait, &mask, NULL, &ts, sizeof(mask));
}

static long in_sigwaitinfo(void)
{
	uint64_t mask = 1ull << (SIGUSR2 - 1);

	return syscall(SYS_rt_sigtimedwait, &mask, NULL, NULL, sizeof(mask));
}

static long in_flock(void)
{
	return syscall(SYS_flock, open(lock_path, O_RDWR), LOCK_EX);
}

static long in_setlkw(void)
{
	struct flock l = { .l_type = F_WRLCK };

	return syscall(SYS_fcntl, lock_fd, F_SETLKW, &l);
}

static long in_accept(void)
{
	struct address a = { AF_UNIX, "" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct timeval tv = { 100, 0 };

	snprintf(a.path + 1, sizeof(a.path) - 1, "agent-accept-%d", getpid());
	bind(fd, (struct sockaddr *)&a, sizeof(a));
	listen(fd, 1);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return syscall(SYS_accept, fd, NULL, NULL) < 0 ? -1 : 1;
}

static long in_io_getevents(void)
{
	aio_context_t ctx = 0;
	struct iocb cb = { .aio_fildes = (uint32_t)chan[0], .aio_lio_opcode = IOCB_CMD_POLL,
			   .aio_buf = POLLIN };
	struct iocb *list = &cb;
	struct io_event e;

	if (syscall(SYS_io_setup, 1, &ctx) || syscall(SYS_io_submit, ctx, 1, &list) != 1)
		return -1000;
	return syscall(SYS_io_getevents, ctx, 1, 1, &e, NULL);
}

static long in_io_uring_enter(void)
{
	struct io_uring_params p = { .flags = 0 };
	int fd = syscall(SYS_io_uring_setup, 4, &p);
	struct io_uring_sqe *sqe;
	uint32_t *sq;

	if (fd < 0)
		return -1000;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  IORING_OFF_SQ_RING);
	sqe = mmap(NULL, p.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   IORING_OFF_SQES);
	if (sq == MAP_FAILED || sqe == MAP_FAILED)
		return -1000;
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_POLL_ADD, .fd = chan[0], .poll32_events = POLLIN };
	sq[p.sq_off.array / 4] = 0;
	__atomic_store_n(&sq[p.sq_off.tail / 4], 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, fd, 1, 0, 0, NULL, 0) != 1)
		return -1000;
	return syscall(SYS_io_uring_enter, fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
}

static long in_inotify(void)
{
	char buf[4096];
	int fd = inotify_init1(0);

	inotify_add_watch(fd, lock_path, IN_MODIFY);
	return syscall(SYS_read, fd, buf, sizeof(buf)) < 0 ? -1 : 1;
}

static long in_wait4(void)
{
	pid_t pid = fork();

	if (!pid) {
		char c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(syscall(SYS_read, chan[0], &c, 1) != 1);
	}
	return syscall(SYS_wait4, -1, NULL, 0, NULL) == pid;
}

static long in_nanosleep(void)
{
	struct timespec ts = { 1, 500000000 }, rem;

	return syscall(SYS_nanosleep, &ts, &rem);
}

static long in_clock_nanosleep(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += 1;
	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static long in_pause(void)
{
	return syscall(SYS_pause);
}

static long in_sigsuspend(void)
{
	uint64_t mask = 0;

	return syscall(SYS_rt_sigsuspend, &mask, sizeof(mask));
}

/* ---- what ends them ---- */

static void by_byte(struct victim *v)
{
	(void)v;
	if (write(chan[1], "x", 1) != 1)
		bail("write: %s", strerror(errno));
}

static void by_wake(struct victim *v)
{
	(void)v;
	*word = 1;
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void by_sem(struct victim *v)
{
	struct sembuf op = { 0, 1, 0 };

	(void)v;
	semop(sem_id, &op, 1);
}

static void by_msg(struct victim *v)
{
	struct {
		long type;
		char text[8];
	} m = { 1, "message" };

	(void)v;
	msgsnd(msg_id, &m, 8, 0);
}

static void by_usr2(struct victim *v)
{
	kill(v->pid, SIGUSR2);
}

static void by_usr1(struct victim *v)
{
	kill(v->pid, SIGUSR1);
}

static void by_unlock(struct victim *v)
{
	struct flock l = { .l_type = F_UNLCK };

	(void)v;
	flock(lock_fd, LOCK_UN);
	fcntl(lock_fd, F_SETLK, &l);
}

static void by_connect(struct victim *v)
{
	struct address a = { AF_UNIX, "" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.path + 1, sizeof(a.path) - 1, "agent-accept-%d", v->pid);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		bail("connect: %s", strerror(errno));
	close(fd);
}

static void by_file(struct victim *v)
{
	(void)v;
	if (pwrite(lock_fd, "x", 1, 0) != 1)
		bail("pwrite");
}

static void by_itself(struct victim *v)
{
	(void)v;
}

static const struct call {
	const char *name;
	long nr;
	long (*in)(void);
	void (*end)(struct victim *v);
	long want;
	int want_errno;
} calls[] = {
	{ "read of a socket", SYS_read, in_read, by_byte, 1, 0 },
	{ "recvfrom with SO_RCVTIMEO", SYS_recvfrom, in_recv_timeout, by_byte, 1, 0 },
	{ "read with SO_RCVTIMEO", SYS_read, in_read_timeout, by_byte, 1, 0 },
	{ "poll", SYS_poll, in_poll, by_byte, 1, 0 },
	{ "ppoll with a mask", SYS_ppoll, in_ppoll, by_byte, 1, 0 },
	{ "select", SYS_select, in_select, by_byte, 1, 0 },
	{ "pselect with a mask", SYS_pselect6, in_pselect, by_byte, 1, 0 },
	{ "epoll_wait", SYS_epoll_wait, in_epoll_wait, by_byte, 1, 0 },
	{ "epoll_pwait with a mask", SYS_epoll_pwait, in_epoll_pwait, by_byte, 1, 0 },
	{ "epoll_pwait2", SYS_epoll_pwait2, in_epoll_pwait2, by_byte, 1, 0 },
	{ "futex", SYS_futex, in_futex, by_wake, 0, 0 },
	{ "futex with a time-out", SYS_futex, in_futex_timeout, by_wake, 0, 0 },
	{ "semop", SYS_semop, in_semop, by_sem, 0, 0 },
	{ "semtimedop", SYS_semtimedop, in_semtimedop, by_sem, 0, 0 },
	{ "msgrcv", SYS_msgrcv, in_msgrcv, by_msg, 8, 0 },
	{ "sigtimedwait", SYS_rt_sigtimedwait, in_sigtimedwait, by_usr2, SIGUSR2, 0 },
	{ "sigwaitinfo", SYS_rt_sigtimedwait, in_sigwaitinfo, by_usr2, SIGUSR2, 0 },
	{ "flock", SYS_flock, in_flock, by_unlock, 0, 0 },
	{ "F_SETLKW", SYS_fcntl, in_setlkw, by_unlock, 0, 0 },
	{ "accept with SO_RCVTIMEO", SYS_accept, in_accept, by_connect, 1, 0 },
	{ "io_getevents", SYS_io_getevents, in_io_getevents, by_byte, 1, 0 },
	{ "io_uring_enter", SYS_io_uring_enter, in_io_uring_enter, by_byte, 0, 0 },
	{ "read of inotify", SYS_read, in_inotify, by_file, 1, 0 },
	{ "wait4", SYS_wait4, in_wait4, by_byte, 1, 0 },
	{ "nanosleep", SYS_nanosleep, in_nanosleep, by_itself, 0, 0 },
	{ "clock_nanosleep", SYS_clock_nanosleep, in_clock_nanosleep, by_itself, 0, 0 },
	{ "pause", SYS_pause, in_pause, by_usr1, -1, EINTR },
	{ "sigsuspend", SYS_rt_sigsuspend, in_sigsuspend, by_usr1, -1, EINTR },
};

/* ---- */

static void wait_in(struct shared *sh, void *arg)
{
	const struct call *c = arg;
	struct sigaction act = { .sa_handler = on_usr1 };
	sigset_t block;

	sigaction(SIGUSR1, &act, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR2);
	if (c->in == in_sigsuspend)
		sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	sh->ready = 1;
	errno = 0;
	sh->word[0] = (uint64_t)c->in();
	sh->word[1] = (uint64_t)errno;
	sh->word[2] = (uint64_t)handled;
	sh->count = 1;
	while (!sh->stop)
		usleep(1000);
}

static bool is_in(pid_t pid, long nr)
{
	char path[32], *text;
	bool in;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	text = file_text(path);
	in = text[0] != 'r' && strtol(text, NULL, 10) == nr;
	free(text);
	return in;
}

static void prepare(void)
{
	char byte;
	struct flock l = { .l_type = F_WRLCK };

	/* Nothing of the one before. */
	while (recv(chan[0], &byte, 1, MSG_DONTWAIT) == 1)
		;
	*word = 0;
	flock(lock_fd, LOCK_EX);
	fcntl(lock_fd, F_SETLK, &l);
}

static struct victim start(const struct call *c)
{
	struct victim v;

	prepare();
	v = victim_start(wait_in, (void *)c);
	await(is_in(v.pid, c->nr) || v.sh->count);
	return v;
}

static void undisturbed(const struct call *c)
{
	struct victim v = start(c);

	if (v.sh->word[0] == (uint64_t)-1000) {
		skip(c->name, "the kernel does not have it");
		victim_kill(&v);
		return;
	}
	if (place(&v, NULL) || cure(&v, NULL)) {
		ok(false, "%s: placed and taken out", c->name);
		victim_kill(&v);
		return;
	}
	ok(c->end == by_itself || !v.sh->count, "%s: it still waits", c->name);
	c->end(&v);
	await(v.sh->count);
	if (!ok(v.sh->word[0] == (uint64_t)c->want && v.sh->word[1] == (uint64_t)c->want_errno,
		"%s: and gets what it waited for", c->name))
		note("got %ld, %s", (long)v.sh->word[0], strerror((int)v.sh->word[1]));
	victim_stop(&v);
}

/* ---- a signal in the middle ---- */

static pid_t signal_to;
static unsigned int signal_at;

static void send_at(unsigned int n)
{
	if (n == signal_at)
		kill(signal_to, SIGUSR1);
}

/* It comes while the thread is borrowed, and interrupts the call as it would have. */
static void interrupted(const struct call *c, unsigned int step)
{
	struct victim v = start(c);
	struct inject_opts opts = opts_default();

	signal_to = v.pid;
	signal_at = step;
	opts.step = send_at;
	if (place(&v, &opts))
		ok(false, "%s: placed", c->name);
	await(v.sh->count);
	if (!ok((long)v.sh->word[0] == -1 && v.sh->word[1] == EINTR && v.sh->word[2] == 1,
		"%s: a signal at step %u interrupts it, once", c->name, step))
		note("got %ld, %s, handled %d times", (long)v.sh->word[0],
		     strerror((int)v.sh->word[1]), (int)v.sh->word[2]);
	if (cure(&v, NULL))
		ok(false, "%s: taken out", c->name);
	victim_stop(&v);
}

int main(void)
{
	tap_timeout(55);
	sem_id = semget(IPC_PRIVATE, 1, 0600);
	msg_id = msgget(IPC_PRIVATE, 0600);
	lock_fd = mkostemp(lock_path, O_CLOEXEC);
	word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, chan) || sem_id < 0 || msg_id < 0 || lock_fd < 0 ||
	    word == MAP_FAILED)
		bail("set-up: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		undisturbed(&calls[i]);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		/* What a fork holds cannot be interrupted by a byte, the rest can. */
		if (calls[i].in == in_wait4 || calls[i].in == in_io_uring_enter)
			continue;
		/* Stopped, set up, and before it is made itself again. */
		interrupted(&calls[i], 2);
		interrupted(&calls[i], 7);
		interrupted(&calls[i], 9);
	}
	unlink(lock_path);
	semctl(sem_id, 0, IPC_RMID);
	msgctl(msg_id, IPC_RMID, NULL);
	return tap_done();
}
