/* SPDX-License-Identifier: GPL-2.0-only */
/* cgroup: in which group of a hierarchy this process is, and moving it. */
#ifndef KAPI_CGROUP_H
#define KAPI_CGROUP_H

/*
 * cgroup_open_home - the cgroup.procs file of the group that we are in, in the same hierarchy as
 * @dir (a directory below /sys/fs/cgroup, of version 1 or 2).
 * Return: a descriptor to be given to cgroup_enter(), or -errno (-EXDEV: @dir is in no hierarchy
 * that we are in).
 */
int cgroup_open_home(const char *dir);

/* cgroup_open - the cgroup.procs file of @dir. Return: a descriptor or -errno. */
int cgroup_open(const char *dir);

/* cgroup_enter - move this process into a group. Return: 0 or -errno. */
int cgroup_enter(int procs_fd);

#endif
