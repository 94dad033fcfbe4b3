// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the agent's orders do to pages: whole huge pages move as such, a slot that was split is of no
 * use for that until it is mapped anew, pages that a device or a ring holds are busy, and orders that
 * make no sense are refused without harm.  Beside it reads of the target's own go on: by io_uring into
 * pinned memory, and direct ones.
 */
#include <linux/io_uring.h>

#include "tests/agent/agent.h"

#define BLOCKS 4

static uint8_t *mem;		/* of the target: BLOCKS huge pages, aligned, never touched by the test */
static uint64_t page;
static int file;		/* BLOCKS huge pages of bytes */

static void busy(struct shared *sh, void *arg)
{
	(void)arg;
	sh->ready = 1;
	while (!sh->stop)
		sh->count++;
}

static uint64_t huge_kib(pid_t pid, uint64_t addr)
{
	char path[32], *text, key[32], *at;
	uint64_t kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	text = file_text(path);
	/* The area that begins there or holds it: find the last head at or below it. */
	for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		uint64_t from, to;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2 && from <= addr && addr < to) {
			at = strstr(line, "AnonHugePages:");
			if (at)
				sscanf(at, "%31s %" SCNu64, key, &kib);
			break;
		}
	}
	free(text);
	return kib;
}

static struct agent_answer stage(struct victim *v, uint64_t to, uint64_t from, uint64_t len)
{
	return order(v, (struct agent_order){ .op = AGENT_STAGE, .nranges = 1,
					      .range = { { to, from, len } } }, -1);
}

static struct agent_answer move(struct victim *v, uint64_t dst, uint64_t from, uint64_t len)
{
	return order(v, (struct agent_order){ .op = AGENT_MOVE, .nranges = 1,
					      .range = { { dst, from, len } } }, -1);
}

static uint64_t dst_of(unsigned int block)
{
	return (uint64_t)(uintptr_t)mem + block * (uint64_t)HUGE;
}

/* Bytes of the target that are not those of the file. */
static uint64_t wrong_words(pid_t pid, unsigned int block)
{
	uint64_t *got = malloc(HUGE), *want = malloc(HUGE), bad = 0;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (pread(fd, got, HUGE, (off_t)dst_of(block)) != HUGE ||
	    pread(file, want, HUGE, block * (off_t)HUGE) != HUGE)
		bad = 1;
	for (uint64_t i = 0; i < HUGE / 8; i++)
		bad += got[i] != want[i];
	close(fd);
	free(got);
	free(want);
	return bad;
}

static void start(struct victim *v)
{
	*v = victim_start(busy, NULL);
	if (place(v, NULL) || agent_register(v, dst_of(0), BLOCKS * (uint64_t)HUGE))
		bail("nothing to go on with");
	order(v, (struct agent_order){ .op = AGENT_FILE }, file);
}

static void finish(struct victim *v)
{
	is_i64(cure(v, NULL), 0, "the agent is taken out");
	is_i64(victim_stop(v), 0, "the target ends as it would have");
}

static void huge(void)
{
	struct victim v;
	struct agent_answer r;
	uint64_t whole;

	start(&v);
	r = stage(&v, 0, 0, HUGE);
	is_u64(r.done, HUGE, "a huge page is staged");
	whole = huge_kib(v.pid, v.rec.staging);
	if (whole != HUGE >> 10) {
		skip("huge pages", "the kernel gives none now (THP never, or memory is in pieces)");
		finish(&v);
		return;
	}
	r = move(&v, dst_of(0), 0, HUGE);
	is_i64(r.error, 0, "and moved");
	is_u64(huge_kib(v.pid, dst_of(0)), HUGE >> 10, "it is a huge page where it went");
	is_u64(wrong_words(v.pid, 0), 0, "with its bytes");
	/* A place with a page table: the page is split. */
	is_i64(stage(&v, v.rec.nslots * (uint64_t)HUGE, HUGE, page).error, 0, "one page is staged");
	is_i64(move(&v, dst_of(1), v.rec.nslots * (uint64_t)HUGE, page).error, 0,
	       "and moved to another block");
	is_u64(stage(&v, HUGE, HUGE, HUGE).done, HUGE, "the block is staged whole");
	r = move(&v, dst_of(1) + page, HUGE + page, HUGE - page);
	is_i64(r.error, 0, "and the rest of it moved");
	is_u64(huge_kib(v.pid, dst_of(0)), HUGE >> 10, "no second huge page came of that");
	is_u64(wrong_words(v.pid, 1), 0, "but all the bytes");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_FRESH, .slot = 1 }, -1).error, 0,
	       "the slot is mapped anew");
	is_u64(stage(&v, HUGE, 2 * (uint64_t)HUGE, HUGE).done, HUGE, "another block is staged there");
	is_u64(huge_kib(v.pid, v.rec.staging), HUGE >> 10, "in a huge page again");
	is_i64(move(&v, dst_of(2), HUGE, HUGE).error, 0, "and moved");
	is_u64(huge_kib(v.pid, dst_of(0)), 2 * HUGE >> 10, "as one");
	is_u64(wrong_words(v.pid, 2), 0, "with its bytes");
	finish(&v);
}

