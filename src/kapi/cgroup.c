/* SPDX-License-Identifier: GPL-2.0-only */
/* cgroup: in which group of a hierarchy this process is, and moving it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kapi/cgroup.h"
#include "util/fd.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

int cgroup_open(const char *dir)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/cgroup.procs", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Is @dir below the mount point of the hierarchy with these controllers ("" for version 2)? */
static int cgroup_below(const char *dir, const char *controllers, char *mount, size_t size)
{
	static const char *const v2[] = { CGROUP_ROOT "/unified", CGROUP_ROOT };

	for (int i = 0; i < 2; i++) {
		if (*controllers)
			snprintf(mount, size, CGROUP_ROOT "/%s", controllers);
		else
			snprintf(mount, size, "%s", v2[i]);
		size_t len = strlen(mount);

		if (!strncmp(dir, mount, len) && (dir[len] == '/' || !dir[len]))
			return 1;
	}
	return 0;
}

int cgroup_open_home(const char *dir)
{
	char real[PATH_MAX], mount[PATH_MAX], home[2 * PATH_MAX];
	cleanup_free char *text = NULL;
	cleanup_fd int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	char *save = NULL;
	int ret;

	if (fd < 0 || !realpath(dir, real))
		return -errno;
	ret = fd_slurp(fd, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	/* "number:controllers:path"; version 2 stands last and has no controllers. */
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *controllers = strchr(line, ':');
		char *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = '\0';
		controllers++;
		if (!strncmp(controllers, "name=", 5))
			controllers += 5;
		if (!cgroup_below(real, controllers, mount, sizeof(mount)))
			continue;
		snprintf(home, sizeof(home), "%s%s", mount, path);
		return cgroup_open(home);
	}
	return -EXDEV;
}

int cgroup_enter(int procs_fd)
{
	return fd_write_full(procs_fd, "0", 1);
}
