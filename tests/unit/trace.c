// SPDX-License-Identifier: GPL-2.0-only
/* trace: what is written is read back; of other images, damaged, cut short: refused by name. */
#include <errno.h>

#include "image/trace.h"
#include "tests/unit/image_writer.h"

#define BASE 0x7f0000000000ull
#define HUGE_BASE 0x7f0000200000ull

static struct image_error err;
static uint64_t page;

static struct range pages(uint64_t from, uint64_t to)
{
	return range_make(BASE + from * page, BASE + to * page);
}

static struct range blocks(uint64_t from, uint64_t to)
{
	return range_make(HUGE_BASE + from * TRACE_HUGE_BYTES, HUGE_BASE + to * TRACE_HUGE_BYTES);
}

/* An image set of two tasks and a zombie. */
static void put_images(int fd, uint64_t npages)
{
	static const uint32_t pids[] = { 7, 9, 12 };
	const struct iw_vma vma = { BASE, BASE + 4096 * page, IW_FLAGS_PRIVATE_ANON,
				    IW_STATUS_PRIVATE_ANON, 0 };
	struct iw_entry e = { BASE, npages, 6 };

	iw_set(fd, pids, 3);
	for (int i = 0; i < 2; i++) {
		iw_task_mm(fd, pids[i], &vma, 1);
		iw_task_pages(fd, pids[i], i + 1, &e, 1, IW_42);
		e.vaddr += page;
	}
}

static struct image_set *open_images(int fd)
{
	struct image_set *set;

	if (image_open(fd, false, &set, &err))
		bail("%s", err.text);
	return set;
}

static struct trace *load(int fd, struct image_set *set)
{
	struct trace *t = NULL;

	return trace_load(fd, TRACE_FILE, set, &t, &err) ? NULL : t;
}

struct flat {
	struct order_run run[64];
	unsigned int n;
};

static int flatten(const struct order_run *run, void *arg)
{
	struct flat *f = arg;

	if (f->n < 64)
		f->run[f->n++] = *run;
	return 0;
}

static bool run_is(const struct order *o, unsigned int index, struct range at, uint32_t count)
{
	struct flat f = { .n = 0 };

	if (o)
		order_for_each(o, flatten, &f);
	return index < f.n && f.run[index].at.start.v == at.start.v &&
	       f.run[index].at.end.v == at.end.v && f.run[index].count == count;
}

static struct trace *sample(void)
{
	struct trace *t = trace_new();

	trace_touch(t, 9, pages(100, 101), 1);
	trace_touch(t, 7, pages(50, 52), 1);
	trace_touch(t, 7, pages(3, 4), 2);
	trace_touch(t, 7, pages(49, 50), 1);
	trace_add_huge(t, 7, blocks(4, 9));
	trace_add_huge(t, 7, blocks(1, 2));
	trace_add_huge(t, 12, range_make(0, 0));
	trace_set_runs(t, 3);
	return t;
}

static void test_round_trip(int fd, struct image_set *set)
{
	struct trace *t = sample(), *u;

	ok(!trace_is_stamped(t), "a new trace is of no images");
	ok(!trace_stamp(t, set, &err) && trace_is_stamped(t), "it is stamped with some");
	ok(!trace_save(t, fd, TRACE_FILE, &err), "and written");
	trace_free(t);
	u = load(fd, set);
	ok(u, "it is read back: %s", u ? "yes" : err.text);
	if (!u)
		return;
	is_u64(trace_runs(u), 3, "the number of restores");
	is_u64(trace_ntasks(u), 3, "three tasks");
	is_u64(trace_vpid(u, 2), 12, "ascending");
	ok(run_is(trace_order(u, 7), 0, pages(50, 52), 1) &&
		   run_is(trace_order(u, 7), 1, pages(3, 4), 2) &&
		   run_is(trace_order(u, 7), 2, pages(49, 50), 1),
	   "the order of one");
	ok(run_is(trace_order(u, 9), 0, pages(100, 101), 1), "of another");
	ok(!trace_order(u, 12) && !trace_order(u, 8), "of the third nothing is known");
	is_i64(trace_was_huge(u, 7, HUGE_BASE + 8 * TRACE_HUGE_BYTES + 5), 1, "a huge block");
	is_i64(trace_was_huge(u, 7, HUGE_BASE + 9 * TRACE_HUGE_BYTES), 0, "one behind it");
	is_i64(trace_was_huge(u, 12, HUGE_BASE), 0, "a task without any");
	is_i64(trace_was_huge(u, 9, HUGE_BASE), -ENODATA, "a task that is not told about");
	is_i64(trace_was_huge(NULL, 9, HUGE_BASE), -ENODATA, "no trace at all");
	trace_free(u);
}

