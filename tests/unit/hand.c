/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hand: what the hand holds, what it does when asked, and who dies with whom.
 * timeout: 120
 *
 * The targets are children of this program that count in a loop; each must go on to count after
 * whatever was done to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "abi/agent_abi.h"
#include "kapi/proc.h"
#include "pager/hand.h"
#include "pager/internal.h"
#include "tests/tap.h"
#include "util/fd.h"
#include "util/fdpass.h"
#include "util/log.h"

#define PATIENCE_MS 10000

static struct state *st;
/* Somewhere in the shared state, where the hand is to write it itself. */
static struct inject_record *rec;
static volatile uint64_t *count;

#define SLOT 7 /* of the session whose agents these are */

static void doze_ms(unsigned int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l }, NULL);
}

/* A child that counts; every page of its own memory is there. */
static pid_t victim_start(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		(*count)++;
		doze_ms(1);
	}
}

static bool victim_counts(void)
{
	uint64_t before = *count;

	for (int i = 0; i < PATIENCE_MS; i++) {
		if (*count > before + 2)
			return true;
		doze_ms(1);
	}
	return false;
}

static void victim_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Return: /proc/PID/maps, to be freed. */
static char *maps_of(pid_t pid)
{
	char path[64], *text = NULL;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fd_slurp(fd, 1 << 20, &text, NULL))
		bail("%s: %s", path, strerror(errno));
	return text;
}

/* The hand's descriptors, one letter each. */
static void fds_of(pid_t pid, char *out, size_t room)
{
	size_t n = 0;

	for (int i = 0; i < 1024 && n < room - 1; i++) {
		char path[64], link[128];

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, i);
		ssize_t len = readlink(path, link, sizeof(link) - 1);

		if (len < 0)
			continue;
		link[len] = '\0';
		out[n++] = strstr(link, "socket:") ? 's' : strstr(link, "userfaultfd") ? 'U' :
						   strstr(link, "[signalfd]")	       ? 'g' :
						   !strcmp(link, "/dev/null")	       ? 'n' :
											 'o';
	}
	out[n] = '\0';
}

static void test_holds(void)
{
	char fds[64];

	/* The log is stderr here: that one stays what it is. */
	for (int i = 0; i < PATIENCE_MS; i++) {
		fds_of(st->hand_pid, fds, sizeof(fds));
		if (strchr(fds, 'g'))
			break;
		doze_ms(1);
	}
	ok(strlen(fds) == 5 && fds[0] == 'n' && fds[1] == 'n' && strchr(fds + 3, 's') &&
		   strchr(fds + 3, 'g'),
	   "the hand holds stdio, its socket, and what tells of its workers");
	note("descriptors: %s", fds);
	ok(getsid(st->hand_pid) == st->hand_pid, "it has a session of its own");
	static const cap_value_t keep[] = { CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYS_RESOURCE,
					    CAP_KILL, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE };
	cap_t caps = cap_get_pid(st->hand_pid), ours = cap_get_proc();
	bool right = true;

	/* Where this test lacks one, so does the hand. */
	for (int c = 0; c <= CAP_LAST_CAP; c++) {
		cap_flag_value_t on, have;
		bool kept = false;

		for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
			kept |= keep[i] == c;
		cap_get_flag(caps, c, CAP_EFFECTIVE, &on);
		cap_get_flag(ours, c, CAP_EFFECTIVE, &have);
		right &= (on == CAP_SET) == (kept && have == CAP_SET);
	}
	ok(right, "it has the capabilities that injecting takes, and no others");
	cap_free(caps);
	cap_free(ours);
}

/* Ask, and wait for the answer. Return: its error, or that of the asking. */
static int ask(struct hand_request *rq, int file, struct hand_answer *a, int *fd)
{
	int ret;

	rq->cookie = SLOT;
	rq->patience_ms = 2000;
	*a = (struct hand_answer){ .text = "not asked" };
	*fd = -1;
	ret = hand_ask(st, rq, file);
	if (ret)
		return ret;
	while (!hand_hear(st, a, fd)) {
		struct pollfd pfd = { .fd = hand_poll_fd(), .events = POLLIN };

		poll(&pfd, 1, 100);
	}
	if (a->op != rq->op || a->cookie != SLOT)
		bail("that answer is another's");
	return a->error;
}

