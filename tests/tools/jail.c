/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * jail DIR CMD...: start a command as first process of a new PID and mount namespace.
 *
 * DIR becomes the root (nothing of the old one stays mounted), with /proc on DIR/proc.  Standard
 * input, output and error are DIR/stdio, so that no descriptor leads out.  The command's pid, as
 * seen from here, is printed; the command is left to itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "jail: %s: %s\n", what, strerror(errno));
	_exit(125);
}

int main(int argc, char **argv)
{
	pid_t pid;

	if (argc < 3) {
		fputs("usage: jail DIR CMD...\n", stderr);
		return 2;
	}
	if (unshare(CLONE_NEWPID))
		die("unshare");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid) {
		printf("%d\n", pid);
		return 0;
	}
	if (setsid() < 0 || unshare(CLONE_NEWNS))
		die("unshare");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(argv[1], argv[1], NULL, MS_BIND, NULL) || chdir(argv[1]))
		die(argv[1]);
	mkdir("proc", 0755);
	if (mount("proc", "proc", "proc", 0, NULL))
		die("proc");
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		die("new root");
	syscall(SYS_close_range, 0, ~0U, 0);
	if (open("/stdio", O_RDWR | O_CREAT | O_APPEND, 0600) || dup(0) != 1 || dup(0) != 2)
		_exit(124);
	execv(argv[2], argv + 2);
	die(argv[2]);
}
