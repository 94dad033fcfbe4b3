/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter [--pid] [--net] [--bind SRC:DST]... ROOT [--] CMD...: run a command in another root.
 *
 * Theory of operation
 * -------------------
 * The command gets a mount namespace of its own: ROOT read-only (not what is mounted below it),
 * empty writable /tmp, /run, /mnt, /root, /var/tmp and /dev (null, zero, full, random, urandom,
 * tty, ptmx, pts, shm, and userfaultfd where the machine has it), the machine's /sys with its
 * cgroup hierarchies, and a /proc.  Binds are made after that; a DST below a writable directory
 * is created.  Nothing of the old root stays reachable: it is detached after pivot_root, and
 * every descriptor from 3 up is closed.
 *
 * With --pid the command lives in a PID namespace whose first process only reaps orphans and
 * waits for the command; when the command ends, or this program is killed, the kernel ends
 * everything in the namespace.  So a test that runs under --pid leaves no process behind, and
 * the PIDs of a dumped tree are free again when it is gone.  With --net it gets a network of its
 * own with the loopback device up.
 *
 * Exit status: the command's, 128 + signal when a signal ended it, 125 when the set-up failed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETUP_FAILED 125
#define MAX_BINDS 32

static struct {
	bool pid, net;
	const char *root;
	char *bind[MAX_BINDS];
	int nbinds;
	char **cmd;
} arg;

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	fputs("enter: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(err));
	_exit(SETUP_FAILED);
}

/* mkdir -p of a path relative to the current directory. */
static void make_dirs(const char *rel)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", rel);
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(path, 0755);
		*p = '/';
	}
	mkdir(path, 0755);
}

static void mount_tmpfs(const char *at, const char *data)
{
	if (mount("tmpfs", at, "tmpfs", MS_NOSUID, data))
		die("tmpfs on %s", at);
}

static void make_dev(void)
{
	static const struct {
		const char *name;
		int major, minor;
	} nodes[] = {
		{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 },
		{ "urandom", 1, 9 }, { "tty", 5, 0 },
	};
	struct stat st;
	char path[64];

	mount_tmpfs("dev", "mode=755");
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		snprintf(path, sizeof(path), "dev/%s", nodes[i].name);
		if (mknod(path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)))
			die("%s", path);
		chmod(path, 0666);
	}
	if (!stat("/dev/userfaultfd", &st) && S_ISCHR(st.st_mode) &&
	    mknod("dev/userfaultfd", S_IFCHR | 0600, st.st_rdev))
		die("dev/userfaultfd");
	mkdir("dev/pts", 0755);
	if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		  "newinstance,ptmxmode=0666,mode=620"))
		die("dev/pts");
	if (symlink("pts/ptmx", "dev/ptmx") || symlink("/proc/self/fd", "dev/fd"))
		die("dev links");
	mkdir("dev/shm", 01777);
	mount_tmpfs("dev/shm", "mode=1777");
}

static void make_binds(void)
{
	for (int i = 0; i < arg.nbinds; i++) {
		char *src = arg.bind[i], *dst = strchr(src, ':');
		struct stat st;

		if (!dst || dst[1] != '/') {
			errno = EINVAL;
			die("--bind %s: want SRC:/DST", src);
		}
		*dst++ = 0;
		if (stat(src, &st))
			die("--bind %s", src);
		dst++;	/* relative to the new root, which is the current directory */
		if (S_ISDIR(st.st_mode)) {
			make_dirs(dst);
		} else {
			char dir[PATH_MAX], *slash;

			snprintf(dir, sizeof(dir), "%s", dst);
			slash = strrchr(dir, '/');
			if (slash) {
				*slash = 0;
				make_dirs(dir);
			}
			close(open(dst, O_WRONLY | O_CREAT, 0644));
		}
		if (mount(src, dst, NULL, MS_BIND | MS_REC, NULL))
			die("bind of %s to /%s", src, dst);
	}
}

