/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memcmp_image IMAGES ROOT-PID: is the memory of a restored tree what its images say?
 *
 * Theory of operation
 * -------------------
 * The tasks of pstree.img are looked up by their PID in the namespace of ROOT-PID.  They must be
 * stopped, and nobody may still owe them pages.  For every task all entries of its pagemap are
 * compared byte by byte with the pages file; entries that are in a parent directory are taken
 * from there.  Beyond that every page of a private anonymous VMA that no entry names must be
 * absent or all zeros.
 *
 * This is a reader of its own for the few records it needs, on purpose: an error in src/image
 * cannot hide here.
 *
 * Exempt are the vDSO's areas, which belong to the kernel, and the 32 bytes of each thread's
 * rseq area, which the kernel rewrites whenever the thread returns to user space; the tool asks
 * ptrace where that is, and prints how many exempt bytes differed.
 *
 * Exit status: 0 equal, 1 not, 2 the question could not be answered.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define MAGIC_COMMON 0x54564319
#define MAGIC_PSTREE 0x50273030
#define MAGIC_PAGEMAP 0x56084025
#define MAGIC_MM 0x57492820
#define PE_PARENT 1
#define PE_LAZY 2
#define PE_PRESENT 4
#define VMA_VSYSCALL (1 << 2)
#define VMA_VDSO (1 << 3)
#define VMA_ANON_PRIVATE (1 << 9)
#define VMA_VVAR (1 << 12)
#define VMA_GUARD (1 << 16)
#define MAX_REPORTS 8
#define MAX_THREADS 256
#define MAX_TASKS 256
#define MAX_LEVELS 16
#define RSEQ_SIZE 32

struct image {
	uint8_t *data;
	size_t size, at;
};

struct entry {
	uint64_t vaddr, npages, offset;
	uint32_t flags;
};

struct level {
	struct entry *e;
	size_t n;
	int pages_fd;
};

struct vma {
	uint64_t start, end;
	uint32_t status;
};

