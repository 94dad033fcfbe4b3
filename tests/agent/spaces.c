// SPDX-License-Identifier: GPL-2.0-only
/* Targets in namespaces: pid 1 of its own, in a user namespace, without /proc, with a child reaper. */
#include <sys/mount.h>

#include "tests/agent/agent.h"

static void busy(struct shared *sh, void *arg)
{
	(void)arg;
	sh->ready = 1;
	while (!sh->stop) {
		sh->count++;
		sh->word[0] = (uint64_t)getpid();
		sh->word[1] = (uint64_t)waitpid(-1, NULL, WNOHANG);
	}
}

/* The body runs in a child of new namespaces; the victim that is started waits for that. */
struct inside {
	int flags;
	victim_body body;
};

static void enter(struct shared *sh, void *arg)
{
	const struct inside *in = arg;
	pid_t pid;
	int status = 0;

	if (unshare(in->flags))
		_exit(77);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		in->body(sh, NULL);
		_exit(0);
	}
	sh->word[2] = (uint64_t)pid;
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

static void no_proc(struct shared *sh, void *arg)
{
	/* Nothing of the file system is left to it. */
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("none", "/mnt", "tmpfs", 0, NULL) ||
	    chroot("/mnt") || chdir("/"))
		_exit(9);
	busy(sh, arg);
}

static void subreaper(struct shared *sh, void *arg)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	busy(sh, arg);
}

static void as_user(struct shared *sh, void *arg)
{
	if (setgid(65533) || setuid(65533))
		_exit(9);
	/* No longer to be dumped, or traced by anybody of its kind. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	busy(sh, arg);
}

static long file_number(const char *path)
{
	char *text = file_text(path);
	long value = strtol(text, NULL, 10);

	free(text);
	return value;
}

static bool first_of_ns(const struct victim *v)
{
	return v->sh->word[0] == 1;
}

static void one(const char *name, struct inside in, uint64_t dst)
{
	struct victim v = { .sock = -1 }, outer;
	struct trace before;
	struct agent_answer r;
	uint64_t count;
	bool for_all = file_number("/proc/sys/vm/unprivileged_userfaultfd");

	/* victim_start() would take its not coming up for a failure. */
	pid_t probe = fork();
	int status;

	if (!probe)
		_exit(unshare(in.flags) ? 77 : 0);
	waitpid(probe, &status, 0);
	if (status) {
		skip(name, "such namespaces cannot be made here");
		return;
	}
	outer = in.flags ? victim_start(enter, &in) : victim_start(in.body, NULL);
	v.sh = outer.sh;
	await(v.sh->count && (!in.flags || v.sh->word[2]));
	v.pid = in.flags ? (pid_t)v.sh->word[2] : outer.pid;
	before = trace_take(v.pid);
	is_i64(place(&v, NULL), 0, "%s: an agent is placed", name);
	r = order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1);
	is_i64(r.error, 0, "%s: it answers", name);
	is_u64(r.value, v.rec.agent_nspid, "%s: with the pid that it has there", name);
	ok((v.rec.agent_nspid != v.rec.agent_pid) == !!(in.flags & CLONE_NEWPID),
	   "%s: which is another one than here, if it is a pid namespace", name);
	is_i64(agent_register(&v, dst, HUGE),
	       (in.body == as_user || in.flags & CLONE_NEWUSER) && !for_all ? -EPERM : 0,
	       "%s: it works, as far as the target's privileges go", name);
	/* Where the target's own privileges do not do, ours may. */
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (dev >= 0) {
		order(&v, (struct agent_order){ .op = AGENT_FILE }, dev);
		r = order(&v, (struct agent_order){ .op = AGENT_OPEN_UFFD, .file = 1, .nranges = 1 }, -1);
		is_i64(r.error, 0, "%s: with a device that we have opened", name);
		close(dev);
	} else {
		skip(name, "there is no /dev/userfaultfd");
	}
	count = v.sh->count;
	await(v.sh->count != count);
	ok((long)v.sh->word[1] == -1, "%s: the target sees no child", name);
	if (in.flags & CLONE_NEWPID)
		ok(first_of_ns(&v), "%s: the target is pid 1", name);
	is_i64(cure(&v, NULL), 0, "%s: it is taken out", name);
	trace_same(&before, v.pid, "and has left no trace");
	outer.sh->stop = 1;
	is_i64(victim_stop(&outer), 0, "%s: the target ends as it would have", name);
}

int main(void)
{
	uint8_t *mem = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t dst = ((uintptr_t)mem + HUGE - 1) & ~(uint64_t)(HUGE - 1);

	tap_timeout(55);
	one("pid 1 of a namespace", (struct inside){ CLONE_NEWPID, busy }, dst);
	one("pid 1 without a file system", (struct inside){ CLONE_NEWPID | CLONE_NEWNS, no_proc }, dst);
	one("a user namespace", (struct inside){ CLONE_NEWUSER | CLONE_NEWPID, busy }, dst);
	one("all namespaces", (struct inside){ CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
					       CLONE_NEWIPC | CLONE_NEWUTS, busy }, dst);
	one("a subreaper", (struct inside){ 0, subreaper }, dst);
	one("a user's process that is not to be dumped", (struct inside){ 0, as_user }, dst);
	return tap_done();
}
