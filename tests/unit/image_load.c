// SPDX-License-Identifier: GPL-2.0-only
/* What is owed, for sets that are small enough to write the answer down. */
#include <errno.h>

#include "image/image.h"
#include "tests/unit/image_writer.h"

#define BASE 0x7f0000000000ull
#define PIECES_MAX 64

static uint64_t page;

struct seen {
	struct extent_view piece[PIECES_MAX];
	uint32_t npieces;
	struct range vma[PIECES_MAX];
	uint64_t madv[PIECES_MAX];
	uint32_t nvmas;
	uint32_t late;	     /* VMAs that came after a piece */
	uint32_t stop_after; /* emit fails then; 0: never */
};

static int on_vma(struct range at, uint64_t madv, void *arg)
{
	struct seen *s = arg;

	if (s->npieces)
		s->late++;
	if (s->nvmas < PIECES_MAX) {
		s->vma[s->nvmas] = at;
		s->madv[s->nvmas++] = madv;
	}
	return 0;
}

static int on_piece(const struct extent_view *piece, void *arg)
{
	struct seen *s = arg;

	if (s->npieces < PIECES_MAX)
		s->piece[s->npieces++] = *piece;
	return s->stop_after && s->npieces >= s->stop_after ? -ENOSPC : 0;
}

static uint64_t pg(uint64_t n)
{
	return BASE + n * page;
}

static struct iw_vma anon(uint64_t from, uint64_t to)
{
	return (struct iw_vma){ pg(from), pg(to), IW_FLAGS_PRIVATE_ANON, IW_STATUS_PRIVATE_ANON,
				0 };
}

/* One piece: pages [from, to) at page @off of source @src. */
static void is_piece(const struct seen *s, uint32_t i, uint64_t from, uint64_t to, uint32_t src,
		     uint64_t off)
{
	const struct extent_view *p = &s->piece[i];

	if (i >= s->npieces) {
		ok(false, "piece %u is there", i);
		return;
	}
	ok(p->at.start.v == pg(from) && p->at.end.v == pg(to) && p->source == src &&
		   p->offset == off * page,
	   "piece %u: pages %" PRIu64 "-%" PRIu64 " from %u:%" PRIu64, i, from, to, src, off);
	if (p->at.start.v != pg(from) || p->at.end.v != pg(to) || p->source != src ||
	    p->offset != off * page)
		note("got pages %" PRId64 "-%" PRId64 " from %u:%" PRIu64,
		     (int64_t)(p->at.start.v - BASE) / (int64_t)page,
		     (int64_t)(p->at.end.v - BASE) / (int64_t)page, p->source, p->offset / page);
}

static struct image_set *open_set(int dir_fd, bool rdwr)
{
	struct image_error err = { "" };
	struct image_set *set = NULL;

	if (!is_i64(image_open(dir_fd, rdwr, &set, &err), 0, "the set opens"))
		bail("%s", err.text);
	return set;
}

static void load(struct image_set *set, uint32_t vpid, struct seen *s)
{
	struct image_error err = { "" };

	*s = (struct seen){ 0 };
	if (!is_i64(image_load_task(set, vpid, on_vma, on_piece, s, &err), 0, "task %u loads",
		    vpid))
		note("%s", err.text);
	is_u64(s->late, 0, "all VMAs come before the first piece");
}