static void test_limits(void)
{
	struct trace *t = trace_new();
	uint64_t n = 0;

	is_i64(trace_add_huge(t, 1, pages(1, 3)), -EINVAL, "half a huge block is none");
	while (n < 2 * TRACE_RUNS_MAX && trace_touch(t, 1 + n % 3, pages(2 * n, 2 * n + 1), 1) > 0)
		n++;
	is_u64(n, TRACE_RUNS_MAX, "runs are bounded over all tasks");
	is_i64(trace_touch(t, 9, pages(1, 2), 1), -ENOSPC, "then it is full");
	trace_free(t);
}

static void test_large(int fd)
{
	struct trace *t = trace_new(), *u;
	const unsigned int n = 20000;
	bool good = true;

	/* More than one record, in both directions, to the end of the address space. */
	for (unsigned int i = 0; i < n; i++) {
		uint64_t at = i % 2 ? 3 * i : 200000 - 3 * i;

		trace_touch(t, 5, pages(at, at + 2), 1 + i % 3);
	}
	trace_touch(t, 5, range_make((1ull << 56) - page, 1ull << 56), 1);
	ok(!trace_save(t, fd, "large", &err), "a large one is written");
	ok(!trace_load(fd, "large", NULL, &u, &err), "and read");
	struct order_cursor a = { 0 }, b = { 0 };
	struct order_run x, y;

	while (order_take(trace_order(t, 5), &a, UINT64_MAX, &x))
		good &= order_take(trace_order(u, 5), &b, UINT64_MAX, &y) &&
			x.at.start.v == y.at.start.v && x.at.end.v == y.at.end.v &&
			x.count == y.count;
	ok(good && !order_take(trace_order(u, 5), &b, UINT64_MAX, &y), "run for run");
	trace_free(t);
	trace_free(u);
	unlinkat(fd, "large", 0);
}

static void test_merge(struct image_set *set, struct image_set *other)
{
	struct trace *a = sample(), *b = trace_new(), *c = trace_new();

	trace_touch(b, 7, pages(3, 5), 1);
	trace_add_huge(b, 7, blocks(0, 1));
	trace_touch(b, 8, pages(1, 2), 1);
	trace_set_runs(b, 1);
	ok(!trace_stamp(a, set, &err) && !trace_stamp(c, other, &err), "two of different images");
	is_i64(trace_merge(a, b), 0, "one of no images merges");
	is_u64(trace_runs(a), 4, "restores add up");
	ok(run_is(trace_order(a, 7), 0, pages(3, 4), 3), "what was touched first in one leads");
	ok(run_is(trace_order(a, 8), 0, pages(1, 2), 1), "a task that one did not know");
	is_i64(trace_was_huge(a, 7, HUGE_BASE), 1, "the newer hint counts");
	is_i64(trace_was_huge(a, 7, HUGE_BASE + TRACE_HUGE_BYTES), 0, "the older does not");
	is_i64(trace_was_huge(a, 12, HUGE_BASE), 0, "unless it is the only one");
	is_i64(trace_merge(a, c), -ESTALE, "one of other images does not merge");
	is_u64(trace_runs(a), 4, "and changes nothing");
	trace_free(a);
	trace_free(b);
	trace_free(c);
}

static bool refused(int fd, struct image_set *set, int code, const char *text)
{
	struct trace *t = NULL;
	int ret = trace_load(fd, TRACE_FILE, set, &t, &err);
	bool good = ret == code && strstr(err.text, text) && strstr(err.text, TRACE_FILE);

	if (!good)
		note("returned %d: %s", ret, ret ? err.text : "");
	if (!ret)
		trace_free(t);
	return good;
}