static int place(pid_t pid, struct hand_answer *a, int *channel)
{
	struct hand_request rq = { .op = HAND_PLACE, .flags = HAND_F_TRACED, .pid = pid,
				   .nslots = 2, .pid_start = proc_start_time(pid) };

	return ask(&rq, -1, a, channel);
}

static int cure(struct hand_answer *a)
{
	struct hand_request rq = { .op = HAND_CURE, .record = *rec };
	int none, ret = ask(&rq, -1, a, &none);

	*rec = (struct inject_record){ 0 };
	return ret;
}

static int readonly(int file, unsigned int flags, struct hand_answer *a)
{
	struct hand_request rq = { .op = HAND_READONLY, .flags = flags };
	int fd, ret = ask(&rq, file, a, &fd);

	return ret ? ret : fd;
}

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int got = open(path, flags | O_CLOEXEC);

	if (got < 0)
		return -errno;
	close(got);
	return 0;
}

static void test_readonly(const char *dir)
{
	struct hand_answer a;
	char path[512], buf[8] = "";

	snprintf(path, sizeof(path), "%s/file", dir);
	cleanup_fd int plain = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (plain < 0 || write(plain, "content", 7) != 7)
		bail("%s: %s", path, strerror(errno));
	cleanup_fd int reader = open(path, O_RDONLY | O_CLOEXEC);

	is_i64(reopen(reader, O_RDWR), 0, "a descriptor for reading is reopened for writing");
	cleanup_fd int ro = readonly(plain, 0, &a);

	ok(ro >= 0, "a file for reading only: %s", ro < 0 ? a.text : "there");
	ok(pread(ro, buf, 7, 0) == 7 && !strcmp(buf, "content"), "it reads the same");
	is_i64(fcntl(ro, F_GETFL) & O_ACCMODE, O_RDONLY, "it is for reading only");
	ok(fcntl(ro, F_GETFD) & FD_CLOEXEC, "it is closed on exec");
	is_i64(reopen(ro, O_RDWR), -EROFS, "it cannot be reopened for writing");
	is_i64(reopen(ro, O_WRONLY | O_TRUNC), -EROFS, "nor to be truncated");
	is_i64(reopen(ro, O_RDONLY), 0, "but for reading");
	struct stat was, is;

	ok(!fstat(plain, &was) && !fstat(ro, &is) && was.st_ino == is.st_ino &&
		   was.st_dev == is.st_dev,
	   "it is the same file");
	is_i64(futimens(ro, NULL) ? -errno : 0, -EROFS, "its times cannot be set");
	int direct = readonly(plain, HAND_F_DIRECT, &a);

	if (direct == -EINVAL) {
		skip("with O_DIRECT", "the file system of %s has none", dir);
	} else {
		ok(direct >= 0 && fcntl(direct, F_GETFL) & O_DIRECT, "with O_DIRECT");
		is_i64(reopen(direct, O_RDWR), -EROFS, "nor can that one");
		close(direct);
	}
	int pipe_fd[2];

	if (pipe(pipe_fd))
		bail("pipe");
	ok(readonly(pipe_fd[0], 0, &a) < 0 && *a.text, "no such thing for a pipe: %s",
	   a.text);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	unlink(path);
}

static int agent_hello(int channel)
{
	struct agent_order order = { .op = AGENT_HELLO, .seq = 7 };
	struct agent_answer answer;
	struct pollfd pfd = { .fd = channel, .events = POLLIN };

	if (send(channel, &order, sizeof(order), MSG_NOSIGNAL) != sizeof(order) ||
	    poll(&pfd, 1, PATIENCE_MS) != 1 ||
	    recv(channel, &answer, sizeof(answer), 0) != sizeof(answer))
		return -EPIPE;
	return answer.seq == 7 && answer.done == AGENT_VERSION ? 0 : -EPROTO;
}

static void test_place(void)
{
	struct hand_answer a;
	pid_t pid = victim_start();
	int channel;

	ok(victim_counts(), "a target");
	char *before = maps_of(pid);
	int ret = place(pid, &a, &channel);

	is_i64(ret, 0, "placing %s", a.text);
	ok(rec->pid == pid && !memcmp(rec, &a.record, sizeof(*rec)),
	   "the record names the target, in the answer and in the shared state");
	is_i64(agent_hello(channel), 0, "the agent answers on the channel");
	ok(victim_counts(), "the target runs");
	is_i64(cure(&a), 0, "curing %s", a.text);
	ok(a.us > 0, "it says how long that took: %u us", a.us);
	char *after = maps_of(pid);

	ok(!strcmp(before, after), "its maps are as before");
	ok(victim_counts(), "the target runs");
	free(before);
	free(after);
	close(channel);
	struct hand_request rq = { .op = HAND_PLACE, .pid = pid, .nslots = 2,
				   .pid_start = proc_start_time(pid) };

	victim_end(pid);
	is_i64(ask(&rq, -1, &a, &channel), -ESRCH, "a target that is gone: %s", a.text);
}

