/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * readonly: a descriptor that cannot become one for writing.
 *
 * Whoever holds a descriptor finds its file in /proc/self/fd and may open it again, for writing too
 * if the file's permissions let him, however the descriptor itself was opened.  A mount that is
 * read-only does not: so the file is opened through one that is made for it alone, stands nowhere
 * in the tree, and goes when the descriptor does.
 */
#ifndef KAPI_READONLY_H
#define KAPI_READONLY_H

/*
 * readonly_reopen - open the file behind @fd anew, for reading, through a read-only mount.
 * Needs CAP_SYS_ADMIN, and the file must lie in our mount namespace.
 * @flags: 0 or O_DIRECT.
 * Return: a descriptor (close-on-exec), or -errno.
 */
int readonly_reopen(int fd, int flags);

#endif
