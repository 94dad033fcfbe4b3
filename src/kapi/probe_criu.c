// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe_criu: does the installed criu start on this kernel?
 *
 * `criu --version` starts everywhere; what fails is the look around that every action begins
 * with, so `criu check` is run too.  Both get a time-out and neither touches a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kapi/probe_int.h"
#include "util/fd.h"

#define RUN_MS 15000
#define OUTPUT_MAX 32768
/* The oldest whose images and socket we have met. */
#define OLDEST_KNOWN 317

struct output {
	char text[OUTPUT_MAX];
	size_t len;
	int status;	/* as of waitpid() */
};

/* What criu says, what it means, and what helps; the first that fits counts. */
static const struct {
	const char *says;
	const char *cause;
	const char *remedy;
} known_causes[] = {
	{ "Unexpected rt vDSO area bounds",
	  "this criu does not know the vDSO of kernels from 6.13 on",
	  "criu 4.1 or later (Debian 13 and later), here or in a root of its own" },
	{ "Can't open /proc/self/fd", "/proc is not mounted", "mount -t proc proc /proc" },
	{ "CAP_CHECKPOINT_RESTORE", "criu has not the capabilities that it needs", "run as root" },
	{ "requires root", "criu wants to be run by root", "run as root" },
	{ "is not supported", "criu says that the kernel's userfaultfd lacks events",
	  "a kernel of 4.11 or later with CONFIG_USERFAULTFD=y" },
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void child_exec(char *const argv[], int out_fd)
{
	int null = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(out_fd, STDOUT_FILENO);
	dup2(out_fd, STDERR_FILENO);
	execv(argv[0], argv);
	dprintf(STDERR_FILENO, "Error: %s\n", strerror(errno));
	_exit(127);
}

/* Collect until end of file. Return: 0 or -ETIMEDOUT. */
static int collect(int fd, struct output *out)
{
	int64_t until = now_ms() + RUN_MS;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		int64_t left = until - now_ms();
		char drop[512];
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&pfd, 1, (int)left) <= 0)
			continue;
		if (out->len < OUTPUT_MAX - 1)
			n = read(fd, out->text + out->len, OUTPUT_MAX - 1 - out->len);
		else
			n = read(fd, drop, sizeof(drop));
		if (n <= 0)
			return 0;
		if (out->len < OUTPUT_MAX - 1)
			out->len += (size_t)n;
	}
}

/* Return: 0 and *@out, or -errno. */
static int run(char *const argv[], struct output *out)
{
	int fds[2], ret;
	pid_t pid;

	memset(out, 0, sizeof(*out));
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (!pid)
		child_exec(argv, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return -EAGAIN;
	}
	ret = collect(fds[0], out);
	if (ret)
		kill(pid, SIGKILL);
	while (waitpid(pid, &out->status, 0) < 0 && errno == EINTR)
		;
	close(fds[0]);
	return ret;
}

/* Return: true and @path of an executable of that name. */
static bool find(const char *name, char *path, size_t size)
{
	static const char sbin[] = "/usr/local/sbin:/usr/sbin:/sbin";
	const char *env = getenv("PATH");
	char dirs[4096];
	char *dir, *save = NULL;

	if (strchr(name, '/')) {
		snprintf(path, size, "%s", name);
		return !access(path, X_OK);
	}
	snprintf(dirs, sizeof(dirs), "%s:%s", env ? env : "/usr/bin:/bin", sbin);
	for (dir = strtok_r(dirs, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		snprintf(path, size, "%s/%s", dir, name);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

/* The line that holds the text at @at. */
static void line_of(const struct output *out, const char *at, char *buf, size_t size)
{
	while (at > out->text && at[-1] != '\n')
		at--;
	snprintf(buf, size, "%.*s", (int)strcspn(at, "\n"), at);
}

static void explain(struct probe_item *item, const struct output *out)
{
	const char *at;
	char line[160];
	size_t i;

	for (i = 0; i < sizeof(known_causes) / sizeof(known_causes[0]); i++) {
		at = strstr(out->text, known_causes[i].says);
		if (!at)
			continue;
		line_of(out, at, line, sizeof(line));
		probe_no(item, known_causes[i].remedy, "%s (%s)", known_causes[i].cause, line);
		return;
	}
	at = strstr(out->text, "Error");
	line_of(out, at ? at : out->text, line, sizeof(line));
	if (WIFSIGNALED(out->status))
		probe_no(item, "", "it was killed by signal %d", WTERMSIG(out->status));
	else
		probe_no(item, "", "it ends with %d: %s", WEXITSTATUS(out->status), line);
}

static void ask_run(struct probe_item *item, char *const argv[], const char *expect)
{
	struct output *out = malloc(sizeof(*out));
	int ret = out ? run(argv, out) : -ENOMEM;

	if (ret == -ETIMEDOUT)
		probe_no(item, "", "it did not end within %d seconds", RUN_MS / 1000);
	else if (ret)
		probe_unknown(item, "%s", strerror(-ret));
	else if (out->status || !strstr(out->text, expect))
		explain(item, out);
	else
		probe_yes(item, "%s", "");
	free(out);
}

static void ask_version(struct probe_item *item, char *path)
{
	char *const argv[] = { path, "--version", NULL };
	struct output *out = malloc(sizeof(*out));
	int ret = out ? run(argv, out) : -ENOMEM;
	int major = 0, minor = 0;
	char *at;

	if (ret) {
		probe_no(item, "", "%s --version: %s", path, strerror(-ret));
		free(out);
		return;
	}
	at = strstr(out->text, "Version:");
	if (!at || sscanf(at, "Version: %d.%d", &major, &minor) != 2) {
		explain(item, out);
	} else if (major * 100 + minor < OLDEST_KNOWN) {
		probe_no(item, "criu 3.17.1 or later", "%.*s is older than what this program was "
			 "tried with", (int)strcspn(at, "\n"), at);
	} else {
		at += strlen("Version: ");
		probe_yes(item, "%.*s, %.100s", (int)strcspn(at, "\n"), at, path);
	}
	free(out);
}

void probe_criu(struct probe *p, const char *criu)
{
	struct probe_item *found = probe_add(p, PROBE_CRIU, PROBE_REQUIRED, "criu.version",
					     "criu is installed");
	struct probe_item *lazy, *whole;
	char path[4096];
	char *const lazy_argv[] = { path, "check", "--feature", "uffd-noncoop", NULL };
	char *const check_argv[] = { path, "check", NULL };

	if (!find(criu, path, sizeof(path))) {
		probe_no(found, "install criu, or name it with --criu", "there is no %s", criu);
		return;
	}
	ask_version(found, path);
	if (found->answer != PROBE_YES)
		return;
	lazy = probe_add(p, PROBE_CRIU, PROBE_REQUIRED, "criu.lazy",
			 "criu starts and can restore lazily");
	ask_run(lazy, lazy_argv, "uffd-noncoop is supported");
	whole = probe_add(p, PROBE_CRIU, PROBE_OPTIONAL, "criu.check", "criu check is content");
	if (lazy->answer != PROBE_YES && lazy->remedy[0])
		probe_no(whole, "", "see above");
	else
		ask_run(whole, check_argv, "Looks good");
}