static void test_styles(void)
{
	const struct iw_vma vmas[] = { anon(0, 8), anon(8, 16), anon(20, 30) };
	const struct iw_entry entries[] = {
		{ pg(1), 3, 6 }, { pg(4), 1, 4 },  { pg(5), 1, 6 },  { pg(6), 1, 6 },
		{ pg(7), 3, 6 }, { pg(20), 1, 1 }, { pg(21), 2, 6 }, { pg(25), 1, 6 },
	};
	const uint32_t pids[] = { 1, 9, 4 };

	for (enum iw_style style = IW_317; style < IW_STYLES; style++) {
		struct iw_dir d = iw_mkdir();
		struct image_set *set;
		struct seen s;

		iw_set(d.fd, pids, 3);
		iw_task_mm(d.fd, 9, vmas, 3);
		iw_task_pages(d.fd, 9, 5, entries, 8, style);
		set = open_set(d.fd, false);
		is_u64(image_ntasks(set), 3, "tasks without images are counted");
		ok(image_has_task(set, 1) && image_has_task(set, 4) && image_has_task(set, 9),
		   "all tasks are known");
		ok(!image_has_task(set, 0) && !image_has_task(set, 5) && !image_has_task(set, 10),
		   "no others are");
		load(set, 9, &s);
		is_u64(s.nvmas, 3, "three VMAs");
		is_u64(s.npieces, 5, "five pieces");
		is_piece(&s, 0, 1, 4, 0, 0);
		is_piece(&s, 1, 5, 8, 0, 4); /* joined, up to the border of the VMA */
		is_piece(&s, 2, 8, 10, 0, 7);
		is_piece(&s, 3, 21, 23, 0, 9); /* the page in the parent takes no room here */
		is_piece(&s, 4, 25, 26, 0, 11);
		is_u64(image_nsources(set), 1, "one source");
		ok(!strcmp(image_source_get(set, 0)->name, "pages-5.img"), "it has its name");
		is_u64(image_source_get(set, 0)->size_bytes, 12 * page, "it has its size");
		ok(!image_source_get(set, 1), "there is no second");
		image_close(set);
		iw_rmdir(&d);
	}
}

/* Before there were flags: nothing was ever lazy. */
static void test_no_flags(void)
{
	const struct iw_vma vmas[] = { anon(0, 8) };
	const struct iw_entry entries[] = { { pg(1), 3, 4 }, { pg(5), 1, 1 } };
	const uint32_t pids[] = { 9 };
	struct iw_dir d = iw_mkdir();
	struct image_set *set;
	struct seen s;

	iw_set(d.fd, pids, 1);
	iw_task_mm(d.fd, 9, vmas, 1);
	iw_task_pages(d.fd, 9, 5, entries, 2, IW_OLD);
	set = open_set(d.fd, false);
	load(set, 9, &s);
	is_u64(s.npieces, 0, "entries without flags are eager");
	is_u64(image_nsources(set), 0, "no source is opened for them");
	image_close(set);
	iw_rmdir(&d);
}

static void test_vma_kinds(void)
{
	const struct iw_vma vmas[] = {
		{ pg(0), pg(1), 0x22, 1 << 9 | 1, 1 << 18 },	  /* WIPEONFORK */
		{ pg(1), pg(2), 0x2022, 1 << 9 | 1, 0 },	  /* locked */
		{ pg(2), pg(3), 0x40022, 1 << 9 | 1, 0 },	  /* hugetlb */
		{ pg(3), pg(4), 0x21, 1 << 8 | 1, 0 },		  /* shared */
		{ pg(4), pg(5), 0x02, 1 << 6 | 1, 0 },		  /* file */
		{ pg(5), pg(6), 0x28, 1, 0 },			  /* droppable */
		{ pg(6), pg(7), 0x122, 1 << 9 | 3, 0 },		  /* stack, grows down */
		{ pg(7), pg(8), 0x22, 1 << 12 | 1, 0 },		  /* vvar */
		{ pg(8), pg(9), 0x22, 1 << 3 | 1, 0 },		  /* vdso */
		{ pg(9), pg(10), 0x22, 1 << 15 | 1 << 9 | 1, 0 }, /* shadow stack */
		{ 0xffffffffff600000, 0xffffffffff601000, 0x22, 1 << 2 | 1, 0 }, /* vsyscall */
	};
	const struct iw_entry none[1] = { { 0 } };
	const uint32_t pids[] = { 9 };
	struct iw_dir d = iw_mkdir();
	struct image_set *set;
	struct seen s;

	iw_set(d.fd, pids, 1);
	iw_task_mm(d.fd, 9, vmas, page == 4096 ? 11 : 10);
	iw_task_pages(d.fd, 9, 5, none, 0, IW_42);
	set = open_set(d.fd, false);
	load(set, 9, &s);
	is_u64(s.nvmas, 3, "three of eleven kinds are lazy");
	ok(s.vma[0].start.v == pg(0) && s.madv[0] == 1 << 18, "the first, with its advice");
	ok(s.vma[1].start.v == pg(6) && !s.madv[1], "the stack");
	ok(s.vma[2].start.v == pg(9), "the shadow stack");
	image_close(set);
	iw_rmdir(&d);
}

