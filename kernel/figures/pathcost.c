// SPDX-License-Identifier: GPL-2.0-only
/*
 * pathcost: what the series costs where it is not asked for (fork, reclaim, mremap), and what its mover costs for
 * entries other than present pages. One line a case; the unit is in the key.
 *
 * Like movecost, for `qemu -icount`, where a nanosecond is an instruction. Needs swap on zram, a memory cgroup (v2) at
 * /sys/fs/cgroup/cost and, for the MOVE cases, a kernel with UFFDIO_MOVE. Linked static, run from an initramfs' /init.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)
#define MIB (1UL << 20)
#define GIB (1UL << 30)
#define ALLOW_HOLES 2

struct move_arg {
	__u64 dst, src, len, mode;
	__s64 move;
};
#define MOVE_IOCTL _IOWR(0xAA, 0x05, struct move_arg)

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static char *area(unsigned long size, int advice)
{
	char *p = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	p = (char *)(((unsigned long)p + HUGE - 1) & ~(HUGE - 1));
	madvise(p, size, advice);
	return p;
}

static void touch(char *p, unsigned long size)
{
	for (unsigned long i = 0; i < size; i += PAGE)
		p[i] = 1;
}

static void report(const char *name, double ns, unsigned long size)
{
	printf("%s per_page=%.1f\n", name, ns / (size / PAGE));
	fflush(stdout);
}

/* A line of /proc/self/status, in KiB. */
static long status_kib(const char *key)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kib = strtol(line + strlen(key) + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

static void fork_case(void)
{
	char *p = area(64 * MIB, MADV_NOHUGEPAGE);
	double t;
	pid_t pid;

	touch(p, 64 * MIB);
	t = now_ns();
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	report("FORK 64M", now_ns() - t, 64 * MIB);
	munmap(p, 64 * MIB);
}

static void mremap_case(const char *name, unsigned long step, int advice)
{
	char *src = area(64 * MIB, advice), *dst = area(64 * MIB, advice);
	double t;

	touch(src, 64 * MIB);
	t = now_ns();
	for (unsigned long off = 0; off < 64 * MIB; off += step)
		if (mremap(src + off, step, step, MREMAP_MAYMOVE | MREMAP_FIXED, dst + off) ==
		    MAP_FAILED)
			die("mremap");
	report(name, now_ns() - t, 64 * MIB);
	munmap(src, 64 * MIB);
	munmap(dst, 64 * MIB);
}

static int write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, text, strlen(text));
	close(fd);
	return ret < 0 ? -1 : 0;
}

/* Pages of equal bytes: zram stores them without compressing anything. */
static void reclaim_case(void)
{
	char *p = area(GIB, MADV_NOHUGEPAGE), text[32];
	pid_t pid = fork();
	double t;

	if (pid) {
		waitpid(pid, NULL, 0);
		munmap(p, GIB);
		return;
	}
	snprintf(text, sizeof(text), "%d", getpid());
	if (write_to("/sys/fs/cgroup/cost/cgroup.procs", text))
		die("cgroup.procs");
	memset(p, 5, GIB);
	t = now_ns();
	if (write_to("/sys/fs/cgroup/cost/memory.reclaim", "1000M"))
		die("memory.reclaim");
	report("RECLAIM 1000M of 1G", now_ns() - t, 1000 * MIB);
	_exit(0);
}

struct pair {
	char *src, *dst;
	unsigned long size;
	int fd;
};

static void pair_open(struct pair *c, unsigned long size, int advice)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };

	c->size = size;
	c->src = area(size, advice);
	c->dst = area(size, advice);
	c->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	reg.range.start = (unsigned long)c->dst;
	reg.range.len = size;
	if (ioctl(c->fd, UFFDIO_API, &api) || ioctl(c->fd, UFFDIO_REGISTER, &reg))
		die("userfaultfd");
}

static void pair_close(struct pair *c)
{
	munmap(c->src, c->size);
	munmap(c->dst, c->size);
	close(c->fd);
}

static double pair_move(struct pair *c, const char *name, unsigned long step, unsigned long mode)
{
	unsigned long off;
	double t = now_ns();

	for (off = 0; off < c->size; off += step) {
		struct move_arg m = {
			.dst = (unsigned long)c->dst + off,
			.src = (unsigned long)c->src + off,
			.len = step,
			.mode = mode,
		};

		if (ioctl(c->fd, MOVE_IOCTL, &m)) {
			printf("%s error=%s\n", name, strerror(errno));
			return 0;
		}
	}
	t = now_ns() - t;
	report(name, t, c->size);
	return t;
}

static void move_cases(void)
{
	struct pair c;
	double t;
	long pte;

	pair_open(&c, 64 * MIB, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < c.size; i += PAGE)
		*(volatile char *)(c.src + i);
	pair_move(&c, "MOVE zero pages, 2M a call", HUGE, 0);
	pair_close(&c);

	pair_open(&c, 64 * MIB, MADV_NOHUGEPAGE);
	memset(c.src, 5, c.size);
	if (madvise(c.src, c.size, MADV_PAGEOUT))
		die("MADV_PAGEOUT");
	if (status_kib("VmSwap:") < 60 * 1024)
		printf("MOVE swapped out: there is no swap\n");
	else
		pair_move(&c, "MOVE swapped out, 2M a call", HUGE, 0);
	pair_close(&c);

	pair_open(&c, 64 * MIB, MADV_HUGEPAGE);
	touch(c.src, c.size);
	/* A page table at the destination: the huge pages have to be split. */
	for (unsigned long i = 0; i < c.size; i += HUGE) {
		struct uffdio_zeropage z = { .range = { (unsigned long)c.dst + i, PAGE } };

		if (ioctl(c.fd, UFFDIO_ZEROPAGE, &z))
			die("UFFDIO_ZEROPAGE");
	}
	madvise(c.dst, c.size, MADV_DONTNEED);
	pair_move(&c, "MOVE huge pages that are split", HUGE, 0);
	pair_close(&c);

	pair_open(&c, 64 * GIB, MADV_NOHUGEPAGE);
	pte = status_kib("VmPTE:");
	t = pair_move(&c, "MOVE 64G of holes", c.size, ALLOW_HOLES);
	printf("MOVE 64G of holes call=%.0f page_tables_kib=%ld\n", t,
	       status_kib("VmPTE:") - pte);
	pair_close(&c);
}

int main(void)
{
	fork_case();
	mremap_case("MREMAP 64K pieces", 16 * PAGE, MADV_NOHUGEPAGE);
	mremap_case("MREMAP 4K pieces", PAGE, MADV_NOHUGEPAGE);
	mremap_case("MREMAP huge pieces", HUGE, MADV_HUGEPAGE);
	reclaim_case();
	move_cases();
	return 0;
}
