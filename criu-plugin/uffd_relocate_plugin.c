/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uffd_relocate_plugin: makes `criu restore --lazy-pages` one command.
 *
 * Theory of operation
 * -------------------
 * criu calls init() in its main process, in the work directory, before it makes any task and
 * before it connects to lazy-pages.socket there.  So that is where the socket is made, and the
 * pager is started with it already listening: criu's connection waits in the queue while the
 * pager still loads, and nobody waits for the pager.
 *
 * Whoever serves that socket already is left alone.  One must not find out by connecting: `criu
 * lazy-pages` takes a single connection.  A connect(2) from a socket of another type tells as
 * much and takes none: the kernel looks the file's owner up first and refuses the type then
 * (EPROTOTYPE), or finds that nobody owns the file any more (ECONNREFUSED).  The look-up is by
 * the file, so it works from any network namespace.
 *
 * After the start no copy of the socket is kept: a pager that dies before criu connects makes
 * criu's connect fail, and the restore with it.  The pager is told criu's pid and ends when criu
 * ends without having handed over a task.
 *
 * A pager that dies later, with the tasks in its queue but before it is on its feet (a library is
 * missing, the disk is slow), would take the last hold of their memory with it and leave zeros.
 * So the hook that criu calls for every task before it is let go waits for the byte that the
 * pager writes to its --status-fd when it is safe to rely on it; at that time it normally has
 * been there for long.  If the pager ends without it, the task is killed: criu does not heed what
 * a hook returns.
 *
 * The hook returns -ENOTSUP, so that criu goes on to other plugins.
 *
 * Built against the plugin API 0.2.0 with ten hooks (criu 3.17.1), which newer criu accepts.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <criu/criu-plugin.h>

#include "plugin.h"

#define PLUGIN_NAME "uffd-relocate"
#define PLUGIN_BACKLOG 10
#define PLUGIN_ARGS_MAX 40
/* How long a pager may take to start; tasks are stopped meanwhile. */
#define PLUGIN_READY_MS 60000

/* criu's numbers for its log levels. */
#define PLUGIN_LOG_ERROR 1
#define PLUGIN_LOG_INFO 3

/* Both come from criu itself; weak, so that the plugin can be looked at without criu. */
extern void print_on_level(unsigned int level, const char *fmt, ...) __attribute__((weak));
extern int criu_get_image_dir(void) __attribute__((weak));