static void test_guards(void)
{
	const struct iw_vma vmas[] = {
		anon(0, 20),
		anon(20, 40),
		{ pg(30), pg(35), 0x22, 1 << 16 | 1, 0 },
		{ pg(4), pg(6), 0x22, 1 << 16 | 1, 0 },
		{ pg(6), pg(8), 0x22, 1 << 16 | 1, 0 },
		{ pg(5), pg(7), 0x22, 1 << 16 | 1, 0 },
		{ pg(19), pg(21), 0x22, 1 << 16 | 1, 0 },
	};
	const struct iw_entry entries[] = {
		{ pg(0), 5, 6 },
		{ pg(7), 2, 6 },
		{ pg(18), 4, 6 },
		{ pg(28), 12, 6 },
	};
	const uint32_t pids[] = { 9 };
	struct iw_dir d = iw_mkdir();
	struct image_set *set;
	struct seen s;

	iw_set(d.fd, pids, 1);
	iw_task_mm(d.fd, 9, vmas, 7);
	iw_task_pages(d.fd, 9, 5, entries, 4, IW_42);
	set = open_set(d.fd, false);
	load(set, 9, &s);
	is_u64(s.nvmas, 2, "guards are no VMAs");
	is_u64(s.npieces, 6, "six pieces around the guards");
	is_piece(&s, 0, 0, 4, 0, 0);
	is_piece(&s, 1, 8, 9, 0, 6);
	is_piece(&s, 2, 18, 19, 0, 7);
	is_piece(&s, 3, 21, 22, 0, 10);
	is_piece(&s, 4, 28, 30, 0, 11);
	is_piece(&s, 5, 35, 40, 0, 18);
	image_close(set);
	iw_rmdir(&d);
}

/* Three directories: the middle one has some of what the first lacks, the last has the rest. */
static void make_chain(struct iw_dir *d, int fd[3], bool absolute)
{
	const uint32_t pids[] = { 9 };
	const struct iw_vma vmas[] = { anon(0, 12), anon(12, 40) };
	const struct iw_entry top[] = {
		{ pg(0), 2, 6 },
		{ pg(2), 18, 3 },
		{ pg(20), 1, 1 },
		{ pg(21), 1, 6 },
	};
	const struct iw_entry mid[] = {
		{ pg(1), 4, 4 },  { pg(5), 2, 6 },   { pg(7), 7, 1 },
		{ pg(14), 1, 3 }, { pg(15), 20, 6 },
	};
	const struct iw_entry low[] = { { pg(0), 9, 4 }, { pg(9), 20, 6 } };
	char target[128] = "../1";

	fd[0] = iw_subdir(d->fd, "0");
	fd[1] = iw_subdir(d->fd, "1");
	fd[2] = iw_subdir(d->fd, "2");
	iw_set(fd[0], pids, 1);
	iw_task_mm(fd[0], 9, vmas, 2);
	iw_task_pages(fd[0], 9, 1, top, 4, IW_42);
	iw_task_pages(fd[1], 9, 1, mid, 5, IW_317);
	iw_task_pages(fd[2], 9, 70000, low, 2, IW_42);
	if (absolute)
		snprintf(target, sizeof(target), "%s/1", d->path);
	if (symlinkat(target, fd[0], "parent") || symlinkat("../2", fd[1], "parent"))
		bail("no symlinks");
}

static void test_parents(void)
{
	for (int absolute = 0; absolute < 2; absolute++) {
		struct iw_dir d = iw_mkdir();
		struct image_set *set;
		struct seen s;
		int fd[3];

		make_chain(&d, fd, absolute);
		set = open_set(fd[0], false);
		load(set, 9, &s);
		is_u64(s.npieces, 6, "six pieces");
		is_piece(&s, 0, 0, 2, 0, 0);
		is_piece(&s, 1, 2, 7, 1, 1); /* two entries of the middle, one after the other */
		is_piece(&s, 2, 7, 12, 2,
			 7); /* the last: two entries, up to the border of the VMA */
		is_piece(&s, 3, 12, 15, 2, 12);
		is_piece(&s, 4, 15, 20, 1, 6); /* page 20 is in the parent, and eager */
		is_piece(&s, 5, 21, 22, 0, 2);
		is_u64(image_nsources(set), 3, "three sources");
		ok(!strcmp(image_source_get(set, 0)->name, "pages-1.img"), "name of the first");
		ok(!strcmp(image_source_get(set, 1)->name, "parent/pages-1.img"), "of the second");
		ok(!strcmp(image_source_get(set, 2)->name, "parent/parent/pages-70000.img"),
		   "of the third");
		image_close(set);
		for (int i = 0; i < 3; i++)
			close(fd[i]);
		iw_rmdir(&d);
	}
}

