// SPDX-License-Identifier: GPL-2.0-only
/*
 * Targets that have little room: resource limits that are used up, memory that is locked as it is
 * mapped, a memory cgroup that is nearly full, no huge pages, no descriptors.
 */
#include <grp.h>
#include <sys/stat.h>

#include "tests/agent/agent.h"

static void busy(struct shared *sh, void *arg)
{
	(void)arg;
	sh->ready = 1;
	while (!sh->stop)
		sh->count++;
}

static void set_soft(int resource, rlim_t value)
{
	struct rlimit lim;

	getrlimit(resource, &lim);
	lim.rlim_cur = value;
	if (setrlimit(resource, &lim))
		_exit(9);
}

static void no_space(struct shared *sh, void *arg)
{
	set_soft(RLIMIT_AS, 4096);
	busy(sh, arg);
}

static void no_data(struct shared *sh, void *arg)
{
	set_soft(RLIMIT_DATA, 4096);
	busy(sh, arg);
}

static void no_processes(struct shared *sh, void *arg)
{
	set_soft(RLIMIT_NPROC, 1);
	if (setgid(65533) || setuid(65533))
		_exit(9);
	busy(sh, arg);
}

static void no_files(struct shared *sh, void *arg)
{
	while (dup(1) >= 0 && !sh->stop)
		;
	set_soft(RLIMIT_NOFILE, 3);
	busy(sh, arg);
}

static void locks(struct shared *sh, void *arg)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		_exit(9);
	busy(sh, arg);
}

static void locks_no_more(struct shared *sh, void *arg)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		_exit(9);
	set_soft(RLIMIT_MEMLOCK, 4096);
	if (setgid(65533) || setuid(65533))
		_exit(9);
	busy(sh, arg);
}

static void no_huge(struct shared *sh, void *arg)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	busy(sh, arg);
}

/* Memory of KSM's, should the kernel have it. */
static void merges(struct shared *sh, void *arg)
{
	prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
	busy(sh, arg);
}