static struct {
	uint64_t bytes, wrong, exempt_bytes, zero_pages, tasks, zombies;
} total;
static uint64_t rseq[MAX_THREADS];
static unsigned int nrseq;

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *fmt, ...)
{
	va_list ap;

	fputs("memcmp_image: ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(2);
}

static bool image_read(const char *dir, const char *name, uint32_t magic, struct image *img)
{
	char path[PATH_MAX];
	uint32_t head[2];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	if (fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	img->size = st.st_size;
	img->data = malloc(img->size + 1);
	if (read(fd, img->data, img->size) != (ssize_t)img->size)
		die("%s: short read", path);
	close(fd);
	memcpy(head, img->data, sizeof(head));
	if (img->size < 8 || head[0] != MAGIC_COMMON || head[1] != magic)
		die("%s: magic", path);
	img->at = 8;
	return true;
}

/* Next record of an image. */
static bool record_next(struct image *img, struct image *rec)
{
	uint32_t size;

	if (img->at + 4 > img->size)
		return false;
	memcpy(&size, img->data + img->at, 4);
	img->at += 4;
	if (size > img->size - img->at)
		die("a record beyond the end of its file");
	*rec = (struct image){ img->data + img->at, size, 0 };
	img->at += size;
	return true;
}

static uint64_t varint(struct image *m)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; m->at < m->size && shift < 64; shift += 7) {
		uint8_t b = m->data[m->at++];

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	die("a number beyond the end of its record");
}

/* Next field of a message. Return: its number, 0 at the end; @sub is set for messages. */
static unsigned int field_next(struct image *m, uint64_t *value, struct image *sub)
{
	uint64_t key;

	if (m->at >= m->size)
		return 0;
	key = varint(m);
	*value = 0;
	switch (key & 7) {
	case 0:
		*value = varint(m);
		break;
	case 1:
		m->at += 8;
		break;
	case 5:
		m->at += 4;
		break;
	case 2:
		*value = varint(m);
		*sub = (struct image){ m->data + m->at, *value, 0 };
		m->at += *value;
		break;
	default:
		die("wire type %u", (unsigned int)(key & 7));
	}
	if (m->at > m->size)
		die("a field beyond the end of its record");
	return key >> 3;
}

static bool level_load(const char *dir, uint64_t id, struct level *lv)
{
	struct image img, rec, sub;
	uint64_t v, offset = 0, pages_id = 0;
	char name[64], path[PATH_MAX + 64];
	unsigned int f;
	size_t room = 0;

	snprintf(name, sizeof(name), "pagemap-%" PRIu64 ".img", id);
	memset(lv, 0, sizeof(*lv));
	lv->pages_fd = -1;
	if (!image_read(dir, name, MAGIC_PAGEMAP, &img))
		return false;
	if (!record_next(&img, &rec))
		return true;
	while ((f = field_next(&rec, &v, &sub)))
		if (f == 1)
			pages_id = v;
	snprintf(path, sizeof(path), "%s/pages-%" PRIu64 ".img", dir, pages_id);
	lv->pages_fd = open(path, O_RDONLY);
	while (record_next(&img, &rec)) {
		uint64_t old_count = 0, count = 0;
		bool has_flags = false, in_parent = false;
		struct entry e = { 0 };

		while ((f = field_next(&rec, &v, &sub))) {
			if (f == 1)
				e.vaddr = v;
			else if (f == 2)
				old_count = v;
			else if (f == 3)
				in_parent = v;
			else if (f == 4)
				e.flags = v, has_flags = true;
			else if (f == 5)
				count = v;
			else
				die("%s: unknown field %u", name, f);
		}
		e.npages = count ? count : old_count;
		if (!has_flags)
			e.flags = in_parent ? PE_PARENT : PE_PRESENT;
		e.offset = offset;
		if (e.flags & PE_PRESENT)
			offset += e.npages * PAGE;
		if (lv->n == room) {
			room = room ? room * 2 : 256;
			lv->e = realloc(lv->e, room * sizeof(*lv->e));
			if (!lv->e)
				die("memory");
		}
		lv->e[lv->n++] = e;
	}
	return true;
}

static const struct entry *level_find(const struct level *lv, uint64_t addr)
{
	size_t lo = 0, hi = lv->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct entry *e = &lv->e[mid];

		if (addr < e->vaddr)
			hi = mid;
		else if (addr >= e->vaddr + e->npages * PAGE)
			lo = mid + 1;
		else
			return e;
	}
	return NULL;
}

/* The bytes that the images have for the page at @addr. Return: false when they have none. */
static bool wanted_page(const struct level *lv, unsigned int nlevels, uint64_t addr, uint8_t *buf)
{
	for (unsigned int i = 0; i < nlevels; i++) {
		const struct entry *e = level_find(&lv[i], addr);

		if (!e || !(e->flags & (PE_PRESENT | PE_PARENT)))
			return false;
		if (!(e->flags & PE_PRESENT))
			continue;
		if (pread(lv[i].pages_fd, buf, PAGE, e->offset + (addr - e->vaddr)) != PAGE)
			die("pages file ends before the page of %#" PRIx64, addr);
		return true;
	}
	return false;
}

static bool exempt(uint64_t addr)
{
	for (unsigned int i = 0; i < nrseq; i++)
		if (addr >= rseq[i] && addr < rseq[i] + RSEQ_SIZE)
			return true;
	return false;
}

static void compare_page(int pid, uint64_t addr, const uint8_t *want, const uint8_t *found)
{
	if (!memcmp(want, found, PAGE))
		return;
	for (uint64_t i = 0; i < PAGE; i++) {
		if (want[i] == found[i])
			continue;
		if (exempt(addr + i)) {
			total.exempt_bytes++;
			continue;
		}
		if (total.wrong++ < MAX_REPORTS)
			printf("wrong: pid %d address %#" PRIx64 " wanted %02x found %02x\n", pid,
			       addr + i, want[i], found[i]);
	}
}

