// SPDX-License-Identifier: GPL-2.0-only
/*
 * race [-r MS] [-l MS] ROW|all SECONDS [SEED]: rows 86 to 112; see race.h.  -r: how long a round is;
 * -l: how late it may be.
 *
 * One line of TAP a row.  It names the seed of the row's first round; the others follow from it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "race.h"

static long late_ms = 120000;	/* beyond its time: then a round hangs */

struct round *round_now;

struct row {
	int number;
	const char *name;
	unsigned int flags;	/* of a shuttle */
	step_fn step;
	void (*run)(void);	/* or a row of its own */
	const char *lacks;	/* or why it does not exist here */
};

static const struct row rows[] = {
	{ 86, "a second mover, same source", .run = duel_same_src },
	{ 87, "a second mover, same destination", .run = duel_same_dst },
	{ 88, "movers in both directions", .step = step_none },
	{ 89, "two movers on huge pages", .flags = W_HUGE, .step = step_none },
	{ 90, "UFFDIO_COPY and UFFDIO_ZEROPAGE", .run = duel_copy },
	{ 91, "write faults on the source", .run = write_faults },
	{ 92, "MADV_DONTNEED", .run = duel_dontneed },
	{ 93, "MADV_PAGEOUT", .flags = W_SWAP, .step = step_pageout },
	{ 93, "MADV_PAGEOUT, huge pages", .flags = W_SWAP | W_HUGE, .step = step_pageout },
	{ 94, "swapoff and swapon", .flags = W_SWAP, .step = step_swapoff },
	{ 95, "swap entries used again", .flags = W_SWAP, .step = step_hog },
	{ 96, "fork and exit", .step = step_fork },
	{ 97, "mremap and munmap", .run = duel_mremap },
	{ 97, "mprotect", .flags = W_EINVAL, .step = step_mprotect },
	{ 98, "a pending event", .run = event_pending },
	{ 99, "UFFD_EVENT_REMOVE", .run = event_remove },
	{ 100, "unregister", .flags = W_EINVAL, .step = step_register },
	{ 100, "close", .flags = W_BADFD, .step = step_none },
	{ 101, "compaction and migration", .step = step_migrate },
	{ 101, "compaction and migration, huge pages", .flags = W_HUGE, .step = step_migrate },
	{ 102, "khugepaged and MADV_COLLAPSE", .flags = W_HUGE, .step = step_collapse },
	{ 103, "split_huge_pages", .flags = W_HUGE, .step = step_split },
	{ 104, "KSM", .flags = W_TWINS, .step = step_ksm },
	{ 105, "pins", .run = duel_pin },
	{ 105, "get_user_pages", .flags = W_FAULTS, .step = step_gup },
	{ 106, "reclaim, page_idle, DAMON, MGLRU", .step = step_idle },
	{ 107, "UFFDIO_WRITEPROTECT", .step = step_wp },
	{ 108, "clear_refs, smaps, numa_maps", .step = step_proc },
	{ 109, "soft offline", .flags = W_FAULTS, .step = step_offline },
	{ 110, "SIGKILL and process_mrelease", .run = kill_run },
	{ 111, "NUMA balancing", .step = step_numa },
	{ 112, "a secondary MMU", .lacks = "CONFIG_TEST_HMM, or KVM inside the machine" },
};

#define NROWS	(sizeof(rows) / sizeof(*rows))

static void say(char *to, size_t size, const char *fmt, va_list ap)
{
	static int said;

	/* The first one counts; the others are sent to sleep until the process ends. */
	if (__atomic_exchange_n(&said, 1, __ATOMIC_SEQ_CST))
		for (;;)
			pause();
	vsnprintf(to, size, fmt, ap);
	knobs_restore();
	_exit(1);
}

void wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(round_now->wrong, sizeof(round_now->wrong), fmt, ap);
	abort();
}

void lacks(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(round_now->lacks, sizeof(round_now->lacks), fmt, ap);
	abort();
}

static void row_run(const struct row *row)
{
	if (row->run)
		row->run();
	else
		shuttle_run(row->flags, row->step);
	knobs_restore();
}

/*
 * Row 110: the whole of a shuttle is killed in the middle, and its memory taken away by two at
 * once.  What goes wrong then, the kernel's log says.
 */
void kill_run(void)
{
	long end = now_ms() + round_now->ms;
	struct rnd r;

	rnd_seed(&r, round_now->seed);
	while (now_ms() < end) {
		pid_t pid = fork();
		int status, fd;

		if (!pid) {
			round_now->seed++;
			round_now->ms = 60000;
			shuttle_run(rnd_next(&r) % 2 ? W_HUGE : 0, step_pageout);
			_exit(0);
		}
		fd = syscall(SYS_pidfd_open, pid, 0);
		usleep(20000 + rnd_below(&r, 200000));
		kill(pid, SIGKILL);
		if (fd >= 0) {
			syscall(SYS_process_mrelease, fd, 0);
			close(fd);
		}
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status)) {
			if (round_now->wrong[0])
				_exit(1);
			wrong("a child ended by itself, status %x", status);
		}
		round_now->against++;
		rnd_next(&r);
	}
}

/* Where every thread of a round that hangs is. */
static void show_stacks(pid_t pid)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "for t in /proc/%d/task/*; do cat $t/comm $t/wchan $t/stack; echo; done"
		 " 2>/dev/null | sed 's/^/# /'", pid);
	fflush(stdout);
	if (system(command))
		puts("# no stacks");
}