/* Resident bytes of the target, by its statm. */
static uint64_t resident(pid_t pid)
{
	char path[32], *text;
	unsigned long size, pages;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	text = file_text(path);
	sscanf(text, "%lu %lu", &size, &pages);
	free(text);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void one(victim_body body, const char *name, uint64_t dst, int file)
{
	struct victim v = victim_start(body, NULL);
	struct trace before = trace_take(v.pid);
	struct inject_opts opts = { .nslots = AGENT_SLOTS_MAX };
	uint64_t was = resident(v.pid), page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct agent_answer r;
	struct rlimit lim;

	/* Those of another user's process are for CAP_SYS_RESOURCE to lift. */
	if ((body == no_processes || body == locks_no_more) &&
	    (prlimit(v.pid, RLIMIT_NPROC, NULL, &lim) || prlimit(v.pid, RLIMIT_NPROC, &lim, NULL))) {
		ok(place(&v, &opts) == -EAGAIN, "%s: not to be lifted, no agent", name);
		trace_same(&before, v.pid, "and no trace is left");
		skip(name, "limits of others cannot be changed without CAP_SYS_RESOURCE");
		victim_kill(&v);
		return;
	}
	if (!is_i64(place(&v, &opts), 0, "%s: an agent is placed", name)) {
		trace_same(&before, v.pid, "and no trace is left");
		victim_kill(&v);
		return;
	}
	ok(resident(v.pid) < was + HUGE, "%s: nothing of the staging area is filled", name);
	is_i64(agent_register(&v, dst, HUGE), 0, "%s: it works", name);
	for (uint32_t i = 0; i < AGENT_FILES; i++)
		r = order(&v, (struct agent_order){ .op = AGENT_FILE, .file = i }, file);
	is_i64(r.error, 0, "%s: it holds %u files", name, AGENT_FILES);
	r = order(&v, (struct agent_order){ .op = AGENT_STAGE, .nranges = 1,
					    .range = { { 8 * (uint64_t)HUGE, 0, page } } }, -1);
	is_i64(r.error, 0, "%s: it reads", name);
	/* Locked pages move to locked memory only, and staging is not: that is for COPY. */
	r = order(&v, (struct agent_order){ .op = AGENT_MOVE, .nranges = 1,
					    .range = { { dst, 8 * (uint64_t)HUGE, page } } }, -1);
	is_i64(r.error, body == locks || body == locks_no_more ? -EINVAL : 0, "%s: and moves", name);
	is_i64(order(&v, (struct agent_order){ .op = AGENT_FRESH, .slot = 3 }, -1).error, 0,
	       "%s: and gets a slot anew", name);
	is_i64(order(&v, (struct agent_order){ .op = AGENT_UNREGISTER, .nranges = 1,
					       .range = { { dst, 0, HUGE } } }, -1).error, 0,
	       "%s: and lets go", name);
	is_i64(cure(&v, &opts), 0, "%s: it is taken out", name);
	trace_same(&before, v.pid, "and no trace is left, nor in its limits");
	is_i64(victim_stop(&v), 0, "%s: the target ends as it would have", name);
}

/* ---- a memory cgroup ---- */

static bool write_text(const char *dir, const char *name, const char *text)
{
	char path[300];
	int fd;
	bool good;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return good;
}

static uint64_t read_u64(const char *dir, const char *name)
{
	char path[300], *text;
	uint64_t value;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	text = file_text(path);
	value = strtoull(text, NULL, 10);
	free(text);
	return value;
}

static void tight(uint64_t dst)
{
	static const char *const roots[] = { "/sys/fs/cgroup/memory", "/sys/fs/cgroup" };
	char dir[200] = "", text[32];
	const char *limit = NULL, *usage = NULL;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), most = 0;
	struct inject_opts opts = { .nslots = AGENT_SLOTS_MAX };
	struct victim v;
	struct agent_answer r = { .error = 0 };
	int file;

	for (int i = 0; i < 2 && !limit; i++) {
		snprintf(dir, sizeof(dir), "%s/agent-test-%d", roots[i], getpid());
		if (mkdir(dir, 0755))
			continue;
		if (write_text(dir, "memory.limit_in_bytes", "16M"))
			limit = "memory.limit_in_bytes", usage = "memory.usage_in_bytes";
		else if (write_text(dir, "memory.max", "16M"))
			limit = "memory.max", usage = "memory.current";
		else
			rmdir(dir);
	}
	if (!limit) {
		skip("a memory cgroup that is nearly full", "no memory cgroup can be made");
		return;
	}
	file = open("/var/tmp", O_TMPFILE | O_RDWR, 0600);
	if (file < 0 || ftruncate(file, 32 * HUGE))
		bail("a temporary file: %s", strerror(errno));
	v = victim_start(busy, NULL);
	sprintf(text, "%d", v.pid);
	if (!write_text(dir, "cgroup.procs", text))
		bail("the target cannot be put into %s", dir);
	is_i64(place(&v, &opts), 0, "an agent is placed under a limit below its staging area");
	is_i64(agent_register(&v, dst, HUGE), 0, "it works");
	order(&v, (struct agent_order){ .op = AGENT_FILE }, file);
	/* Reading 64 MiB through one slot: its pages are used again, and page cache is let go. */
	for (uint64_t at = 0; at < 32 && !r.error; at++) {
		r = order(&v, (struct agent_order){ .op = AGENT_STAGE, .nranges = 1,
						    .range = { { 0, at * HUGE, HUGE } } }, -1);
		if (read_u64(dir, usage) > most)
			most = read_u64(dir, usage);
	}
	is_i64(r.error, 0, "it reads four times as much as the limit");
	r = order(&v, (struct agent_order){ .op = AGENT_MOVE, .nranges = 1,
					    .range = { { dst, 0, page } } }, -1);
	is_i64(r.error, 0, "and moves");
	ok(most <= 16u << 20, "within the limit (%" PRIu64 " KiB at most)", most >> 10);
	ok(!has_ended(v.pid), "the target lives");
	is_i64(cure(&v, &opts), 0, "the agent is taken out");
	victim_kill(&v);
	close(file);
	for (int i = 0; rmdir(dir) && i < 1000; i++)
		ms_sleep(1);
}

int main(void)
{
	uint8_t *mem = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t dst = ((uintptr_t)mem + HUGE - 1) & ~(uint64_t)(HUGE - 1);
	int file = memfd_create("pages", MFD_CLOEXEC);

	tap_timeout(55);
	if (file < 0 || ftruncate(file, HUGE))
		bail("memfd: %s", strerror(errno));
	one(no_space, "RLIMIT_AS", dst, file);
	one(no_data, "RLIMIT_DATA", dst, file);
	one(no_processes, "RLIMIT_NPROC", dst, file);
	one(no_files, "RLIMIT_NOFILE", dst, file);
	one(locks, "mlockall", dst, file);
	one(locks_no_more, "mlockall and RLIMIT_MEMLOCK", dst, file);
	one(no_huge, "PR_SET_THP_DISABLE", dst, file);
	one(merges, "PR_SET_MEMORY_MERGE", dst, file);
	tight(dst);
	return tap_done();
}