static void senseless(void)
{
	struct victim v = victim_start(busy, NULL);
	uint64_t all;
	struct agent_answer r;
	char junk[700] = "";

	if (place(&v, NULL))
		bail("nothing to go on with");
	all = v.rec.staging_len;
	is_i64(move(&v, dst_of(0), 0, page).error, -EBADF, "no uffd, no move");
	is_i64(stage(&v, 0, 0, page).error, -EBADF, "no file, no bytes");
	order(&v, (struct agent_order){ .op = AGENT_FILE }, file);
	is_i64(order(&v, (struct agent_order){ .op = AGENT_FILE, .file = AGENT_FILES }, file).error, -EINVAL,
	       "no file of a number that it does not have");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_UFFD }, -1).error, -EBADF, "no uffd without one");
	is_i64(stage(&v, all, 0, page).error, -EINVAL, "nothing behind the staging area");
	is_i64(stage(&v, all - page, 0, 2 * page).error, -EINVAL, "nor across its end");
	is_i64(stage(&v, (uint64_t)-1, 0, 2 * page).error, -EINVAL, "nor round the world");
	r = stage(&v, 0, BLOCKS * (uint64_t)HUGE - page, 4 * page);
	is_i64(r.error, 0, "the end of a file is no error");
	is_u64(r.done, page, "but short");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_FRESH, .slot = v.rec.nslots + 1 }, -1).error,
	       -EINVAL,
	       "no slot that is not there");
	is_i64(order(&v, (struct agent_order){ .op = 99 }, -1).error, -EINVAL,
	       "no order that it does not know");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_MAP }, -1).error, -EINVAL,
	       "none without its range");
	if (send(v.sock, junk, sizeof(junk), MSG_NOSIGNAL) != sizeof(junk))
		bail("send");
	is_i64(answer_take(&v, NULL).error, -EINVAL, "none that is too long");
	if (send(v.sock, junk, 3, MSG_NOSIGNAL) != 3)
		bail("send");
	is_i64(answer_take(&v, NULL).error, -EINVAL, "nor too short");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_HELLO, .nranges = AGENT_RANGES + 1 }, -1).error,
	       -EINVAL, "nor with more ranges than there can be");
	/* Memory of the target's, by order. */
	r = order(&v, (struct agent_order){ .op = AGENT_MAP, .flags = PROT_READ | PROT_WRITE, .nranges = 1,
					    .range = { { 0, 0, 3 * page } } }, -1);
	is_i64(r.error, 0, "it maps");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_MAP, .flags = PROT_READ, .nranges = 1,
					       .range = { { r.value, 0, page } } }, -1).error,
	       -EEXIST, "but not where something is");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_ADVISE, .flags = MADV_DONTNEED, .nranges = 1,
					       .range = { { r.value, 0, page } } }, -1).error, 0,
	       "it advises");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_UNMAP, .nranges = 1,
					       .range = { { r.value, 0, 3 * page } } }, -1).error, 0,
	       "it unmaps");
	/* One who comes later gets the channel. */
	close(v.sock);
	v.sock = inject_channel(&v.rec);
	ok(v.sock >= 0, "its channel can be had again");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1).error, 0, "and it answers");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_QUIT }, -1).error, 0, "told to, it ends");
	finish(&v);
}

/* ---- memory that the target has in use by others ---- */

struct ring {
	int fd;
	uint32_t *sq;
	struct io_uring_params p;
};

static bool ring_open(struct ring *r)
{
	memset(r, 0, sizeof(*r));
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
	return r->fd >= 0;
}

/* Pins its first two pages in a ring, reads from a pipe into the third by hand, and lives on. */
static void pins(struct shared *sh, void *arg)
{
	struct ring r;
	struct iovec iov = { mem, 2 * page };

	(void)arg;
	memset(mem, 1, 3 * page);
	sh->word[0] = 1;
	if (!ring_open(&r) || syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &iov, 1))
		sh->word[0] = 0;
	sh->ready = 1;
	while (!sh->stop) {
		if (sh->word[1]) {
			syscall(SYS_io_uring_register, r.fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
			sh->word[1] = 0;
		}
		sh->count++;
	}
}