/* A parent that nothing lazy needs is not looked at. */
static void test_parent_eager(void)
{
	const struct iw_vma vmas[] = { anon(0, 12) };
	const struct iw_entry top[] = { { pg(0), 2, 1 }, { pg(2), 2, 6 } };
	const uint32_t pids[] = { 9 };
	struct iw_dir d = iw_mkdir();
	struct image_set *set;
	struct seen s;

	iw_set(d.fd, pids, 1);
	iw_task_mm(d.fd, 9, vmas, 1);
	iw_task_pages(d.fd, 9, 1, top, 2, IW_317);
	if (symlinkat("../gone", d.fd, "parent"))
		bail("no symlinks");
	set = open_set(d.fd, false);
	load(set, 9, &s);
	is_u64(s.npieces, 1, "one piece");
	is_piece(&s, 0, 2, 4, 0, 0);
	image_close(set);
	iw_rmdir(&d);
}

/* 40 levels, each of which has one page and leaves the others to its parent. */
static void test_deep(void)
{
	enum { DEPTH = 40 };
	const struct iw_vma vmas[] = { anon(0, DEPTH + 1) };
	const uint32_t pids[] = { 9 };
	struct iw_dir d = iw_mkdir();
	struct image_set *set;
	struct seen s;
	int first = -1;

	for (uint32_t i = 0; i <= DEPTH; i++) {
		struct iw_entry e[2] = { { pg(i), 1, 6 }, { pg(i + 1), DEPTH - i, 3 } };
		char name[16], next[16];
		int fd;

		snprintf(name, sizeof(name), "%u", i);
		snprintf(next, sizeof(next), "../%u", i + 1);
		fd = iw_subdir(d.fd, name);
		iw_task_pages(fd, 9, 1, e, i < DEPTH ? 2 : 1, i % 2 ? IW_42 : IW_317);
		if (i < DEPTH && symlinkat(next, fd, "parent"))
			bail("no symlinks");
		if (i)
			close(fd);
		else
			first = fd;
	}
	iw_set(first, pids, 1);
	iw_task_mm(first, 9, vmas, 1);
	set = open_set(first, false);
	load(set, 9, &s);
	is_u64(s.npieces, DEPTH + 1, "a piece a level");
	for (uint32_t i = 0; i < s.npieces; i++)
		is_piece(&s, i, i, i + 1, i, 0);
	ok(strstr(image_source_get(set, DEPTH)->name, "40"), "the last source tells its level: %s",
	   image_source_get(set, DEPTH)->name);
	image_close(set);
	close(first);
	iw_rmdir(&d);
}

/* Counts that do not fit 31 or 32 bits of bytes, addresses near the ends. */
static void test_large(void)
{
	const uint64_t tib = 1ull << 40, npages = tib / page;
	const struct iw_vma vmas[] = {
		{ page, page + 4 * tib, 0x22, 1 << 9 | 1, 0 },
		{ (1ull << 47) - tib, (1ull << 47) - page, 0x22, 1 << 9 | 1, 0 },
		{ (1ull << 56) - tib, 1ull << 56, 0x22, 1 << 9 | 1, 0 },
	};
	const struct iw_entry entries[] = {
		{ page, npages, 6 },
		{ page + tib, (3ull << 30) / page, 6 },
		{ (1ull << 47) - 2 * page, 1, 6 },
		{ (1ull << 56) - page, 1, 6 },
	};
	const uint32_t pids[] = { 9 };

	for (enum iw_style style = IW_317; style < IW_STYLES; style++) {
		struct iw_dir d = iw_mkdir();
		struct image_set *set;
		struct seen s;

		iw_set(d.fd, pids, 1);
		iw_task_mm(d.fd, 9, vmas, 3);
		iw_task_pages(d.fd, 9, 1, entries, 4, style);
		set = open_set(d.fd, false);
		load(set, 9, &s);
		is_u64(s.npieces, 3, "three pieces");
		is_u64(range_len(s.piece[0].at), tib + (3ull << 30), "the first is beyond 1 TiB");
		is_u64(s.piece[1].offset, tib + (3ull << 30), "the second follows it in the file");
		is_u64(s.piece[2].at.end.v, 1ull << 56, "the third ends where addresses do");
		image_close(set);
		iw_rmdir(&d);
	}
	/* A run of more than 2^32 pages has room in field 5 only. */
	const struct iw_vma wide[] = { { page, (1ull << 56) - page, 0x22, 1 << 9 | 1, 0 } };
	const struct iw_entry run[] = { { page, (1ull << 32) + 5, 3 }, { 1ull << 50, 1, 6 } };
	const struct iw_entry below[] = { { page, (1ull << 32) - 1, 4 } };
	struct iw_dir d = iw_mkdir();
	struct image_error err = { "" };
	struct image_set *set;
	struct seen s = { 0 };
	int fd;

	iw_set(d.fd, pids, 1);
	iw_task_mm(d.fd, 9, wide, 1);
	iw_task_pages(d.fd, 9, 1, run, 2, IW_42);
	fd = iw_subdir(d.fd, "parent");
	iw_task_pages(fd, 9, 1, below, 1, IW_42);
	close(fd);
	set = open_set(d.fd, false);
	is_i64(image_load_task(set, 9, NULL, on_piece, &s, &err), -EBADMSG,
	       "six pages too few in the parent are found");
	ok(strstr(err.text, "parent/pagemap-9.img"), "and told: %s", err.text);
	image_close(set);
	iw_rmdir(&d);
}

