/* SPDX-License-Identifier: GPL-2.0-only */
/* deb-init: as the init of a machine, says whether its kernel can move a page, and ends it. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *move_a_page(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_move move = { 0 };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	size_t page = sysconf(_SC_PAGESIZE);
	char *mem = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0 || mem == MAP_FAILED)
		return "no userfaultfd";
	if (ioctl(fd, UFFDIO_API, &api) || !(api.features & UFFD_FEATURE_MOVE))
		return "no UFFD_FEATURE_MOVE";
	memset(mem, 0x5a, page);
	reg.range.start = (unsigned long)mem + page;
	reg.range.len = page;
	if (ioctl(fd, UFFDIO_REGISTER, &reg))
		return "no UFFDIO_REGISTER";
	move.dst = reg.range.start;
	move.src = (unsigned long)mem;
	move.len = page;
	if (ioctl(fd, UFFDIO_MOVE, &move) || move.move != (long long)page)
		return "UFFDIO_MOVE fails";
	for (size_t i = 0; i < page; i++)
		if (mem[page + i] != 0x5a || mem[i])
			return "wrong bytes";
	return "moved a page";
}

int main(void)
{
	struct utsname name;

	uname(&name);
	printf("\ndeb-init: %s\ndeb-init: %s\n", name.release, move_a_page());
	fflush(stdout);
	sync();
	reboot(RB_AUTOBOOT);
	return 1;
}