/* The images change in one way after another, and each time the trace is not of them. */
static void test_identity(int fd, struct image_set *set)
{
	struct iw_dir other = iw_mkdir();
	struct trace *t = sample();
	struct image_set *theirs;

	ok(!trace_stamp(t, set, &err) && !trace_save(t, other.fd, TRACE_FILE, &err),
	   "a trace goes to a copy of the images");
	trace_free(t);
	put_images(other.fd, 10);
	theirs = open_images(other.fd);
	t = load(other.fd, theirs);
	ok(t, "it is good there: %s", t ? "yes" : err.text);
	trace_free(t);
	image_close(theirs);

	put_images(other.fd, 11);
	theirs = open_images(other.fd);
	ok(refused(other.fd, theirs, -ESTALE, "pages-1.img"), "a longer pages file");
	image_close(theirs);

	put_images(other.fd, 10);
	iw_task_mm(other.fd, 9,
		   &(struct iw_vma){ BASE, BASE + 4097 * page, IW_FLAGS_PRIVATE_ANON,
				     IW_STATUS_PRIVATE_ANON, 0 }, 1);
	theirs = open_images(other.fd);
	ok(refused(other.fd, theirs, -ESTALE, "of other images"), "another VMA");
	image_close(theirs);

	put_images(other.fd, 10);
	struct iw_buf more = iw_pstree((const uint32_t[]){ 7, 9 }, 2);

	iw_finish(&more, other.fd, "pstree.img");
	theirs = open_images(other.fd);
	ok(refused(other.fd, theirs, -ESTALE, "of other images"), "a task less");
	image_close(theirs);
	iw_rmdir(&other);

	unlinkat(fd, TRACE_FILE, 0);
	ok(refused(fd, set, -ENOENT, "there is none"), "no trace");
	t = sample();
	trace_save(t, fd, TRACE_FILE, &err);
	trace_free(t);
	t = load(fd, set);
	ok(t && !trace_is_stamped(t), "one that is of no images yet goes with any");
	trace_free(t);
}

/* Each byte changed, each length but the full one: never read, never anything worse. */
static void test_damage(int fd)
{
	struct trace *t = sample();
	uint8_t raw[4096];
	unsigned int read_changed = 0, read_cut = 0;

	trace_save(t, fd, TRACE_FILE, &err);
	trace_free(t);
	int in = openat(fd, TRACE_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(in, raw, sizeof(raw));

	close(in);
	for (ssize_t i = 0; i < len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			raw[i] ^= 1 << bit;
			iw_write(fd, TRACE_FILE, raw, len);
			t = load(fd, NULL);
			read_changed += !!t;
			trace_free(t);
			raw[i] ^= 1 << bit;
		}
		iw_write(fd, TRACE_FILE, raw, i);
		t = load(fd, NULL);
		read_cut += !!t;
		trace_free(t);
	}
	is_u64(read_changed, 0, "with any of %zd bits changed it is refused", 8 * len);
	is_u64(read_cut, 0, "cut at any of %zd places as well", len);
	ok(refused(fd, NULL, -EBADMSG, "byte"), "by name and place");
	iw_write(fd, TRACE_FILE, raw, len);
	in = openat(fd, TRACE_FILE, O_WRONLY | O_CLOEXEC);
	if (ftruncate(in, 1ll << 32))
		bail("cannot make a large file");
	close(in);
	ok(refused(fd, NULL, -EBADMSG, "more than a trace has"), "nor is a huge file read through");
	iw_write(fd, TRACE_FILE, raw, len);
	t = load(fd, NULL);
	ok(t, "as it was it is read");
	trace_free(t);
}

int main(void)
{
	struct iw_dir dir, other;
	struct image_set *set, *theirs;

	tap_timeout(120);
	page = sysconf(_SC_PAGESIZE);
	dir = iw_mkdir();
	other = iw_mkdir();
	put_images(dir.fd, 10);
	put_images(other.fd, 12);
	set = open_images(dir.fd);
	theirs = open_images(other.fd);
	test_round_trip(dir.fd, set);
	test_limits();
	test_large(dir.fd);
	test_merge(set, theirs);
	test_identity(dir.fd, set);
	test_damage(dir.fd);
	image_close(set);
	image_close(theirs);
	iw_rmdir(&dir);
	iw_rmdir(&other);
	return tap_done();
}