/* Files are told apart by what they are, not by their names. */
static void test_sources(void)
{
	const struct iw_vma vmas[] = { anon(0, 40) };
	const struct iw_entry top[] = { { pg(0), 2, 6 } };
	const uint32_t pids[] = { 9, 10, 11 };
	struct iw_dir d = iw_mkdir();
	struct image_set *set;
	struct seen s;

	iw_set(d.fd, pids, 3);
	for (uint32_t i = 9; i < 12; i++) {
		iw_task_mm(d.fd, i, vmas, 1);
		iw_task_pages(d.fd, i, i, top, 1, IW_42);
	}
	unlinkat(d.fd, "pages-11.img", 0);
	if (linkat(d.fd, "pages-9.img", d.fd, "pages-11.img", 0))
		bail("no links");
	set = open_set(d.fd, true);
	load(set, 9, &s);
	is_piece(&s, 0, 0, 2, 0, 0);
	load(set, 10, &s);
	is_piece(&s, 0, 0, 2, 1, 0);
	load(set, 11, &s);
	is_piece(&s, 0, 0, 2, 0, 0);
	is_u64(image_nsources(set), 2, "the same file has one number");
	is_i64(fcntl(image_source_get(set, 1)->fd, F_GETFL) & O_ACCMODE, O_RDWR,
	       "sources are open for writing when that was asked for");
	ok(!(fcntl(image_source_get(set, 1)->fd, F_GETFL) & O_NONBLOCK), "and not non-blocking");
	image_close(set);
	set = open_set(d.fd, false);
	load(set, 9, &s);
	is_i64(fcntl(image_source_get(set, 0)->fd, F_GETFL) & O_ACCMODE, O_RDONLY,
	       "else for reading only");
	image_close(set);
	iw_rmdir(&d);
}

static void test_stop(void)
{
	const struct iw_vma vmas[] = { anon(0, 40) };
	const struct iw_entry top[] = { { pg(0), 2, 6 }, { pg(4), 2, 6 }, { pg(8), 2, 6 } };
	const uint32_t pids[] = { 9 };
	struct iw_dir d = iw_mkdir();
	struct image_error err = { "" };
	struct image_set *set;
	struct seen s = { .stop_after = 2 };

	iw_set(d.fd, pids, 1);
	iw_task_mm(d.fd, 9, vmas, 1);
	iw_task_pages(d.fd, 9, 1, top, 3, IW_42);
	set = open_set(d.fd, false);
	is_i64(image_load_task(set, 9, NULL, on_piece, &s, &err), -ENOSPC,
	       "what the caller returns comes back");
	is_u64(s.npieces, 2, "and ends the walk");
	ok(err.text[0], "with a text: %s", err.text);
	image_close(set);
	iw_rmdir(&d);
}

int main(void)
{
	tap_timeout(60);
	page = sysconf(_SC_PAGESIZE);
	test_styles();
	test_no_flags();
	test_vma_kinds();
	test_guards();
	test_parents();
	test_parent_eager();
	test_deep();
	test_large();
	test_sources();
	test_stop();
	return tap_done();
}
