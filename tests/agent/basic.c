// SPDX-License-Identifier: GPL-2.0-only
/*
 * An agent is placed in a running process, moves pages in it, and is taken out again; what can be
 * seen of the process afterwards is what could be seen before.
 */
#include "tests/agent/agent.h"

static void busy(struct shared *sh, void *arg)
{
	(void)arg;
	sh->ready = 1;
	while (!sh->stop)
		sh->count++;
}

static void asleep(struct shared *sh, void *arg)
{
	(void)arg;
	sh->ready = 1;
	while (!sh->stop) {
		sh->count++;
		usleep(2000);
	}
}

/* Two pages by hand: to staging, into place. */
static void use(struct victim *v, int file, uint64_t dst)
{
	uint64_t page = sysconf(_SC_PAGESIZE), base = v->rec.nslots * (uint64_t)HUGE;
	struct agent_answer r = order(v, (struct agent_order){ .op = AGENT_HELLO }, -1);

	is_i64(r.error, 0, "the agent answers");
	is_u64(r.done, AGENT_VERSION, "with its version");
	is_u64(r.value, v->rec.agent_pid, "and its pid");
	is_i64(agent_register(v, dst, HUGE), 0, "it makes a uffd and registers memory of the target");
	r = order(v, (struct agent_order){ .op = AGENT_FILE, .file = 5 }, file);
	is_i64(r.error, 0, "it takes a file");
	r = order(v, (struct agent_order){ .op = AGENT_STAGE, .file = 5, .nranges = 1,
					   .range = { { base, 0, 2 * page } } }, -1);
	is_i64(r.error, 0, "it reads to the staging area");
	is_u64(r.done, 2 * page, "two pages");
	r = order(v, (struct agent_order){ .op = AGENT_MOVE, .nranges = 2,
					   .range = { { dst, base, page },
						      { dst + 7 * page, base + page, page } } }, -1);
	is_i64(r.error, 0, "it moves them into place");
	is_u64(r.done, 2 * page, "both");
	r = order(v, (struct agent_order){ .op = AGENT_MOVE, .nranges = 1,
					   .range = { { dst, base, page } } }, -1);
	is_i64(r.error, -EEXIST, "a place that is taken is refused");
	is_u64(r.at, 0, "by its number");
	r = order(v, (struct agent_order){ .op = AGENT_UNREGISTER, .nranges = 1,
					   .range = { { dst, 0, HUGE } } }, -1);
	is_i64(r.error, 0, "it unregisters the range");
}

static uint64_t peek(pid_t pid, uint64_t addr)
{
	uint64_t value = 0;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (pread(fd, &value, sizeof(value), addr) != sizeof(value))
		note("reading %#" PRIx64 " of %d: %s", addr, pid, strerror(errno));
	close(fd);
	return value;
}

static void one(victim_body body, const char *name, uint8_t *mem, int file)
{
	uint64_t page = sysconf(_SC_PAGESIZE), dst = (uint64_t)(uintptr_t)mem, count;
	struct victim v = victim_start(body, NULL);
	struct trace before = trace_take(v.pid);

	note("%s", name);
	if (!is_i64(place(&v, NULL), 0, "an agent is placed"))
		bail("nothing to go on with");
	is_i64(inject_same_mm(&v.rec), 1, "it shares the target's memory");
	count = v.sh->count;
	await(v.sh->count != count);
	use(&v, file, dst);
	is_u64(peek(v.pid, dst), 0x1111, "the first page has its bytes");
	is_u64(peek(v.pid, dst + 7 * page), 0x2222, "and the second");
	is_i64(cure(&v, NULL), 0, "the agent is taken out");
	trace_same(&before, v.pid, "and has left no trace");
	count = v.sh->count;
	await(v.sh->count != count);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

int main(void)
{
	uint64_t page = sysconf(_SC_PAGESIZE);
	uint8_t *mem = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int file = memfd_create("pages", MFD_CLOEXEC);
	uint64_t word;

	tap_timeout(50);
	mem = (uint8_t *)(((uintptr_t)mem + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	if (file < 0 || ftruncate(file, 2 * page))
		bail("memfd: %s", strerror(errno));
	word = 0x1111;
	if (pwrite(file, &word, sizeof(word), 0) != sizeof(word))
		bail("pwrite");
	word = 0x2222;
	if (pwrite(file, &word, sizeof(word), page) != sizeof(word))
		bail("pwrite");
	one(busy, "a process that computes", mem, file);
	one(asleep, "a process that sleeps", mem, file);
	return tap_done();
}
