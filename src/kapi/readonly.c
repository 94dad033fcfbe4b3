/* SPDX-License-Identifier: GPL-2.0-only */
/* readonly: a descriptor that cannot become one for writing. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kapi/readonly.h"
#include "util/fd.h"

int readonly_reopen(int fd, int flags)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	char path[32];
	cleanup_fd int tree = syscall(SYS_open_tree, fd, "",
				      AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", tree);
	int ro = open(path, O_RDONLY | O_CLOEXEC | (flags & O_DIRECT));

	return ro < 0 ? -errno : ro;
}