static void make_root(void)
{
	static const char *const writable[] = { "tmp", "run", "mnt", "root", "var/tmp" };
	char root[PATH_MAX];
	int ret;

	/* Sources may be relative, and /mnt is covered soon: resolve before. */
	for (int i = 0; i < arg.nbinds; i++) {
		char *colon = strchr(arg.bind[i], ':'), src[PATH_MAX], *both;

		if (!colon)
			continue;
		*colon = 0;
		if (!realpath(arg.bind[i], src))
			die("--bind %s", arg.bind[i]);
		if (asprintf(&both, "%s:%s", src, colon + 1) < 0)
			die("memory");
		arg.bind[i] = both;
	}
	if (!realpath(arg.root, root))
		die("%s", arg.root);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("private mounts");

	/*
	 * The new root must be a mount point that is no parent of what is still to be bound, so
	 * everything is gathered in a detached tree, entered by its descriptor.
	 */
	int fd = syscall(SYS_open_tree, AT_FDCWD, root, 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);

	if (fd < 0)
		die("clone of %s", root);
	if (syscall(SYS_move_mount, fd, "", AT_FDCWD, "/mnt", 4 /* F_EMPTY_PATH */))
		die("new root on /mnt");
	close(fd);
	if (chdir("/mnt"))
		die("/mnt");
	for (size_t i = 0; i < sizeof(writable) / sizeof(writable[0]); i++)
		mount_tmpfs(writable[i], strcmp(writable[i] + strlen(writable[i]) - 3, "tmp") ?
			    "mode=755" : "mode=1777");
	if (mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL))
		die("read-only root");
	make_dev();
	if (mount("/sys", "sys", NULL, MS_BIND | MS_REC, NULL))
		die("/sys");
	ret = arg.pid ? mount("proc", "proc", "proc", 0, NULL) :
			mount("/proc", "proc", NULL, MS_BIND | MS_REC, NULL);
	if (ret)
		die("/proc");
	make_binds();
	if (syscall(SYS_pivot_root, ".", "."))
		die("pivot_root");
	if (umount2(".", MNT_DETACH))
		die("detach of the old root");
	if (chdir("/"))
		die("/");
}

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		die("loopback");
	close(fd);
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

__attribute__((noreturn))
static void run_cmd(void)
{
	static char *const env_path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

	putenv(env_path);
	putenv("HOME=/root");
	setenv("TMPDIR", "/tmp", 1);
	execvp(arg.cmd[0], arg.cmd);
	fprintf(stderr, "enter: %s: %s\n", arg.cmd[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* First process of the PID namespace: wait for the command, reap whoever ends meanwhile. */
__attribute__((noreturn))
static void reap(pid_t cmd)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL)) >= 0 || errno == EINTR)
		if (pid == cmd)
			_exit(exit_status(status));
	die("lost the command");
}

static void usage(void)
{
	fputs("usage: enter [--pid] [--net] [--bind SRC:DST]... ROOT [--] CMD...\n", stderr);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "pid", no_argument, NULL, 'p' }, { "net", no_argument, NULL, 'n' },
		{ "bind", required_argument, NULL, 'b' }, { 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "+", opts, NULL)) != -1) {
		if (opt == 'p')
			arg.pid = true;
		else if (opt == 'n')
			arg.net = true;
		else if (opt == 'b' && arg.nbinds < MAX_BINDS)
			arg.bind[arg.nbinds++] = optarg;
		else
			usage();
	}
	if (argc - optind < 2)
		usage();
	arg.root = argv[optind++];
	if (!strcmp(argv[optind], "--"))
		optind++;
	arg.cmd = argv + optind;
	if (!*arg.cmd)
		usage();
}

int main(int argc, char **argv)
{
	int flags = CLONE_NEWNS, status, alive[2];
	pid_t child, cmd;

	parse(argc, argv);
	if (arg.pid)
		flags |= CLONE_NEWPID;
	if (arg.net)
		flags |= CLONE_NEWNET;
	if (syscall(SYS_close_range, 3, ~0U, 0) && errno != ENOSYS)
		die("close_range");
	if (pipe2(alive, O_CLOEXEC))
		die("pipe");
	if (unshare(flags))
		die("unshare");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		char c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(alive[1]);
		/* A parent that died before the line above shows as end of file. */
		fcntl(alive[0], F_SETFL, O_NONBLOCK);
		if (!read(alive[0], &c, 1))
			_exit(SETUP_FAILED);
		make_root();
		if (arg.net)
			loopback_up();
		if (!arg.pid)
			run_cmd();
		cmd = fork();
		if (cmd < 0)
			die("fork");
		if (cmd)
			reap(cmd);
		run_cmd();
	}
	close(alive[0]);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return exit_status(status);
}
