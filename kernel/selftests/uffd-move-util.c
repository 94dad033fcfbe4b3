// SPDX-License-Identifier: GPL-2.0-only
/* What the UFFDIO_MOVE tests share: see uffd-move.h. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <time.h>
#include <sys/uio.h>
#include <linux/io_uring.h>
#include "uffd-move.h"

size_t page_size, huge_size;

static void __attribute__((constructor)) sizes_init(void)
{
	long huge = read_long("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");

	page_size = sysconf(_SC_PAGESIZE);
	huge_size = huge > 0 ? huge : 0;
}

/* For what a test cannot go on without, and that is not what it tests. */
static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# cannot set the test up: ");
	vprintf(fmt, ap);
	printf(": %s\n", strerror(errno));
	fflush(stdout);
	_exit(99);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- userfaultfd ---- */

int uffd_open(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), err;

	if (uffd < 0)
		return -errno;
	if (ioctl(uffd, UFFDIO_API, &api)) {
		err = errno;
		close(uffd);
		return -err;
	}
	return uffd;
}

bool uffd_is_mainline(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	int ret = ioctl(uffd, UFFDIO_API, &api);

	close(uffd);
	return !ret && (api.features & (7ULL << 13));
}

int uffd_register(int uffd, void *addr, size_t len, __u64 mode, __u64 *ioctls)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)addr, .len = len },
		.mode = mode,
	};

	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	if (ioctls)
		*ioctls = reg.ioctls;
	return 0;
}

int uffd_move(int uffd, void *dst, void *src, size_t len, __u64 mode, __s64 *moved)
{
	struct uffdio_move arg = {
		.dst = (uintptr_t)dst,
		.src = (uintptr_t)src,
		.len = len,
		.mode = mode,
	};
	int ret = ioctl(uffd, UFFDIO_MOVE, &arg) ? -errno : 0;

	if (moved)
		*moved = arg.move;
	return ret;
}

int uffd_copy(int uffd, void *dst, void *from, size_t len, __u64 mode)
{
	struct uffdio_copy arg = {
		.dst = (uintptr_t)dst,
		.src = (uintptr_t)from,
		.len = len,
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_COPY, &arg) ? -errno : 0;
}

int uffd_wake(int uffd, void *addr, size_t len)
{
	struct uffdio_range arg = { .start = (uintptr_t)addr, .len = len };

	return ioctl(uffd, UFFDIO_WAKE, &arg) ? -errno : 0;
}

int uffd_wp(int uffd, void *addr, size_t len, bool on)
{
	struct uffdio_writeprotect arg = {
		.range = { .start = (uintptr_t)addr, .len = len },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &arg) ? -errno : 0;
}

void *uffd_fault(int uffd, int ms)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&p, 1, ms) != 1 || read(uffd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT)
		return NULL;
	return (void *)(uintptr_t)(msg.arg.pagefault.address & ~(__u64)(page_size - 1));
}

/* ---- memory ---- */