/* "" or the first bad line of the kernel's log since the last look. */
static const char *log_bad(int kmsg)
{
	static const char *const bad[] = {
		"WARNING:", "BUG:", "kernel BUG", "Bad rss", "Bad page", "bad: ", "non-zero pgtables",
		"KASAN", "KCSAN", "UBSAN", "Oops", "INFO: task", "INFO: rcu", "possible circular",
		"suspicious RCU", "inconsistent lock", "general protection", "soft lockup",
		"scheduling while atomic", "sleeping function", "list_del corruption",
	};
	static char found[300], line[8192];
	ssize_t n;
	size_t i;

	found[0] = 0;
	while (kmsg >= 0 && ((n = read(kmsg, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE))) {
		line[n > 0 ? n : 0] = 0;
		for (i = 0; i < sizeof(bad) / sizeof(*bad) && !found[0]; i++)
			if (strstr(line, bad[i])) {
				char *text = strchr(line, ';');

				text = text ? text + 1 : line;
				text[strcspn(text, "\n")] = 0;
				snprintf(found, sizeof(found), "%.250s", text);
			}
	}
	return found;
}

/* One round: how it ended. */
static const char *round_run(const struct row *row, int kmsg)
{
	static char text[500];
	long end = now_ms() + round_now->ms + late_ms;
	const char *log;
	int status = 0;
	pid_t pid, got;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		row_run(row);
		_exit(0);
	}
	setpgid(pid, pid);
	while (!(got = waitpid(pid, &status, WNOHANG)) && now_ms() < end)
		usleep(10000);
	if (!got) {
		show_stacks(pid);
		kill(-pid, SIGKILL);
		/* It may be unable to die. */
		for (end = now_ms() + 20000; !waitpid(pid, &status, WNOHANG) && now_ms() < end;)
			usleep(10000);
		return "it hangs";
	}
	log = log_bad(kmsg);
	if (round_now->wrong[0])
		snprintf(text, sizeof(text), "%s%s%s", round_now->wrong, log[0] ? "; kernel: " : "",
			 log);
	else if (log[0])
		snprintf(text, sizeof(text), "kernel: %s", log);
	else if (status && !round_now->lacks[0])
		snprintf(text, sizeof(text), "the round ended with status %x", status);
	else
		text[0] = 0;
	return text;
}

static bool row_rounds(const struct row *row, size_t n, long ms, long round_ms, unsigned int seed,
		       int kmsg)
{
	long end = now_ms() + ms, moves = 0, pages = 0, refused = 0, against = 0;
	unsigned int first = seed, rounds = 0;
	const char *bad = "";

	if (row->lacks) {
		printf("ok %zu - row %d: %s # SKIP %s\n", n, row->number, row->name, row->lacks);
		return true;
	}
	while (now_ms() < end && !bad[0]) {
		memset(round_now, 0, sizeof(*round_now));
		round_now->seed = seed;
		round_now->ms = round_ms < end - now_ms() ? round_ms : end - now_ms();
		bad = round_run(row, kmsg);
		if (round_now->lacks[0]) {
			printf("ok %zu - row %d: %s # SKIP %s\n", n, row->number, row->name,
			       round_now->lacks);
			return true;
		}
		moves += round_now->moves;
		pages += round_now->pages;
		refused += round_now->refused;
		against += round_now->against;
		rounds++;
		if (!bad[0])
			seed++;
	}
	/* A row in which nothing moved, or nobody was against it, has shown nothing. */
	if (!bad[0] && (!moves || (row->number != 98 && !pages) || (!against && row->step != step_none)))
		bad = "nothing happened";
	printf("%sok %zu - row %d: %s\n"
	       "# seed %u, %u rounds: %ld calls, %ld pages, %ld refused, %ld against\n",
	       bad[0] ? "not " : "", n, row->number, row->name, first, rounds, moves, pages,
	       refused, against);
	if (bad[0])
		printf("# seed %u: %s\n", seed, bad);
	fflush(stdout);
	return !bad[0];
}

int main(int argc, char **argv)
{
	long round_ms = 3000, seconds;
	size_t i, n = 0, planned = 0;
	unsigned int seed;
	bool ok = true;
	int opt, kmsg;

	while ((opt = getopt(argc, argv, "r:l:")) != -1)
		if (opt == 'r')
			round_ms = atol(optarg);
		else if (opt == 'l')
			late_ms = atol(optarg);
	if (argc - optind < 2) {
		fprintf(stderr, "usage: race [-r MS] [-l MS] ROW[,ROW]...|all SECONDS [SEED]\n");
		return 2;
	}
	seconds = atol(argv[optind + 1]);
	seed = argc - optind > 2 ? strtoul(argv[optind + 2], NULL, 0) : (unsigned int)time(NULL);
	round_now = mmap(NULL, sizeof(*round_now), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	for (int pass = 0; pass < 2; pass++) {
		for (i = 0; i < NROWS; i++) {
			char number[8], list[256];

			snprintf(number, sizeof(number), ",%d,", rows[i].number);
			snprintf(list, sizeof(list), ",%s,", argv[optind]);
			if (strcmp(argv[optind], "all") && !strstr(list, number))
				continue;
			if (!pass)
				planned++;
			else
				ok &= row_rounds(&rows[i], ++n, seconds * 1000, round_ms, seed, kmsg);
		}
		if (!pass)
			printf("TAP version 13\n1..%zu\n", planned);
		if (!planned) {
			fprintf(stderr, "race: no row %s\n", argv[optind]);
			return 2;
		}
	}
	return !ok;
}