static struct agent_answer move_addr(struct victim *v, uint64_t dst, uint64_t src, uint64_t len)
{
	return order(v, (struct agent_order){ .op = AGENT_MOVE_ADDR, .nranges = 1,
					      .range = { { dst, src, len } } }, -1);
}

static void pinned(void)
{
	struct victim v = victim_start(pins, NULL);
	struct agent_answer r;

	if (!v.sh->word[0]) {
		skip("pages that a ring holds", "no io_uring here");
		victim_kill(&v);
		return;
	}
	if (place(&v, NULL) || agent_register(&v, dst_of(1), HUGE))
		bail("nothing to go on with");
	r = move_addr(&v, dst_of(1), dst_of(0), 3 * page);
	is_i64(r.error, -EBUSY, "pages that a ring has pinned are busy");
	is_u64(r.done, 0, "none was moved");
	r = move_addr(&v, dst_of(1), dst_of(0) + 2 * page, page);
	is_i64(r.error, 0, "the one beside them is not");
	r = order(&v, (struct agent_order){ .op = AGENT_MOVE_ADDR, .nranges = 3,
					    .range = { { dst_of(1) + page, dst_of(0) + 5 * page, page },
						       { dst_of(1) + page, dst_of(0), page } } }, -1);
	is_i64(r.error, -ENOENT, "a hole is told from it");
	is_u64(r.at, 0, "by its number");
	v.sh->word[1] = 1;
	await(!v.sh->word[1]);
	/* Unpinned by the ring some time later. */
	do {
		r = move_addr(&v, dst_of(1) + page, dst_of(0), 2 * page);
	} while (r.error == -EBUSY);
	is_i64(r.error, 0, "let go they move");
	finish(&v);
}

/* Direct reads into one buffer without end, each compared. */
static void reads_directly(struct shared *sh, void *arg)
{
	int fd = *(int *)arg;

	sh->ready = 1;
	while (!sh->stop) {
		memset(mem, 0xff, 64 * page);
		if (pread(fd, mem, 64 * page, 0) != (ssize_t)(64 * page)) {
			sh->bad++;
			continue;
		}
		for (uint64_t i = 0; i < 64; i++)
			sh->bad += mem[i * page] != (uint8_t)(i + 1);
		sh->count++;
	}
}

static void direct(void)
{
	char path[] = "/var/tmp/agent-pages.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	uint8_t *buf = aligned_alloc(page, 64 * page);
	struct victim v;
	uint64_t count;

	memset(buf, 0, 64 * page);
	for (uint64_t i = 0; i < 64; i++)
		buf[i * page] = (uint8_t)(i + 1);
	if (fd < 0 || write(fd, buf, 64 * page) != (ssize_t)(64 * page))
		bail("a temporary file: %s", strerror(errno));
	close(fd);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	unlink(path);
	free(buf);
	if (fd < 0) {
		skip("direct reads", "the file system of /var/tmp has none");
		return;
	}
	v = victim_start(reads_directly, &fd);
	await(v.sh->count || v.sh->bad);
	if (v.sh->bad) {
		skip("direct reads", "the file system of /var/tmp has none");
		victim_kill(&v);
		close(fd);
		return;
	}
	for (int i = 0; i < 50; i++) {
		if (place(&v, NULL))
			bail("nothing to go on with");
		/* What is not moved for being busy, or for being of a block that is, is as well. */
		if (!agent_register(&v, dst_of(1), HUGE))
			move_addr(&v, dst_of(1), dst_of(0) + 70 * page, page);
		if (cure(&v, NULL))
			bail("nothing to go on with");
	}
	count = v.sh->count;
	await(v.sh->count != count);
	is_u64(v.sh->bad, 0, "direct reads of the target's go on through 50 rounds");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
	close(fd);
}

int main(void)
{
	uint64_t *words = malloc(HUGE);
	uint8_t *map = mmap(NULL, (BLOCKS + 1) * (size_t)HUGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	tap_timeout(55);
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	mem = (uint8_t *)(((uintptr_t)map + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	file = memfd_create("pages", MFD_CLOEXEC);
	for (uint64_t b = 0; b < BLOCKS; b++) {
		for (uint64_t i = 0; i < HUGE / 8; i++)
			words[i] = b << 32 | i;
		if (pwrite(file, words, HUGE, (off_t)(b * HUGE)) != HUGE)
			bail("memfd: %s", strerror(errno));
	}
	free(words);
	huge();
	senseless();
	pinned();
	direct();
	return tap_done();
}
