// SPDX-License-Identifier: GPL-2.0-only
#include "cli/lazy_opts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/lazy_ids.h"
#include "kapi/probe.h"
#include "util/log.h"

#define GLOBAL_CONF "/etc/criu/default.conf"
#define HOME_CONF ".criu/default.conf"

/* The level that criu starts from: errors and warnings. */
#define VERBOSITY_DEFAULT 2

/* Where an option came from. */
struct origin {
	struct lazy_opts *o;
	const char *where;	/* for messages; "" for the command line */
	bool cmdline;
};

static int bad(const struct origin *from, const char *name, const char *why)
{
	log_err("%s--%s: %s", from->where, name, why);
	return -EINVAL;
}

/* A descriptor that the caller opened for us. */
static int set_fd(const struct origin *from, const char *name, const char *arg, int *out)
{
	uint64_t fd;
	int ret = cmd_number(name, arg, 0, INT_MAX, &fd);

	if (ret)
		return ret;
	if (fcntl((int)fd, F_GETFD) < 0)
		return bad(from, name, "no such descriptor is open");
	*out = (int)fd;
	return 0;
}

static int set_listen_fd(const struct origin *from, const char *name, const char *arg, int *out)
{
	int listening = 0;
	socklen_t len = sizeof(listening);
	int ret = set_fd(from, name, arg, out);

	if (ret)
		return ret;
	if (getsockopt(*out, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)
		return bad(from, name, "is not a listening socket");
	return 0;
}

static int set_uint(const char *name, const char *arg, uint64_t min, uint64_t max,
		    unsigned int *out)
{
	uint64_t v;
	int ret = cmd_number(name, arg, min, max, &v);

	if (!ret)
		*out = (unsigned int)v;
	return ret;
}

static int set_pid(const char *name, const char *arg, pid_t *out)
{
	uint64_t v;
	int ret = cmd_number(name, arg, 1, INT_MAX, &v);

	if (!ret)
		*out = (pid_t)v;
	return ret;
}

/* -v, -vv, -v4, --verbosity, --verbosity=4; without a number each one adds to what stands. */
static int set_verbosity(struct pager_opts *p, const char *arg)
{
	uint64_t v;

	if (!arg) {
		p->verbosity++;
		return 0;
	}
	if (strspn(arg, "v") == strlen(arg) && *arg) {
		p->verbosity += (int)strlen(arg) + 1;
		return 0;
	}
	if (cmd_number("verbosity", arg, 0, 1000, &v))
		return -EINVAL;
	p->verbosity = (int)v;
	return 0;
}

static int set_thp(const struct origin *from, const char *name, const char *arg,
		   enum pager_thp *out)
{
	static const char *const words[] = { [PAGER_THP_AUTO] = "auto",
					     [PAGER_THP_ALWAYS] = "always",
					     [PAGER_THP_NEVER] = "never" };

	for (unsigned int i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(arg, words[i])) {
			*out = (enum pager_thp)i;
			return 0;
		}
	return bad(from, name, "is auto, always or never");
}

static int set_criu_pid(const struct origin *from, const char *name, const char *arg)
{
	pid_t pid = 0;
	int fd, ret = set_pid(name, arg, &pid);

	if (ret)
		return ret;
	fd = probe_pidfd_open(pid);
	if (fd < 0) {
		log_err("%s--%s: process %d: %s", from->where, name, (int)pid, strerror(-fd));
		return fd;
	}
	if (from->o->pager.criu_pidfd >= 0)
		close(from->o->pager.criu_pidfd);
	from->o->pager.criu_pidfd = fd;
	return 0;
}

static int set_close(const char *name, const char *arg)
{
	uint64_t fd;
	int ret = cmd_number(name, arg, 0, INT_MAX, &fd);

	if (!ret)
		close((int)fd);
	return ret;
}

/* "200ms", "2s", or bytes. */
static int set_hot_budget(struct pager_opts *p, const char *name, const char *arg)
{
	char *end;
	unsigned long long n = strtoull(arg, &end, 10);
	unsigned int unit = !strcmp(end, "ms") ? 1000 : !strcmp(end, "s") ? 1000000 : 0;

	if (!unit || *arg < '0' || *arg > '9') {
		p->hot_us = 0;
		return cmd_bytes(name, arg, &p->hot_bytes);
	}
	if (n > 86400000000ull / unit) {
		log_err("--%s: %s is more than a day", name, arg);
		return -ERANGE;
	}
	p->hot_us = n * unit;
	p->hot_bytes = 0;
	return 0;
}

static int set_record(const struct origin *from, const char *name, bool neg, const char *arg)
{
	struct pager_opts *p = &from->o->pager;

	if (arg && strcmp(arg, "once"))
		return bad(from, name, "\"once\" or nothing is what it takes");
	p->record = !neg;
	p->record_once = arg;
	return 0;
}

/* Options that stand for a word, a switch or a place. */
static int set_plain(const struct origin *from, const struct cmd_option *option, bool neg,
		     const char *arg)
{
	struct lazy_opts *o = from->o;
	struct pager_opts *p = &o->pager;

	switch (option->id) {
	case LAZY_IMAGES_DIR:
		p->images_dir = arg;
		return 0;
	case LAZY_WORK_DIR:
		p->work_dir = arg;
		return 0;
	case LAZY_LOG_FILE:
		p->log_file = arg;
		return 0;
	case LAZY_PIDFILE:
		p->pidfile = arg;
		return 0;
	case LAZY_DAEMON:
		p->daemonize = !neg;
		return 0;
	case LAZY_AUTO_DEDUP:
		p->auto_dedup = !neg;
		return 0;
	case LAZY_DRAIN:
		p->drain = !neg;
		return 0;
	case LAZY_COLLAPSE:
		p->collapse = !neg;
		return 0;
	case LAZY_AGENT:
		p->agent = !neg;
		return 0;
	case LAZY_PROGRESS:
		o->bar = !neg;
		return 0;
	case LAZY_PAGE_SERVER:
		o->page_server = !neg;
		return 0;
	case LAZY_STREAM:
		o->stream = !neg;
		return 0;
	case LAZY_EXEC_CMD:
		o->exec_cmd = true;
		return 0;
	case LAZY_NOT_SERVED:
		/* In a file it may be meant for the other actions that read the file. */
		if (from->cmdline && !neg)
			o->refused = option->name;
		return 0;
	case LAZY_ACTION_SCRIPT:
		if (p->action_script && strcmp(p->action_script, arg))
			return bad(from, option->name, "only one script can be run");
		p->action_script = arg;
		return 0;
	case CMD_ID_HELP:
		o->help = true;
		return 0;
	case CMD_ID_VERSION:
		o->version = true;
		return 0;
	default:
		return 0;
	}
}

static int set_option(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	const struct origin *from = ctx;
	struct pager_opts *p = &from->o->pager;
	const char *name = option->name;

	switch (option->id) {
	case LAZY_VERBOSITY:
		return set_verbosity(p, arg);
	case LAZY_STATUS_FD:
		return set_fd(from, name, arg, &p->status_fd);
	case LAZY_PROGRESS_FD:
		return set_fd(from, name, arg, &p->progress_fd);
	case LAZY_LISTEN_FD:
		return set_listen_fd(from, name, arg, &p->listen_fd);
	case LAZY_CLOSE:
		return set_close(name, arg);
	case LAZY_RATE:
		return cmd_bytes(name, arg, &p->rate_bytes_per_s);
	case LAZY_DRAIN_CPU:
		return set_uint(name, arg, 1, 100, &p->drain_cpu_percent);
	case LAZY_LOST_AFTER:
		return set_uint(name, arg, 0, 365 * 86400, &p->lost_after_s);
	case LAZY_KEEPER_CGROUP:
		p->keeper_cgroup = arg;
		return 0;
	case LAZY_RECORD:
		return set_record(from, name, neg, arg);
	case LAZY_HOT_BUDGET:
		return set_hot_budget(p, name, arg);
	case LAZY_TRACE:
		p->trace = !neg;
		p->trace_file = neg ? NULL : arg;
		return 0;
	case LAZY_THP:
		return set_thp(from, name, arg, &p->thp);
	case LAZY_AGENT_SLOTS:
		return set_uint(name, arg, 1, 8, &p->agent_slots);
	case LAZY_STAGING:
		return cmd_bytes(name, arg, &p->staging_bytes);
	case LAZY_WIRE_FD:
		return set_fd(from, name, arg, &p->wire_fd);
	case LAZY_CRIU_PID:
		return set_criu_pid(from, name, arg);
	case LAZY_ADOPT:
		p->adopt = true;
		return arg ? set_pid(name, arg, &p->adopt_pid) : 0;
	default:
		return set_plain(from, option, neg, arg);
	}
}

/* Which files count has to be known before the options on the command line are looked at. */
static void scan_config(int argc, char **argv, const char **file, bool *defaults)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "--no-default-config")) {
			*defaults = false;
		} else if (!strcmp(argv[i], "--config") && i + 1 < argc) {
			*file = argv[++i];
			*defaults = false;
		} else if (!strncmp(argv[i], "--config=", 9)) {
			*file = argv[i] + 9;
			*defaults = false;
		}
	}
}

