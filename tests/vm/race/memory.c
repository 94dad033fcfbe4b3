// SPDX-License-Identifier: GPL-2.0-only
/* Areas, pages whose contents are known, and what /proc says of them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "race.h"

uint32_t rnd_next(struct rnd *r)
{
	r->x ^= r->x << 13;
	r->x ^= r->x >> 7;
	r->x ^= r->x << 17;
	return (r->x * 0x2545f4914f6cdd1dULL) >> 32;
}

uint32_t rnd_below(struct rnd *r, uint32_t n)
{
	return ((uint64_t)rnd_next(r) * n) >> 32;
}

void rnd_seed(struct rnd *r, uint64_t seed)
{
	r->x = (seed + 1) * 0x9e3779b97f4a7c15ULL;
	rnd_next(r);
}

int uffd_new(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features | UFFD_FEATURE_MOVE };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		lacks("a kernel with UFFDIO_MOVE, and root");
	return uffd;
}

void uffd_add(int uffd, void *area, size_t len, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)area, .len = len },
		.mode = mode,
	};

	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		lacks("UFFDIO_REGISTER with mode %llu", (unsigned long long)mode);
}

int uffd_move(int uffd, void *dst, void *src, size_t len, uint64_t mode, int64_t *moved)
{
	struct uffdio_move arg = {
		.dst = (uintptr_t)dst,
		.src = (uintptr_t)src,
		.len = len,
		.mode = mode,
	};
	int ret = ioctl(uffd, UFFDIO_MOVE, &arg) ? -errno : 0;

	*moved = arg.move;
	/* The two always agree. */
	if (ret == 0 && arg.move != (int64_t)len)
		wrong("UFFDIO_MOVE: 0, but move = %lld of %zu", (long long)arg.move, len);
	if (ret == -EAGAIN && !(arg.move == -EAGAIN || (arg.move > 0 && arg.move < (int64_t)len)))
		wrong("UFFDIO_MOVE: EAGAIN, but move = %lld of %zu", (long long)arg.move, len);
	if (ret && ret != -EAGAIN && ret != -EBADF && ret != -EINVAL && arg.move != ret)
		wrong("UFFDIO_MOVE: %s, but move = %lld", strerror(-ret), (long long)arg.move);
	__atomic_add_fetch(&round_now->moves, 1, __ATOMIC_RELAXED);
	if (*moved > 0)
		__atomic_add_fetch(&round_now->pages, *moved / PAGE, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(&round_now->refused, 1, __ATOMIC_RELAXED);
	return ret;
}

void *area_new(size_t len, bool huge)
{
	char *room = mmap(NULL, len + 3 * HUGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *area = (char *)(((uintptr_t)room + 2 * HUGE - 1) & ~(HUGE - 1));

	if (room == MAP_FAILED ||
	    mmap(area, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		lacks("%zu bytes of memory", len);
	madvise(area, len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return area;
}

#define WORDS	(PAGE / sizeof(uint64_t))

static uint64_t word(uint64_t name, size_t i)
{
	return (name ^ (i << 52)) * 0x9e3779b97f4a7c15ULL;
}

/* The first word is the name itself; the others are checked against it. */
void page_fill(void *page, uint32_t number, uint32_t gen)
{
	uint64_t *w = page, name = (uint64_t)(number + 1) << 24 | (gen & 0xffffff);
	size_t i;

	w[0] = name;
	for (i = 1; i < WORDS; i++)
		w[i] = word(name, i);
}

bool page_is(const void *page, uint32_t number, uint32_t gen)
{
	const uint64_t *w = page;
	uint64_t name = (uint64_t)(number + 1) << 24 | (gen & 0xffffff);
	size_t i;

	if (w[0] != name)
		return false;
	for (i = 1; i < WORDS; i++)
		if (w[i] != word(name, i))
			return false;
	return true;
}

const char *page_tell(const void *page)
{
	static __thread char text[120];
	const uint64_t *w = page;
	size_t i, zeros = 0, right = 0;

	for (i = 0; i < WORDS; i++)
		zeros += !w[i];
	for (i = 1; i < WORDS; i++)
		right += w[i] == word(w[0], i);
	if (zeros == WORDS)
		return "zero";
	if (right == WORDS - 1)
		snprintf(text, sizeof(text), "page %llu of generation %llu",
			 (unsigned long long)(w[0] >> 24) - 1,
			 (unsigned long long)(w[0] & 0xffffff));
	else
		snprintf(text, sizeof(text), "torn: first word %llx, %zu words follow from it, %zu are zero",
			 (unsigned long long)w[0], right, zeros);
	return text;
}

void pages_there(const void *area, size_t npages, uint64_t *entries)
{
	static int fd = -1;
	ssize_t size = npages * sizeof(*entries);

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pread(fd, entries, size, (uintptr_t)area / PAGE * sizeof(*entries)) != size)
		wrong("/proc/self/pagemap cannot be read: %s", strerror(errno));
}

bool page_there(const void *page)
{
	uint64_t entry;

	pages_there(page, 1, &entry);
	return entry >> 62;
}

long smaps_sum(const void *start, size_t len, const char *field)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	bool inside = false;
	char line[512];
	long sum = 0;

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from >= (uintptr_t)start && to <= (uintptr_t)start + len;
		else if (inside && !strncmp(line, field, strlen(field)))
			sum += strtol(line + strlen(field), NULL, 10);
	}
	if (f)
		fclose(f);
	return sum;
}

long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool file_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	return n > 0;
}

long file_long(const char *path, long otherwise)
{
	char text[64];

	return file_read(path, text, sizeof(text)) ? strtol(text, NULL, 0) : otherwise;
}

bool file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

bool swap_is_on(void)
{
	char line[256];
	FILE *f = fopen("/proc/swaps", "re");
	bool on = f && fgets(line, sizeof(line), f) && fgets(line, sizeof(line), f);

	if (f)
		fclose(f);
	return on;
}

static struct knob {
	char path[128], was[128];
} knobs[16];
static int nknobs;

bool knob_set(const char *path, const char *text)
{
	struct knob *k = &knobs[nknobs];
	char *word;

	if (nknobs == 16 || !file_read(path, k->was, sizeof(k->was)) || !file_write(path, text))
		return false;
	/* One of several words: the chosen one is in brackets. */
	word = strchr(k->was, '[');
	if (word && strchr(word, ']')) {
		*strchr(word, ']') = 0;
		memmove(k->was, word + 1, strlen(word + 1) + 1);
	}
	snprintf(k->path, sizeof(k->path), "%s", path);
	nknobs++;
	return true;
}

void knobs_restore(void)
{
	while (nknobs > 0) {
		nknobs--;
		file_write(knobs[nknobs].path, knobs[nknobs].was);
	}
}
