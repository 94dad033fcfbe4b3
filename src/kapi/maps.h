/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * maps: the memory areas of a process, as /proc/PID/smaps tells them.
 *
 * A snapshot, and of one area after the other: a process that runs may have changed any of it by
 * the time that it is read.
 */
#ifndef KAPI_MAPS_H
#define KAPI_MAPS_H

#include <stdint.h>
#include <sys/types.h>

#define MAPS_READ (1u << 0)
#define MAPS_WRITE (1u << 1)
#define MAPS_EXEC (1u << 2)
#define MAPS_SHARED (1u << 3)
#define MAPS_FILE (1u << 4)	/* of a file; private /dev/zero is none, it is anonymous memory */
#define MAPS_SPECIAL (1u << 5)	/* the kernel's or a driver's: vdso, device memory */
#define MAPS_HUGETLB (1u << 6)
#define MAPS_LOCKED (1u << 7)	/* mlock(2) */
#define MAPS_SHADOW_STACK (1u << 8)
#define MAPS_UFFD (1u << 9)	/* registered with a userfaultfd, whosever it is */
#define MAPS_HUGE_WANTED (1u << 10)	/* MADV_HUGEPAGE */
#define MAPS_NO_HUGE (1u << 11)	/* MADV_NOHUGEPAGE */

#define MAPS_PROT (MAPS_READ | MAPS_WRITE | MAPS_EXEC)

struct maps_vma {
	uint64_t start, end;
	uint32_t flags;		/* MAPS_ */
	int pkey;		/* protection key, 0 where there are none */
	uint64_t resident_bytes;
	uint64_t huge_bytes;	/* of these, in transparent huge pages that are mapped whole */
	uint64_t swapped_bytes;
	char *name;		/* as in /proc/PID/maps; "" for memory without one */
};

struct maps {
	struct maps_vma *vma;	/* in ascending order */
	unsigned int n;
};

/*
 * maps_read - all areas of a process.
 * Return: 0 and *@out (maps_free() it), or -errno; -ESRCH also for one that has no memory any more.
 */
int maps_read(pid_t pid, struct maps *out) __attribute__((warn_unused_result));
void maps_free(struct maps *maps);

/* maps_find - the area that holds @addr, or NULL. */
const struct maps_vma *maps_find(const struct maps *maps, uint64_t addr);
/* maps_next - the first area that ends above @addr, or NULL. */
const struct maps_vma *maps_next(const struct maps *maps, uint64_t addr);

#endif