static int read_files(int argc, char **argv, struct lazy_opts *o)
{
	const char *home = getenv("HOME"), *env = getenv("CRIU_CONFIG_FILE"), *file = NULL;
	bool defaults = true;
	int ret = 0;

	scan_config(argc, argv, &file, &defaults);
	if (defaults) {
		ret = criu_conf_read(GLOBAL_CONF, &o->conf);
		if (!ret && home && *home) {
			if (asprintf(&o->home_conf, "%s/%s", home, HOME_CONF) < 0)
				return -ENOMEM;
			ret = criu_conf_read(o->home_conf, &o->conf);
		}
	}
	if (!ret && env)
		ret = criu_conf_read(env, &o->conf);
	if (!ret && file)
		ret = criu_conf_read(file, &o->conf);
	return ret;
}

static int apply_line(struct lazy_opts *o, const struct criu_conf_line *line)
{
	char where[PATH_MAX + 32];
	char *argv[] = { (char *)line->path, line->option, line->arg, NULL };
	struct origin from = { o, where, false };
	int ret;

	snprintf(where, sizeof(where), "%s:%u: ", line->path, line->number);
	ret = cmd_parse(lazy_options, line->arg ? 3 : 2, argv, where, set_option, &from);
	return ret < 0 ? ret : 0;
}