/* Where the threads' rseq areas are; needs a moment of ptrace. */
static void find_rseq(int pid)
{
	char path[64];
	struct dirent *d;
	DIR *dir;

	nrseq = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		struct { uint64_t ptr; uint32_t size, sig, flags, pad; } conf;
		int tid = atoi(d->d_name), status;

		if (tid < 1 || ptrace(PTRACE_SEIZE, tid, 0, 0))
			continue;
		ptrace(PTRACE_INTERRUPT, tid, 0, 0);
		if (waitpid(tid, &status, __WALL) == tid &&
		    ptrace(0x420f /* GET_RSEQ_CONFIGURATION */, tid, sizeof(conf), &conf) > 0 &&
		    conf.ptr && nrseq < MAX_THREADS)
			rseq[nrseq++] = conf.ptr;
		ptrace(PTRACE_DETACH, tid, 0, 0);
	}
	if (dir)
		closedir(dir);
}

static int cmp_vma(const void *a, const void *b)
{
	const struct vma *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static size_t load_vmas(const char *dir, uint64_t vpid, struct vma **out)
{
	struct image img, rec, sub;
	struct vma *vmas = NULL;
	char name[64];
	unsigned int f;
	uint64_t v;
	size_t n = 0;

	snprintf(name, sizeof(name), "mm-%" PRIu64 ".img", vpid);
	if (!image_read(dir, name, MAGIC_MM, &img) || !record_next(&img, &rec))
		die("%s: missing", name);
	while ((f = field_next(&rec, &v, &sub))) {
		struct image m = sub;
		struct vma vma = { 0 };

		if (f != 14)
			continue;
		while ((f = field_next(&m, &v, &sub))) {
			if (f == 1)
				vma.start = v;
			else if (f == 2)
				vma.end = v;
			else if (f == 7)
				vma.status = v;
		}
		if (vma.status & VMA_GUARD)
			continue;	/* stands for a part of another one */
		vmas = realloc(vmas, (n + 1) * sizeof(*vmas));
		vmas[n++] = vma;
	}
	qsort(vmas, n, sizeof(*vmas), cmp_vma);
	*out = vmas;
	return n;
}

static void compare_vma(int pid, const struct vma *vma, const struct level *lv,
			unsigned int nlevels, int mem_fd, int map_fd)
{
	uint8_t want[PAGE], found[PAGE];

	for (uint64_t addr = vma->start; addr < vma->end; addr += PAGE) {
		bool in_image = wanted_page(lv, nlevels, addr, want);

		if (!in_image) {
			uint64_t pm = 0;

			if (!(vma->status & VMA_ANON_PRIVATE))
				continue;
			if (pread(map_fd, &pm, 8, addr / PAGE * 8) != 8)
				die("pagemap of %d: %s", pid, strerror(errno));
			/* A guard page (bit 58) looks as if it were swapped out. */
			if (!(pm >> 62) || (pm >> 58 & 1))
				continue;
			memset(want, 0, PAGE);
			total.zero_pages++;
		}
		if (pread(mem_fd, found, PAGE, addr) != PAGE) {
			if (total.wrong++ < MAX_REPORTS)
				printf("wrong: pid %d address %#" PRIx64 " cannot be read: %s\n",
				       pid, addr, strerror(errno));
			continue;
		}
		total.bytes += PAGE;
		compare_page(pid, addr, want, found);
	}
}

static void compare_task(const char *images, uint64_t vpid, int pid)
{
	struct level lv[MAX_LEVELS];
	unsigned int nlevels = 0;
	char dir[PATH_MAX], path[64];
	struct vma *vmas;
	size_t nvmas;
	int mem_fd, map_fd;

	snprintf(dir, sizeof(dir), "%s", images);
	while (nlevels < MAX_LEVELS && level_load(dir, vpid, &lv[nlevels])) {
		nlevels++;
		if (strlen(dir) + 8 >= sizeof(dir))
			break;
		strcat(dir, "/parent");
	}
	if (!nlevels)
		die("pagemap-%" PRIu64 ".img: missing", vpid);
	nvmas = load_vmas(images, vpid, &vmas);
	find_rseq(pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem_fd = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	map_fd = open(path, O_RDONLY);
	if (mem_fd < 0 || map_fd < 0)
		die("memory of %d: %s", pid, strerror(errno));
	for (size_t i = 0; i < nvmas; i++)
		if (!(vmas[i].status & (VMA_VDSO | VMA_VVAR | VMA_VSYSCALL)))
			compare_vma(pid, &vmas[i], lv, nlevels, mem_fd, map_fd);
	close(mem_fd);
	close(map_fd);
	for (unsigned int i = 0; i < nlevels; i++) {
		close(lv[i].pages_fd);
		free(lv[i].e);
	}
	free(vmas);
	total.tasks++;
}

/* The real pid of the task that is @vpid in the PID namespace of @root. */
static int find_pid(int root, uint64_t vpid, char *state)
{
	char ns[64], want_ns[256] = "", path[300], line[512];
	struct dirent *d;
	ssize_t len;
	int pid = 0;
	DIR *dir;

	snprintf(ns, sizeof(ns), "/proc/%d/ns/pid", root);
	len = readlink(ns, want_ns, sizeof(want_ns) - 1);
	dir = opendir("/proc");
	while (len > 0 && dir && !pid && (d = readdir(dir))) {
		uint64_t last = 0;
		char st = '?', found_ns[256] = "";
		FILE *f;

		if (atoi(d->d_name) < 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/pid", d->d_name);
		len = readlink(path, found_ns, sizeof(found_ns) - 1);
		if (len > 0 && strcmp(found_ns, want_ns))
			continue;
		len = 1;
		snprintf(path, sizeof(path), "/proc/%s/status", d->d_name);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f)) {
			char *tab = strrchr(line, '\t');

			if (!strncmp(line, "State:", 6))
				sscanf(line + 6, " %c", &st);
			if (!strncmp(line, "NSpid:", 6) && tab)
				last = strtoul(tab, NULL, 10);
		}
		if (f)
			fclose(f);
		if (last == vpid) {
			pid = atoi(d->d_name);
			*state = st;
		}
	}
	if (dir)
		closedir(dir);
	return pid;
}

int main(int argc, char **argv)
{
	struct image img, rec, sub;
	uint64_t v;
	unsigned int f;

	if (argc != 3 || atoi(argv[2]) < 1) {
		fputs("usage: memcmp_image IMAGES ROOT-PID\n", stderr);
		return 2;
	}
	if (!image_read(argv[1], "pstree.img", MAGIC_PSTREE, &img))
		die("%s/pstree.img: missing", argv[1]);
	while (record_next(&img, &rec)) {
		uint64_t vpid = 0;
		char state = '?';
		int pid;

		while ((f = field_next(&rec, &v, &sub)))
			if (f == 1)
				vpid = v;
		pid = find_pid(atoi(argv[2]), vpid, &state);
		if (!pid)
			die("task %" PRIu64 " is not there", vpid);
		if (state == 'Z') {
			total.zombies++;
			continue;
		}
		if (state != 'T' && state != 't')
			die("task %" PRIu64 " is in state %c, not stopped", vpid, state);
		compare_task(argv[1], vpid, pid);
	}
	if (!total.tasks)
		die("no task to compare");
	printf("wrong=%" PRIu64 " bytes=%" PRIu64 " tasks=%" PRIu64 " zombies=%" PRIu64
	       " zero_pages=%" PRIu64 " exempt=%" PRIu64 "\n", total.wrong, total.bytes,
	       total.tasks, total.zombies, total.zero_pages, total.exempt_bytes);
	return total.wrong != 0;
}
