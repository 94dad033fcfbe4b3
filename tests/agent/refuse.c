// SPDX-License-Identifier: GPL-2.0-only
/*
 * What cannot have an agent is left alone, and the reason is named; what has a seccomp filter gets
 * one only from a tracer that stays.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>

#include "tests/agent/agent.h"

static void busy(struct shared *sh, void *arg)
{
	(void)arg;
	sh->ready = 1;
	while (!sh->stop)
		sh->count++;
}

/* A tracer of its own for the victim, until it hears a byte. */
static pid_t traced_by(pid_t target, int ch)
{
	pid_t pid = fork();
	char c = 'x';

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ptrace(PTRACE_SEIZE, target, 0, 0) || write(ch, &c, 1) != 1 || read(ch, &c, 1) != 1)
		_exit(1);
	_exit(0);
}

static void debugged(void)
{
	struct victim v = victim_start(busy, NULL);
	struct trace before;
	struct inject_opts opts = opts_default();
	int ch[2];
	char c = 'x';
	pid_t tracer;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ch))
		bail("socketpair");
	tracer = traced_by(v.pid, ch[1]);
	if (read(ch[0], &c, 1) != 1)
		bail("the tracer does not trace");
	before = trace_take(v.pid);
	is_i64(inject_check(v.pid, &opts, &v.err), -EBUSY, "a traced process is found busy");
	is_i64(place(&v, &opts), -EBUSY, "and gets no agent");
	ok(strstr(v.err.text, "traced by process"), "the reason is named");
	opts.patience_ms = 50;
	is_i64(place(&v, &opts), -EBUSY, "not for a little patience either");
	trace_same(&before, v.pid, "and nothing is changed");
	/* With more patience, and the tracer gone meanwhile. */
	opts.patience_ms = 30000;
	if (!fork()) {
		ms_sleep(100);
		_exit(write(ch[0], &c, 1) != 1);
	}
	is_i64(place(&v, &opts), 0, "for more patience, when the tracer ends, it does");
	waitpid(tracer, NULL, 0);
	/* The cure waits likewise. */
	tracer = traced_by(v.pid, ch[1]);
	if (read(ch[0], &c, 1) != 1)
		bail("the tracer does not trace");
	opts.patience_ms = 0;
	is_i64(inject_cure(&v.rec, &opts, &v.err), -EBUSY, "a traced process is not cured");
	is_i64(inject_same_mm(&v.rec), 1, "its agent lives on");
	if (write(ch[0], &c, 1) != 1)
		bail("write");
	waitpid(tracer, NULL, 0);
	is_i64(cure(&v, NULL), 0, "later it is");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* ---- a real debugger ---- */

static void under_gdb(void)
{
	struct victim v;
	struct inject_opts opts = opts_default();
	static const char *const keys[] = { "TracerPid:", NULL };
	char path[32], pid_text[16];
	int in[2];
	pid_t gdb;

	if (access("/usr/bin/gdb", X_OK)) {
		skip("a process under gdb", "gdb is not installed");
		return;
	}
	v = victim_start(busy, NULL);
	if (pipe2(in, O_CLOEXEC))
		bail("pipe");
	gdb = fork();
	if (!gdb) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(null, 1);
		dup2(null, 2);
		sprintf(pid_text, "%d", v.pid);
		execl("/usr/bin/gdb", "gdb", "-nx", "-q", "-p", pid_text, NULL);
		_exit(1);
	}
	snprintf(path, sizeof(path), "/proc/%d/status", v.pid);
	for (;;) {
		char *line = file_lines(path, keys);
		int tracer = atoi(line + strlen(keys[0]));

		free(line);
		if (tracer || has_ended(gdb))
			break;
		ms_sleep(5);
	}
	is_i64(place(&v, &opts), -EBUSY, "a process under gdb gets no agent");
	close(in[1]);
	waitpid(gdb, NULL, 0);
	is_i64(place(&v, &opts), 0, "after gdb it does");
	is_i64(cure(&v, NULL), 0, "and is cured");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

/* ---- seccomp ---- */

#define IS(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void filtered(struct shared *sh, void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		IS(SYS_write),
		ALLOW,
		IS(SYS_exit_group),
		ALLOW,
		IS(SYS_clock_nanosleep),
		ALLOW,
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	(void)arg;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(9);
	sh->ready = 1;
	while (!sh->stop) {
		sh->count++;
		usleep(100);
	}
}

static void strict(struct shared *sh, void *arg)
{
	(void)arg;
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	sh->ready = 1;
	while (!sh->stop)
		sh->count++;
	syscall(SYS_exit, 0);
}

static void seccomp(victim_body body, const char *name, void *mem)
{
	struct victim v = victim_start(body, NULL);
	struct trace before = trace_take(v.pid);
	struct inject_opts opts = opts_default();
	uint64_t count;

	is_i64(place(&v, &opts), -EACCES, "%s: no agent without a tracer that stays", name);
	opts.keep_traced = true;
	if (!is_i64(place(&v, &opts), 0, "%s: with one it is placed", name))
		bail("nothing to go on with");
	is_u64(v.rec.flags & INJECT_R_TRACED, INJECT_R_TRACED, "%s: the record says so", name);
	is_i64(inject_tend(&v.rec), 0, "%s: it can be tended", name);
	is_i64(order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1).error, 0, "%s: it answers", name);
	is_i64(agent_register(&v, (uint64_t)(uintptr_t)mem, HUGE), 0, "%s: it may what the target may not",
	       name);
	kill(v.rec.agent_pid, SIGSTOP);
	order_send(&v, &(struct agent_order){ .op = AGENT_HELLO }, -1);
	for (struct pollfd p = { .fd = v.sock, .events = POLLIN }; !poll(&p, 1, 1);)
		inject_tend(&v.rec);
	is_i64(answer_take(&v, NULL).error, 0, "%s: tended it goes on from a stop", name);
	count = v.sh->count;
	await(v.sh->count != count);
	is_i64(cure(&v, &opts), 0, "%s: it is taken out", name);
	count = v.sh->count;
	await(v.sh->count != count);
	trace_same(&before, v.pid, "its filter is in force again, and no trace is left");
	is_i64(victim_stop(&v), 0, "%s: the target ends as it would have", name);
}

