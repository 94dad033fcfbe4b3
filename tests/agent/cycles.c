// SPDX-License-Identifier: GPL-2.0-only
/* A thousand agents, one after the other, in a process with threads: nothing grows on either side. */
#include <pthread.h>

#include "tests/agent/agent.h"

#define CYCLES 1000
#define SECONDS 35

static struct shared *shared;

static void *worker(void *arg)
{
	unsigned long i = (unsigned long)arg;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	while (!shared->stop) {
		pthread_mutex_lock(&lock);
		shared->word[i]++;
		pthread_mutex_unlock(&lock);
		usleep(500);
	}
	return NULL;
}

static void threaded(struct shared *sh, void *arg)
{
	pthread_t t[2];

	(void)arg;
	shared = sh;
	for (unsigned long i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, worker, (void *)(i + 1));
	while (!sh->stop) {
		void *p = malloc(100000);

		sh->ready = 1;
		memset(p, 1, 100000);
		free(p);
		sh->count++;
		usleep(100);
	}
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
}

static uint64_t status_kib(pid_t pid, const char *key)
{
	const char *const keys[] = { key, NULL };
	char path[32], *line;
	uint64_t value;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	line = file_lines(path, keys);
	value = line[0] ? strtoull(line + strlen(key), NULL, 10) : 0;
	free(line);
	return value;
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int main(void)
{
	struct victim v;
	struct trace before;
	uint64_t rss, tables, count;
	time_t start = time(NULL);
	int fds, n;

	tap_timeout(55);
	v = victim_start(threaded, NULL);
	/* The first brings what stays: a page table, arenas. */
	if (place(&v, NULL) || cure(&v, NULL))
		bail("nothing to go on with");
	before = trace_take(v.pid);
	rss = status_kib(v.pid, "VmRSS:");
	tables = status_kib(v.pid, "VmPTE:");
	fds = descriptors();
	for (n = 0; n < CYCLES && time(NULL) < start + SECONDS; n++)
		if (place(&v, NULL) || cure(&v, NULL))
			bail("at cycle %d", n);
	if (n < CYCLES)
		note("a busy machine: %d cycles in %d s", n, SECONDS);
	ok(n >= CYCLES / 10, "%d agents are placed and taken out", n);
	trace_same(&before, v.pid, "the target is what it was");
	ok(status_kib(v.pid, "VmRSS:") <= rss + 64, "it has not grown");
	ok(status_kib(v.pid, "VmPTE:") <= tables + 16, "nor have its page tables");
	is_i64(descriptors(), fds, "nor our descriptors");
	count = v.sh->word[1] + v.sh->word[2];
	await(v.sh->word[1] + v.sh->word[2] > count + 2);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
	return tap_done();
}