void plugin_error(const char *fmt, ...)
{
	char text[PATH_MAX + 512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (print_on_level)
		print_on_level(PLUGIN_LOG_ERROR, "Error (" PLUGIN_NAME "): %s\n", text);
	else
		fprintf(stderr, PLUGIN_NAME ": plugin: %s\n", text);
}

void plugin_info(const char *fmt, ...)
{
	char text[PATH_MAX + 512];
	va_list ap;

	if (!print_on_level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	print_on_level(PLUGIN_LOG_INFO, PLUGIN_NAME ": %s\n", text);
}

/* Our end of the pager's --status-fd; -1 when nothing is expected from it. */
static int plugin_ready_fd = -1;
static bool plugin_lost;

static const struct sockaddr_un plugin_addr = { .sun_family = AF_UNIX, .sun_path = PLUGIN_SOCKET };

/*
 * Is somebody bound to the socket's file?
 * Return: 1 yes; 0 no, and the file is gone; -errno, logged.
 */
static int plugin_is_served(void)
{
	struct stat st;
	int fd, err;

	if (lstat(PLUGIN_SOCKET, &st)) {
		if (errno == ENOENT)
			return 0;
		err = errno;
		plugin_error(PLUGIN_SOCKET ": %s", strerror(err));
		return -err;
	}
	if (!S_ISSOCK(st.st_mode)) {
		plugin_error(PLUGIN_SOCKET " in the work directory is not a socket: remove it");
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err = errno;
		plugin_error("no socket: %s", strerror(err));
		return -err;
	}
	err = connect(fd, (const struct sockaddr *)&plugin_addr, sizeof(plugin_addr)) ? errno : 0;
	close(fd);
	if (!err || err == EPROTOTYPE)
		return 1;
	if (err == ENOENT)
		return 0;
	if (err == ECONNREFUSED && (!unlink(PLUGIN_SOCKET) || errno == ENOENT))
		return 0;
	if (err == ECONNREFUSED)
		err = errno;
	plugin_error(PLUGIN_SOCKET ": %s", strerror(err));
	return -err;
}

/* Return: a listening socket, or -errno, logged. */
static int plugin_listen(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	/* The file gets the socket's mode: nobody else connects, not even for a moment. */
	if (fd >= 0 && !fchmod(fd, 0600) &&
	    !bind(fd, (const struct sockaddr *)&plugin_addr, sizeof(plugin_addr)) &&
	    !listen(fd, PLUGIN_BACKLOG))
		return fd;
	err = errno;
	plugin_error("cannot listen on " PLUGIN_SOCKET ": %s", strerror(err));
	if (fd >= 0)
		close(fd);
	return -err;
}

static bool plugin_can_exec(const char *path)
{
	struct stat st;

	return !access(path, X_OK) && !stat(path, &st) && S_ISREG(st.st_mode);
}

/* The pager in the directory of our own .so: how it is found in a build tree. */
static bool plugin_find_beside(char *path)
{
	char own[PATH_MAX];
	Dl_info info;
	char *slash;

	if (!dladdr(&plugin_addr, &info) || !info.dli_fname || !realpath(info.dli_fname, own))
		return false;
	slash = strrchr(own, '/');
	*slash = '\0';
	return snprintf(path, PATH_MAX, "%s/" PLUGIN_PAGER, own) < PATH_MAX &&
	       plugin_can_exec(path);
}

static bool plugin_find_in_path(char *path)
{
	const char *dir = getenv("PATH");

	for (; dir && *dir; dir += strspn(dir, ":")) {
		int len = strcspn(dir, ":");

		if (*dir == '/' &&
		    snprintf(path, PATH_MAX, "%.*s/" PLUGIN_PAGER, len, dir) < PATH_MAX &&
		    plugin_can_exec(path))
			return true;
		dir += len;
	}
	return false;
}

bool plugin_look_for_pager(const struct settings *set, char *path)
{
	if (*set->pager) {
		strcpy(path, set->pager);
		return true;
	}
	if (plugin_find_beside(path))
		return true;
	strcpy(path, UFFD_RELOCATE_BINDIR "/" PLUGIN_PAGER);
	return plugin_can_exec(path) || plugin_find_in_path(path);
}

/* @path: PATH_MAX bytes. Return: 0 or -ENOENT, logged. */
static int plugin_find_pager(const struct settings *set, char *path)
{
	if (plugin_look_for_pager(set, path))
		return 0;
	plugin_error("no pager: " PLUGIN_PAGER " is neither beside the plugin nor in "
		     UFFD_RELOCATE_BINDIR " nor in $PATH; install it, or name it with a line "
		     "\"pager = PATH\" in the settings");
	return -ENOENT;
}

/* What spawn_pager() makes of the descriptors in plugin_start(). */
#define PLUGIN_LISTEN_FD "3"
#define PLUGIN_IMAGE_FD "4"
#define PLUGIN_STATUS_FD "5"
#define PLUGIN_WIRE_FD "6"

extern char **environ;

/*
 * What the environment adds to criu's configuration is meant for this criu, not for the pager.
 * Return: the rest of it, to be freed, or NULL.
 */
static char **plugin_environ(void)
{
	static const char drop[] = "CRIU_CONFIG_FILE=";
	size_t n = 0, kept = 0;
	char **env;

	while (environ && environ[n])
		n++;
	env = malloc((n + 1) * sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], drop, strlen(drop)))
			env[kept++] = environ[i];
	env[kept] = NULL;
	return env;
}

static int plugin_start(const struct settings *set)
{
	char path[PATH_MAX], criu[12], verbosity[8];
	int fds[4], ready[2], err, n = 0;
	const char *argv[PLUGIN_ARGS_MAX];
	char **env;
	pid_t pid;

	fds[1] = criu_get_image_dir ? criu_get_image_dir() : -1;
	if (fds[1] < 0) {
		plugin_error("criu gives no image directory");
		return -EBADF;
	}
	err = plugin_find_pager(set, path);
	if (err)
		return err;
	if (pipe2(ready, O_CLOEXEC)) {
		err = errno;
		plugin_error("no pipe: %s", strerror(err));
		return -err;
	}
	fds[0] = plugin_listen();
	if (fds[0] < 0) {
		close(ready[0]);
		close(ready[1]);
		return fds[0];
	}
	fds[2] = ready[1];
	fds[3] = wire_pair();
	if (fds[3] < 0) {
		plugin_error("no socket pair: %s", strerror(-fds[3]));
		close(fds[0]);
		close(ready[0]);
		close(ready[1]);
		unlink(PLUGIN_SOCKET);
		return fds[3];
	}

	snprintf(criu, sizeof(criu), "%d", (int)getpid());
	snprintf(verbosity, sizeof(verbosity), "-v%u", set->verbosity);
	argv[n++] = path;
	argv[n++] = "lazy-pages";
	/* Files and descriptors that criu's files name are for criu. */
	argv[n++] = "--no-default-config";
	/* By descriptor: its path may be out of reach, or another's. */
	argv[n++] = "-D";
	argv[n++] = "/proc/self/fd/" PLUGIN_IMAGE_FD;
	argv[n++] = "-W";
	argv[n++] = ".";
	argv[n++] = "--listen-fd";
	argv[n++] = PLUGIN_LISTEN_FD;
	argv[n++] = "--status-fd";
	argv[n++] = PLUGIN_STATUS_FD;
	argv[n++] = "--wire-fd";
	argv[n++] = PLUGIN_WIRE_FD;
	argv[n++] = "--criu-pid";
	argv[n++] = criu;
	argv[n++] = verbosity;
	if (*set->log) {
		argv[n++] = "-o";
		argv[n++] = set->log;
	}
	argv[n++] = set->agent ? "--agent" : "--no-agent";
	if (*set->thp) {
		argv[n++] = "--thp";
		argv[n++] = set->thp;
	}
	if (!set->drain)
		argv[n++] = "--no-drain";
	if (*set->rate) {
		argv[n++] = "--rate";
		argv[n++] = set->rate;
	}
	if (*set->drain_cpu) {
		argv[n++] = "--drain-cpu";
		argv[n++] = set->drain_cpu;
	}
	if (*set->lost_after) {
		argv[n++] = "--lost-after";
		argv[n++] = set->lost_after;
	}
	if (!set->trace)
		argv[n++] = "--no-trace";
	if (set->record)
		argv[n++] = set->record;
	if (*set->hot_budget) {
		argv[n++] = "--hot-budget";
		argv[n++] = set->hot_budget;
	}
	argv[n] = NULL;

	env = plugin_environ();
	err = env ? spawn_pager(path, (char *const *)argv, env, fds, 4, &pid) : -ENOMEM;
	free(env);
	close(fds[0]);
	close(fds[3]);
	close(ready[1]);
	if (err) {
		wire_close();
		close(ready[0]);
		unlink(PLUGIN_SOCKET);
		plugin_error("cannot start the pager %s: %s; install it, or name it with a line "
			     "\"pager = PATH\" in the settings", path, strerror(-err));
		return err;
	}
	plugin_ready_fd = ready[0];
	plugin_info("pager %s started, pid %d", path, (int)pid);
	return 0;
}

