/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * image: a source on a local pages file.
 *
 * Theory of operation
 * -------------------
 * fetch reads with pread(2): a read past the end is short, so no zero can slip in.  It serves
 * faults, one page or a few.  window lends a piece of a read-only mapping, so that the kernel
 * copies straight from the page cache into the target; it serves the drain.  A mapping has no
 * short reads: when the file shrinks, the rest of its last page reads as zeros and whole pages
 * beyond it fault (EFAULT for whoever copies out of it).  Hence verify: size and modification
 * time are compared with what they were at opening.
 *
 * The whole file is mapped once; moving a mapping would interrupt every CPU that the pager runs
 * on (measured: a sixth of the drain's time under faults).  Its resident pages are let go each time
 * RESIDENT_BYTES have been lent, so they stay bounded however large the image is.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kapi/pagecache.h"
#include "source/source.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define RESIDENT_BYTES (32ull << 20)

/* How far one thread's walk has come. */
struct walk {
	uint64_t next;		/* end of what was lent last */
	uint64_t present_to;	/* bytes up to here were made present */
};

struct source_image {
	struct source src;
	int fd;
	uint64_t size;
	pthread_mutex_t lock;		/* of mtime: a punch changes it */
	struct timespec mtime;
	char *map;			/* all of it; NULL when it is empty */
	_Atomic uint64_t lent;		/* bytes since resident pages were let go */
	struct walk lane[SOURCE_LANES];
};

static struct source_image *image_of(struct source *src)
{
	return (struct source_image *)src;
}

static int image_fetch(struct source *src, uint64_t off, void *buf, size_t len, bool nowait)
{
	struct source_image *img = image_of(src);
	size_t done = 0;

	if (off + len > img->size)
		return -ESTALE;
	while (done < len) {
		struct iovec iov = { (char *)buf + done, len - done };
		ssize_t n = preadv2(img->fd, &iov, 1, off + done, nowait ? RWF_NOWAIT : 0);

		if (n < 0 && errno == EINTR)
			continue;
		/* tmpfs knows no RWF_NOWAIT, but can tell what it has in memory. */
		if (n < 0 && nowait && errno == EOPNOTSUPP) {
			if (!pagecache_has(img->fd, off + done, len - done, NULL))
				return -EAGAIN;
			nowait = false;
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ESTALE;
		done += n;
	}
	return 0;
}

static int image_verify(struct source *src);

/*
 * Make a part of the file, whole pages, present in the page cache.  Where they are already, no
 * page is mapped: the kernel does that for 16 pages at a time while it copies, which costs less
 * than doing it beforehand (measured: 302 against 336 ms of CPU a GiB).
 */
static int image_present(struct source_image *img, uint64_t from, uint64_t len)
{
	if (pagecache_has(img->fd, from, len, img->map + from))
		return 0;
	/* EINVAL: a kernel before 5.14, which reads when it copies. */
	if (!madvise(img->map + from, len, MADV_POPULATE_READ) || errno != EFAULT)
		return 0;
	/* The file shrank, or the device failed: the first is for good. */
	return image_verify(&img->src) ? -ESTALE : -EIO;
}

static int image_window(struct source *src, unsigned int lane, uint64_t off, size_t len,
			const void **ptr)
{
	struct source_image *img = image_of(src);
	struct walk *w = &img->lane[lane];
	uint64_t end = off + len;

	if (end > img->size)
		return -ESTALE;
	if (off != w->next || end > w->present_to) {
		/* Ahead of a walk that goes on; a jump may not be the last, so no more than asked. */
		uint64_t to = off == w->next ? end + SOURCE_WINDOW_MAX : end;
		int ret;

		if (to > img->size)
			to = img->size;
		ret = image_present(img, off, to - off);
		if (ret)
			return ret;
		w->present_to = to;
	}
	w->next = end;
	img->lent += len;
	if (img->lent > RESIDENT_BYTES) {
		img->lent = 0;
		/* What the other lane is just copying from is mapped again when it is missed. */
		if (madvise(img->map, img->size, MADV_DONTNEED))
			return -errno;
	}
	*ptr = img->map + off;
	return 0;
}

static int image_verify(struct source *src)
{
	struct source_image *img = image_of(src);
	struct stat st;
	int ret = 0;

	pthread_mutex_lock(&img->lock);
	if (fstat(img->fd, &st))
		ret = -errno;
	else if ((uint64_t)st.st_size != img->size || st.st_mtim.tv_sec != img->mtime.tv_sec ||
		 st.st_mtim.tv_nsec != img->mtime.tv_nsec)
		ret = -ESTALE;
	pthread_mutex_unlock(&img->lock);
	return ret;
}

static int image_punch(struct source *src, uint64_t off, uint64_t len)
{
	struct source_image *img = image_of(src);
	struct stat st;
	int ret = 0;

	/* Under the lock: a verify in between would take our own change for somebody else's. */
	pthread_mutex_lock(&img->lock);
	if (fallocate(img->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len))
		ret = -errno;
	else if (fstat(img->fd, &st))
		ret = -errno;
	else
		img->mtime = st.st_mtim;
	pthread_mutex_unlock(&img->lock);
	return ret;
}

static int image_file(struct source *src)
{
	return image_of(src)->fd;
}

static void image_close(struct source *src)
{
	struct source_image *img = image_of(src);

	if (img->map)
		munmap(img->map, img->size);
	pthread_mutex_destroy(&img->lock);
	free(img);
}

static const struct source_ops image_ops = {
	.kind = "image",
	.fetch = image_fetch,
	.window = image_window,
	.verify = image_verify,
	.file = image_file,
	.punch = image_punch,
	.close = image_close,
};

struct source *source_image_open(int fd, uint64_t size_bytes)
{
	struct source_image *img;
	struct stat st;

	if (fstat(fd, &st))
		return NULL;
	if ((uint64_t)st.st_size != size_bytes) {
		errno = ESTALE;
		return NULL;
	}
	img = calloc(1, sizeof(*img));
	if (!img)
		return NULL;
	img->src.ops = &image_ops;
	img->fd = fd;
	img->size = size_bytes;
	img->mtime = st.st_mtim;
	pthread_mutex_init(&img->lock, NULL);
	if (size_bytes) {
		void *map = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, fd, 0);

		if (map == MAP_FAILED) {
			int err = errno;

			free(img);
			errno = err;
			return NULL;
		}
		img->map = map;
	}
	return &img->src;
}