static void *map_apart(size_t len, int advice)
{
	size_t align = huge_size ? huge_size : page_size / sizeof(void *) * page_size;
	char *room, *area;

	room = mmap(NULL, len + 3 * align, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		die("mmap of %zu bytes", len + 3 * align);
	area = (char *)(((uintptr_t)room + 2 * align - 1) & ~(align - 1));
	munmap(room, len + 3 * align);
	area = mmap(area, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (area == MAP_FAILED)
		die("mmap of %zu bytes", len);
	/* What malloc or a library maps next is not to end up in the hole. */
	if (mmap(area - page_size, page_size, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mmap(area + len + align / 2, page_size, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("mmap of a guard");
	/* Without THP there is neither advice. */
	madvise(area, len, advice);
	return area;
}

void *area_map(size_t len)
{
	return map_apart(len, MADV_NOHUGEPAGE);
}

void *area_map_huge(size_t len)
{
	return map_apart(len, MADV_HUGEPAGE);
}

void touch_read(const void *addr)
{
	__atomic_load_n((const char *)addr, __ATOMIC_RELAXED);
}

void touch_write(void *addr)
{
	__atomic_fetch_or((char *)addr, 0, __ATOMIC_RELAXED);
}

static __u64 word(unsigned int number, size_t i)
{
	return ((__u64)number << 32 | i) * 0x9e3779b97f4a7c15ULL;
}

void page_fill(void *page, unsigned int number)
{
	__u64 *w = page;
	size_t i;

	for (i = 0; i < page_size / sizeof(*w); i++)
		w[i] = word(number, i);
}

bool page_is(const void *page, unsigned int number)
{
	const __u64 *w = page;
	size_t i;

	for (i = 0; i < page_size / sizeof(*w); i++)
		if (w[i] != word(number, i))
			return false;
	return true;
}

bool page_is_zero(const void *page)
{
	const __u64 *w = page;
	size_t i;

	for (i = 0; i < page_size / sizeof(*w); i++)
		if (w[i])
			return false;
	return true;
}

void pages_fill(void *area, size_t npages, unsigned int first)
{
	size_t i;

	for (i = 0; i < npages; i++)
		page_fill((char *)area + i * page_size, first + i);
}

const char *pages_are(const void *area, size_t npages, unsigned int first)
{
	static char text[100];
	size_t i;

	for (i = 0; i < npages; i++) {
		const char *p = (const char *)area + i * page_size;

		if (page_is(p, first + i))
			continue;
		snprintf(text, sizeof(text), "page %zu is %s", i,
			 page_is_zero(p) ? "zero" : "something else");
		return text;
	}
	return "";
}

const char *move_ok(int uffd, void *dst, void *src, size_t npages, unsigned int first, __u64 mode)
{
	static char text[100];
	size_t len = npages * page_size;
	__s64 moved = 0;
	int ret = uffd_move(uffd, dst, src, len, mode, &moved);

	if (ret || moved != (__s64)len) {
		snprintf(text, sizeof(text), "UFFDIO_MOVE: %s, move = %lld of %zu", strerror(-ret),
			 (long long)moved, len);
		return text;
	}
	if (!pages_none(src, npages))
		return "a source page is still there";
	return pages_are(dst, npages, first);
}

/* ---- /proc ---- */

static __u64 entry_of(const char *path, __u64 index)
{
	__u64 entry = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), index * sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry;
}

__u64 pagemap_entry(const void *addr)
{
	return entry_of("/proc/self/pagemap", (uintptr_t)addr / page_size);
}

bool pages_none(const void *area, size_t npages)
{
	size_t i;

	for (i = 0; i < npages; i++)
		if (pagemap_entry((const char *)area + i * page_size) & (PM_PRESENT | PM_SWAP))
			return false;
	return true;
}

__u64 page_flags(const void *addr)
{
	__u64 entry = pagemap_entry(addr);

	if (!(entry & PM_PRESENT) || !PM_PFN(entry))
		return 0;
	return entry_of("/proc/kpageflags", PM_PFN(entry));
}

/* The number behind field in a file; with addr, of smaps' mapping that holds addr. */
static long field_of(const char *path, const char *field, const void *addr)
{
	FILE *f = fopen(path, "r");
	bool inside = !addr;
	long value = -1;
	char line[512];

	while (f && value < 0 && fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (addr && sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (uintptr_t)addr >= start && (uintptr_t)addr < end;
		else if (inside && !strncmp(line, field, strlen(field)))
			value = strtol(line + strlen(field), NULL, 10);
	}
	if (f)
		fclose(f);
	return value;
}

long status_kb(const char *field)
{
	return field_of("/proc/self/status", field, NULL);
}

long smaps_kb(const void *addr, const char *field)
{
	return field_of("/proc/self/smaps", field, addr);
}

long vmstat_of(const char *field)
{
	return field_of("/proc/vmstat", field, NULL);
}

bool swap_is_on(void)
{
	return field_of("/proc/meminfo", "SwapFree:", NULL) > 4096;
}

long read_long(const char *path)
{
	char text[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC), n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 ? strtol(text, NULL, 10) : -1;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int kmsg_mark(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

bool kmsg_has(int mark, const char *text)
{
	char line[8192];
	bool found = false;
	ssize_t n;

	/* EPIPE: lines were lost, reading goes on behind them. */
	while ((n = read(mark, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		line[n > 0 ? n : 0] = 0;
		if (strstr(line, text))
			found = true;
	}
	return found;
}

/* ---- threads and processes ---- */

static void *reader_main(void *arg)
{
	struct reader *r = arg;

	r->right = __atomic_load_n((const __u64 *)r->addr, __ATOMIC_RELAXED) == word(r->number, 0);
	__atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

void reader_start(struct reader *r, const char *addr, unsigned int number)
{
	r->addr = addr;
	r->number = number;
	r->done = 0;
	errno = pthread_create(&r->thread, NULL, reader_main, r);
	if (errno)
		die("pthread_create");
}

bool reader_done(struct reader *r, int ms)
{
	long end = now_ms() + ms;

	while (!__atomic_load_n(&r->done, __ATOMIC_ACQUIRE)) {
		if (now_ms() > end)
			return false;
		usleep(1000);
	}
	return true;
}

pid_t child_hold(void)
{
	int up[2];
	char c;
	pid_t pid;

	if (pipe(up))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		close(up[0]);
		close(up[1]);
		for (;;)
			pause();
	}
	close(up[1]);
	/* The end of the pipe: the child runs. */
	if (read(up[0], &c, 1))
		die("read");
	close(up[0]);
	return pid;
}

void child_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- swap and pins ---- */

static bool all_swapped(char *area, size_t npages)
{
	size_t i;

	for (i = 0; i < npages; i++)
		if (!(pagemap_entry(area + i * page_size) & PM_SWAP))
			return false;
	return true;
}

bool page_out(void *area, size_t npages)
{
	long end = now_ms() + WAIT_MS;

	/* A page that a CPU still has in its folio batch is passed over: again, then. */
	while (!all_swapped(area, npages)) {
		if (madvise(area, npages * page_size, MADV_PAGEOUT) && errno == EINVAL)
			return false;
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

int page_out_cached(void *area, size_t npages)
{
	struct iovec iov = { .iov_base = area, .iov_len = npages * page_size };
	int fds[2];

	/* A page with a reference is unmapped like any other but never leaves the swap cache. */
	if (pipe(fds) || fcntl(fds[1], F_SETPIPE_SZ, (int)iov.iov_len) < 0)
		die("a pipe for %zu pages", npages);
	if (vmsplice(fds[1], &iov, 1, 0) != (ssize_t)iov.iov_len)
		die("vmsplice");
	close(fds[1]);
	if (page_out(area, npages))
		return fds[0];
	close(fds[0]);
	return -1;
}

int pin_pages(void *area, size_t len)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { .iov_base = area, .iov_len = len };
	int ring = syscall(SYS_io_uring_setup, 1, &params), err;

	if (ring < 0)
		return -errno;
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1)) {
		err = errno;
		close(ring);
		return -err;
	}
	return ring;
}
