// SPDX-License-Identifier: GPL-2.0-only
/*
 * host [OPTION...]: loads the plugin as criu's loader would, and says what came of it.
 *
 * The command line belongs to the plugin, which reads it for criu's options; this program takes
 * its own from the environment:
 *
 *	HOST_SO=FILE		the plugin
 *	HOST_STAGE=N		0 dump, 1 pre-dump, 2 restore (default)
 *	HOST_LISTEN=STREAM	be the one that serves lazy-pages.socket
 *	HOST_LISTEN=DGRAM	be bound to it, but with a socket of another type
 *	HOST_LISTEN=STALE	leave its file behind, owned by nobody
 *	HOST_NETNS=1		go to another network namespace before init
 *	HOST_REAPER=1		be a subreaper
 *	HOST_CONNECT=1		after init, when the pager is gone, connect as criu would and say
 *				how that went
 *
 * Output: "desc NAME VERSION HOOKS NSET", a line "log LEVEL TEXT" for each of the plugin's,
 * "init N", "sigchld N", "children N", "fds +N", and for HOST_LISTEN "taken N".
 * The rules are those of criu 3.17.1: version and number of hooks not above its header's.
 */
#include <criu/criu-plugin.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern void print_on_level(unsigned int level, const char *fmt, ...);

static volatile sig_atomic_t sigchlds;
static int image_dir;
static int pager_pid;

void print_on_level(unsigned int level, const char *fmt, ...)
{
	char text[8192], *pid;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("log %u %s", level, text);
	pid = strstr(text, "started, pid ");
	if (pid)
		pager_pid = atoi(pid + strlen("started, pid "));
}

int criu_get_image_dir(void)
{
	return image_dir;
}

static void on_sigchld(int sig)
{
	(void)sig;
	sigchlds++;
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static const struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "lazy-pages.socket" };

static int serve(const char *how)
{
	int type = !strcmp(how, "DGRAM") ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) ||
	    (type == SOCK_STREAM && listen(fd, 1)))
		return -1;
	if (!strcmp(how, "STALE")) {
		close(fd);
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	return fd;
}

/* As criu does, once the pager has gone. */
static void connect_late(void)
{
	int pidfd = syscall(SYS_pidfd_open, pager_pid, 0), fd;
	struct pollfd wait = { .fd = pidfd, .events = POLLIN };

	if (pidfd >= 0 && poll(&wait, 1, 10000) != 1) {
		puts("connect timed-out");
		return;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		printf("connect %s\n", strerrorname_np(errno));
	else
		puts("connect ok");
}

int main(void)
{
	const char *so = getenv("HOST_SO"), *stage = getenv("HOST_STAGE");
	const char *listening = getenv("HOST_LISTEN");
	struct sigaction act = { .sa_handler = on_sigchld, .sa_flags = SA_NOCLDSTOP };
	int fd = -1, n = 0, before, ret, stage_nr = stage ? atoi(stage) : CR_PLUGIN_STAGE__RESTORE;
	cr_plugin_desc_t *desc;
	sigset_t set;
	void *lib;

	setvbuf(stdout, NULL, _IOLBF, 0);
	lib = so ? dlopen(so, RTLD_LAZY) : NULL;
	desc = lib ? dlsym(lib, "CR_PLUGIN_DESC") : NULL;
	if (!desc) {
		printf("no plugin: %s\n", dlerror());
		return 1;
	}
	for (unsigned int i = 0; i < desc->max_hooks && i < CR_PLUGIN_HOOK__MAX; i++)
		n += desc->hooks[i] != NULL;
	printf("desc %s %u %u %d\n", desc->name, desc->version, desc->max_hooks, n);
	if (desc->version > CRIU_PLUGIN_VERSION || desc->max_hooks > CR_PLUGIN_HOOK__MAX)
		return 1;

	/* What a pager must not inherit: descriptors, a mask, ignored signals. */
	image_dir = open(getenv("HOST_IMAGES") ? getenv("HOST_IMAGES") : ".", O_RDONLY);
	for (int i = 0; i < 50; i++)
		dup2(image_dir, 100 + i);
	sigaction(SIGCHLD, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGRTMAX, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (getenv("HOST_REAPER"))
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (listening && (fd = serve(listening)) < 0) {
		printf("cannot listen: %m\n");
		return 1;
	}

	if (getenv("HOST_NETNS") && unshare(CLONE_NEWNET)) {
		printf("cannot unshare: %m\n");
		return 1;
	}
	before = count_fds();
	ret = desc->init(stage_nr);
	printf("init %d\n", ret);
	printf("sigchld %d\n", (int)sigchlds);
	printf("children %d\n", waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD ? 0 : 1);
	printf("fds %+d\n", count_fds() - before);
	sigprocmask(SIG_BLOCK, NULL, &set);
	printf("mask %d%d%d\n", sigismember(&set, SIGUSR1), sigismember(&set, SIGTERM),
	       sigismember(&set, SIGCHLD));
	if (fd >= 0)
		printf("taken %d\n", accept(fd, NULL, NULL) >= 0);
	if (getenv("HOST_CONNECT"))
		connect_late();
	desc->exit(stage_nr, ret);
	printf("fds at exit %+d\n", count_fds() - before);
	return 0;
}