static struct settings plugin_settings;

static int plugin_init(int stage)
{
	struct settings *set = &plugin_settings;
	int served;

	if (stage != CR_PLUGIN_STAGE__RESTORE)
		return 0;
	settings_load(set);
	if (!set->lazy_bad && (set->lazy == SETTINGS_LAZY_NO ||
			       (set->lazy == SETTINGS_LAZY_AUTO && !wanted_lazy())))
		return 0;
	if (*set->error) {
		plugin_error("%s", set->error);
		return -EINVAL;
	}
	served = plugin_is_served();
	if (served < 0)
		return served;
	if (served) {
		plugin_info(PLUGIN_SOCKET " is served already: no pager started");
		wire_dial();
		return 0;
	}
	return plugin_start(set);
}

/* Return: has the pager said that it is ready? */
static bool plugin_wait_ready(void)
{
	struct pollfd wait = { .fd = plugin_ready_fd, .events = POLLIN };
	char byte;
	int n;

	do
		n = poll(&wait, 1, PLUGIN_READY_MS);
	while (n < 0 && errno == EINTR);
	return n == 1 && read(plugin_ready_fd, &byte, 1) == 1;
}

/*
 * Is @pid a task that criu, we, has stopped?  Old criu calls for pids that are gone, too.
 * Return: its pid in its innermost namespace, or 0: it is not.
 */
static int plugin_is_ours(int pid)
{
	char path[32], *line = NULL, *last;
	int tracer = 0, vpid = 0;
	size_t room = 0;
	FILE *file;

	if (pid <= 1)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (!vpid && getline(&line, &room, file) >= 0) {
		sscanf(line, "TracerPid: %d", &tracer);
		if (!strncmp(line, "NSpid:", 6) && (last = strrchr(line, '\t')))
			vpid = atoi(last);
	}
	free(line);
	fclose(file);
	return tracer == getpid() ? vpid : 0;
}

/* Called for each task when all are stopped and complete, before any is let go. */
static int plugin_resume(int pid)
{
	static const char *why = "the pager ended before it was ready";
	int vpid;

	if (plugin_ready_fd >= 0) {
		plugin_lost = !plugin_wait_ready();
		close(plugin_ready_fd);
		plugin_ready_fd = -1;
	}
	vpid = plugin_is_ours(pid);
	if (!vpid)
		return -ENOTSUP;
	if (!plugin_lost && wire_resume(&plugin_settings, pid, vpid)) {
		plugin_lost = true;
		why = "the pager has ended, and its keeper with it";
	}
	if (plugin_lost) {
		plugin_error("task %d is killed, for its memory is lost: %s (its log in the work "
			     "directory may say why)", pid, why);
		kill(pid, SIGKILL);
	}
	return -ENOTSUP;
}

/* The end of a dump that went well; see dump.c. */
static void plugin_dumped(void)
{
	struct settings set;
	char **env;

	settings_load(&set);
	if (*set.error || !set.trace || !criu_get_image_dir)
		return;
	env = plugin_environ();
	if (env)
		dump_hint(&set, criu_get_image_dir(), env);
	free(env);
}

/* A restore that failed needs nothing more: the pager sees criu go. */
static void plugin_exit(int stage, int ret)
{
	if (stage == CR_PLUGIN_STAGE__DUMP && !ret)
		plugin_dumped();
	if (plugin_ready_fd >= 0)
		close(plugin_ready_fd);
	plugin_ready_fd = -1;
	wire_close();
}

CR_PLUGIN_REGISTER(PLUGIN_NAME, plugin_init, plugin_exit)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESUME_DEVICES_LATE, plugin_resume)