/* What can only be judged when all is read. */
static int check(struct lazy_opts *o)
{
	struct pager_opts *p = &o->pager;

	if (o->page_server)
		o->refused = "page-server";
	if (o->refused) {
		log_err("--%s: pages from a page server are not served yet, only local images",
			o->refused);
		return CMD_FAILED;
	}
	if (o->stream) {
		log_err("--stream cannot be used with lazy-pages");
		return CMD_FAILED;
	}
	if (p->adopt && p->listen_fd >= 0) {
		log_err("--adopt and --listen-fd exclude each other");
		return CMD_USAGE;
	}
	if (!p->work_dir)
		p->work_dir = p->images_dir;
	p->progress_bar = o->bar < 0 ? isatty(STDERR_FILENO) : o->bar;
	if (p->daemonize)
		p->progress_bar = false;
	return CMD_DONE;
}

static int check_operands(int argc, char **argv, int first, const struct lazy_opts *o)
{
	if (strcmp(argv[0], "lazy-pages") != 0) {
		if (first >= argc || strcmp(argv[first], "lazy-pages") != 0) {
			log_err("options come after the verb, unless the verb is lazy-pages");
			return CMD_USAGE;
		}
		first++;
	}
	if (first < argc && !o->exec_cmd) {
		log_err("'%s' is one argument too many", argv[first]);
		return CMD_USAGE;
	}
	return CMD_DONE;
}

static int level_of(int verbosity)
{
	int level = verbosity - 1;

	return level < LOG_ERR ? LOG_ERR : level > LOG_TRACE ? LOG_TRACE : level;
}

int lazy_opts_parse(int argc, char **argv, struct lazy_opts *o)
{
	struct origin from = { o, "", true };
	unsigned int i;
	int first, ret;

	*o = (struct lazy_opts){ .bar = -1 };
	pager_opts_init(&o->pager);
	o->pager.verbosity = VERBOSITY_DEFAULT;
	o->pager.images_dir = ".";
	o->pager.work_dir = NULL;

	/* Help is not to depend on files being in order. */
	for (i = 1; (int)i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help"))
			o->help = true;
	if (o->help)
		return CMD_DONE;

	if (read_files(argc, argv, o))
		return CMD_USAGE;
	for (i = 0; i < o->conf.nlines; i++)
		if (apply_line(o, &o->conf.lines[i]))
			return CMD_USAGE;

	first = cmd_parse(lazy_options, argc, argv, "", set_option, &from);
	if (first < 0)
		return CMD_USAGE;
	if (o->help || o->version)
		return CMD_DONE;
	ret = check_operands(argc, argv, first, o);
	if (ret)
		return ret;
	o->log_level = level_of(o->pager.verbosity);
	return check(o);
}

void lazy_opts_free(struct lazy_opts *o)
{
	criu_conf_free(&o->conf);
	free(o->home_conf);
	o->home_conf = NULL;
}