/* A hand that has one phase armed, or none. */
static void restart_with(const char *fault)
{
	if (fault)
		setenv("UFFD_RELOCATE_FAULT", fault, 1);
	else
		unsetenv("UFFD_RELOCATE_FAULT");
	st->phase_hits[0] = 0;
	hand_stop(st);
	if (phase_init(st) || hand_start(st))
		bail("no hand");
}

/* Who asked is gone before the answer: the agent is taken out again. */
static void test_unheard(const char *dir)
{
	char up[600], down[600], fault[700], drop[64];
	pid_t pid = victim_start(), asker;

	ok(victim_counts(), "a target");
	char *before = maps_of(pid);

	snprintf(up, sizeof(up), "%s/hold.up", dir);
	snprintf(down, sizeof(down), "%s/hold.down", dir);
	if (mkfifo(up, 0600) || mkfifo(down, 0600))
		bail("mkfifo");
	snprintf(fault, sizeof(fault), "place-2=hold:%s/hold", dir);
	restart_with(fault);
	asker = fork();
	if (asker == 0) {
		struct hand_answer a;
		int channel;

		_exit(!!place(pid, &a, &channel));
	}
	cleanup_fd int up_fd = open(up, O_RDONLY | O_CLOEXEC);

	while (read(up_fd, drop, sizeof(drop)) > 0)
		;
	kill(asker, SIGKILL);
	waitpid(asker, NULL, 0);
	close(open(down, O_WRONLY | O_CLOEXEC));
	char *after = NULL;
	bool same = false;

	/* Until the agent has come and gone. */
	for (int i = 0; i < PATIENCE_MS && !same; i++) {
		free(after);
		after = maps_of(pid);
		pid_t child;

		same = !strcmp(before, after) && proc_children(pid, &child, 1) == 0 &&
		       proc_children(st->hand_pid, &child, 1) == 0;
		doze_ms(1);
	}
	ok(same, "nobody heard of the agent: it was taken out again");
	struct inject_record none = { 0 };

	ok(!memcmp(&none, rec, sizeof(none)), "and stands in no record");
	ok(victim_counts(), "the target runs");
	victim_end(pid);
	free(before);
	free(after);
	unlink(up);
	unlink(down);
	restart_with(NULL);
}

/*
 * A worker is killed at each step of a placing and of a cure.  Its target either has ended with it,
 * as the answer says, or goes on as if nothing had been; there is no third.
 */
static unsigned int killed_at(const char *what, unsigned int step)
{
	struct hand_answer a;
	char fault[64];
	int channel, ret;

	snprintf(fault, sizeof(fault), "%s-%u=kill", what, step);
	restart_with(fault);
	pid_t pid = victim_start();

	if (!victim_counts())
		bail("the target does not run");
	ret = place(pid, &a, &channel);
	if (!ret) {
		close(channel);
		ret = cure(&a);
	}
	is_i64(ret, -EOWNERDEAD, "killed at step %s-%u: %s", what, step, a.text);
	unsigned int dead = !!(a.flags & HAND_A_ENDED);

	if (dead)
		ok(waitpid(pid, NULL, 0) == pid, "and the target with it");
	else
		ok(waitpid(pid, NULL, WNOHANG) == 0 && victim_counts(), "and the target runs");
	if (!dead)
		victim_end(pid);
	*rec = (struct inject_record){ 0 };
	return dead;
}

static void test_killed(void)
{
	struct hand_answer a;
	unsigned int dead = 0;
	int channel;

	for (unsigned int step = 1; step <= 12; step++)
		dead += killed_at("place", step);
	for (unsigned int step = 21; step <= 28; step++)
		dead += killed_at("cure", step);
	ok(dead > 6 && dead < 20, "%u of 20 targets ended: those in the middle", dead);
	restart_with("place-5=kill");
	pid_t pid = victim_start();

	is_i64(place(pid, &a, &channel), -EOWNERDEAD, "one worker is killed");
	waitpid(pid, NULL, 0);
	pid = victim_start();
	is_i64(place(pid, &a, &channel), 0, "the hand goes on with the next target: %s", a.text);
	close(channel);
	is_i64(cure(&a), 0, "cure: %s", a.text);
	victim_end(pid);
	restart_with(NULL);
}