/* It ends by itself, and nobody has taken note yet. */
static void seccomp_quits(void)
{
	struct victim v = victim_start(filtered, NULL);
	struct trace before = trace_take(v.pid);
	struct inject_opts opts = opts_default();

	opts.keep_traced = true;
	if (place(&v, &opts))
		bail("nothing to go on with");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_QUIT }, -1).error, 0,
	       "an agent under a filter ends by itself");
	await(inject_agent_pidfd(&v.rec) == -ESRCH);
	is_i64(cure(&v, &opts), 0, "what it leaves is taken out");
	trace_same(&before, v.pid, "without a trace");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

/* Its tracer dies: the agent waits on, as recvmsg is not what kills it until it is told something. */
static void seccomp_orphan(void)
{
	struct victim v = victim_start(filtered, NULL);
	struct inject_record *rec = mmap(NULL, sizeof(*rec), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	uint64_t count;

	if (!pid) {
		struct inject_opts opts = opts_default();

		opts.keep_traced = true;
		_exit(inject_place(v.pid, &opts, rec, &v.sock, &v.err) ? 1 : 0);
	}
	waitpid(pid, NULL, 0);
	ok(rec->pid, "an agent under a filter whose tracer is gone");
	count = v.sh->count;
	await(v.sh->count != count);
	v.rec = *rec;
	is_i64(cure(&v, &(struct inject_opts){ .keep_traced = true }), 0, "is taken out by the next");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

/* ---- 32 bit ---- */

/* An ELF of 32 bits that only waits: mov $29 (pause), %eax; int $0x80; jmp back. */
static const uint8_t elf32[] = {
	0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 1, 0, 0, 0,
	0x54, 0x80, 0x04, 0x08, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0x34, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, 0, 0,
	1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x04, 0x08, 0, 0x80, 0x04, 0x08, 0x5d, 0, 0, 0, 0x5d, 0, 0, 0,
	5, 0, 0, 0, 0, 0x10, 0, 0,
	0xb8, 0x1d, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7,
};

static void foreign(void)
{
	struct inject_opts opts = opts_default();
	struct victim v = { .sock = -1 };
	int fd = memfd_create("elf32", MFD_CLOEXEC);
	char path[32], *maps;

	if (fd < 0 || write(fd, elf32, sizeof(elf32)) != sizeof(elf32))
		bail("memfd: %s", strerror(errno));
	v.pid = fork();
	if (!v.pid) {
		char *const none[] = { NULL };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fexecve(fd, (char *const[]){ "elf32", NULL }, none);
		_exit(77);
	}
	snprintf(path, sizeof(path), "/proc/%d/maps", v.pid);
	for (bool there = false; !there && !has_ended(v.pid);) {
		maps = file_text(path);
		there = !strncmp(maps, "08048000", 8);
		free(maps);
	}
	if (has_ended(v.pid)) {
		skip("a 32-bit process", "this kernel runs none");
		waitpid(v.pid, NULL, 0);
		return;
	}
	is_i64(inject_check(v.pid, &opts, &v.err), -ENOTSUP, "a 32-bit process can have none");
	ok(strstr(v.err.text, "32-bit"), "the reason is named");
	is_i64(place(&v, &opts), -ENOTSUP, "and gets none");
	ok(!has_ended(v.pid), "it lives on");
	kill(v.pid, SIGKILL);
	waitpid(v.pid, NULL, 0);
}

static void others(void)
{
	struct inject_opts opts = opts_default();
	struct victim v = victim_start(busy, NULL);
	struct inject_record rec;
	int sock, status, ret;
	pid_t zombie, child;

	is_i64(inject_check(v.pid, &opts, &v.err), 0, "an ordinary process can have one");
	zombie = fork();
	if (!zombie)
		_exit(0);
	await(has_ended(zombie));
	is_i64(inject_check(zombie, &opts, &v.err), -ESRCH, "one that has ended can not");
	is_i64(inject_place(zombie, &opts, &rec, &sock, &v.err), -ESRCH, "and gets none");
	waitpid(zombie, NULL, 0);
	is_i64(inject_place(zombie, &opts, &rec, &sock, &v.err), -ESRCH, "nor one that is not there");
	ret = inject_place(2, &opts, &rec, &sock, &v.err);
	ok(ret == -ENOTSUP || ret == -ESRCH || ret == -EPERM, "nor a thread of the kernel");
	note("%s", v.err.text);
	child = fork();
	if (!child) {
		if (setgid(65534) || setuid(65534))
			_exit(9);
		ret = inject_check(v.pid, &opts, &v.err);
		ret = ret != -EPERM || inject_place(v.pid, &opts, &rec, &sock, &v.err) != -EPERM;
		_exit(ret || !strstr(v.err.text, "root"));
	}
	waitpid(child, &status, 0);
	is_i64(status, 0, "who may not trace is told so, and what to do");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

int main(void)
{
	uint8_t *mem = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	tap_timeout(55);
	mem = (uint8_t *)(((uintptr_t)mem + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	debugged();
	under_gdb();
	seccomp(filtered, "a filter", mem);
	seccomp(strict, "strict seccomp", mem);
	seccomp_quits();
	seccomp_orphan();
	foreign();
	others();
	return tap_done();
}