/* A worker that does not get on holds up nobody else. */
static void test_slow(const char *dir)
{
	struct hand_request rq = { .op = HAND_PLACE, .cookie = SLOT + 1, .nslots = 2 };
	pid_t slow, quick;
	char up[600], down[600], fault[700], drop[64];
	struct hand_answer a;
	int channel;

	snprintf(up, sizeof(up), "%s/slow.up", dir);
	snprintf(down, sizeof(down), "%s/slow.down", dir);
	if (mkfifo(up, 0600) || mkfifo(down, 0600))
		bail("mkfifo");
	snprintf(fault, sizeof(fault), "place-1@1=hold:%s/slow", dir);
	restart_with(fault);
	slow = victim_start();
	rq.pid = slow;
	rq.pid_start = proc_start_time(slow);
	is_i64(hand_ask(st, &rq, -1), 0, "a worker is held while it places");
	cleanup_fd int up_fd = open(up, O_RDONLY | O_CLOEXEC);

	while (read(up_fd, drop, sizeof(drop)) > 0)
		;
	quick = victim_start();
	is_i64(place(quick, &a, &channel), 0, "another target gets its agent meanwhile %s", a.text);
	close(channel);
	is_i64(cure(&a), 0, "and is cured of it %s", a.text);
	is_i64(hand_hear(st, &a, &channel), 0, "the first one is still at it");
	close(open(down, O_WRONLY | O_CLOEXEC));
	while (!hand_hear(st, &a, &channel))
		doze_ms(1);
	ok(!a.error && a.cookie == SLOT + 1, "and comes to its end %s", a.text);
	close(channel);
	*rec = a.record;
	is_i64(cure(&a), 0, "cure %s", a.text);
	victim_end(quick);
	victim_end(slow);
	unlink(up);
	unlink(down);
	restart_with(NULL);
}

static void test_restart(void)
{
	struct hand_answer a;
	int number = st->hand_fd, channel;
	pid_t pid = victim_start(), hand = st->hand_pid;
	struct timespec none = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	is_i64(hand_start(st), 0, "hand_start while there is one");
	is_i64(st->hand_pid, hand, "leaves it");
	kill(hand, SIGKILL);
	waitpid(hand, NULL, 0);
	while (sigtimedwait(&set, NULL, &none) > 0)
		;
	is_i64(place(pid, &a, &channel), -ENOTCONN, "placing without a hand");
	is_i64(st->hand_wanted, 1, "another one is wanted");
	is_i64(sigtimedwait(&set, NULL, &none), SIGCHLD, "and the keeper is told");
	is_i64(hand_start(st), 0, "another hand");
	is_i64(st->hand_fd, number, "by the same number");
	is_i64(place(pid, &a, &channel), 0, "placing %s",
	       a.text);
	close(channel);
	is_i64(cure(&a), 0, "cure %s", a.text);
	victim_end(pid);
}

int main(void)
{
	char dir[] = "hand-XXXXXX";
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *tmp = getenv("TMPDIR");
	sigset_t set;
	int state_fd;

	if (geteuid())
		skip_all("takes root: ptrace, mounts");
	tap_timeout(110);
	if (chdir(tmp ? tmp : "/var/tmp") || !mkdtemp(dir))
		bail("no temporary directory");
	log_init("hand-test", LOG_WARN);
	st = state_create(&state_fd);
	count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	rec = &st->session[SLOT].agent.rec;
	st->keeper_pid = getpid();
	/* As the keeper has it. */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* What the hand must not hold. */
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(listening, (struct sockaddr *)&sa, sizeof(sa_family_t)) || listen(listening, 1) ||
	    uffd < 0)
		bail("no userfaultfd or socket: %s", strerror(errno));
	is_i64(hand_start(st), 0, "hand_start");
	is_i64(hand_open(), 0, "hand_open");
	test_holds();
	test_readonly(dir);
	test_place();
	test_unheard(dir);
	test_killed();
	test_slow(dir);
	test_restart();
	pid_t hand = st->hand_pid;

	hand_stop(st);
	ok(kill(hand, 0) && errno == ESRCH, "hand_stop: it is gone");
	rmdir(dir);
	return tap_done();
}
