// SPDX-License-Identifier: GPL-2.0-only
/* What options and configuration files of lazy-pages make of struct pager_opts. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "cli/cmd.h"
#include "cli/lazy_opts.h"
#include "tap.h"
#include "util/log.h"

#define ARGS_MAX 24

static struct lazy_opts o;

/* Parse "lazy-pages" and the words given, up to NULL. */
static int parse(const char *first, ...)
{
	static char words[ARGS_MAX][256];
	char *argv[ARGS_MAX + 2] = { "lazy-pages" };
	int argc = 1;
	va_list ap;

	lazy_opts_free(&o);
	va_start(ap, first);
	for (const char *w = first; w; w = va_arg(ap, const char *)) {
		snprintf(words[argc], sizeof(words[0]), "%s", w);
		argv[argc] = words[argc];
		argc++;
	}
	va_end(ap);
	return lazy_opts_parse(argc, argv, &o);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static void defaults(void)
{
	const struct pager_opts *p = &o.pager;

	ok(parse(NULL) == CMD_DONE, "no options");
	ok(same(p->images_dir, "."), "images from the current directory");
	ok(same(p->work_dir, "."), "work there too");
	ok(!p->log_file && !p->pidfile && !p->action_script, "no files");
	ok(p->status_fd == -1 && p->listen_fd == -1 && p->criu_pidfd == -1 && p->progress_fd == -1,
	   "no descriptors");
	ok(p->drain && !p->rate_bytes_per_s && !p->daemonize && !p->auto_dedup && !p->adopt,
	   "drain without limit, in the foreground");
	is_u64(p->drain_cpu_percent, 100, "a whole CPU");
	ok(p->trace && !p->trace_file && !p->record, "a trace is used, none is recorded");
	is_u64(p->hot_us, 200000, "200 ms for hot pages");
	ok(o.log_level == LOG_WARN, "errors and warnings");
}

static void traces(void)
{
	const struct pager_opts *p = &o.pager;

	ok(parse("--record", "--trace", "t", NULL) == CMD_DONE && p->record && !p->record_once &&
		   same(p->trace_file, "t"),
	   "--record --trace FILE");
	ok(parse("--record=once", NULL) == CMD_DONE && p->record && p->record_once, "--record=once");
	ok(parse("--record", "--no-record", NULL) == CMD_DONE && !p->record, "--no-record");
	ok(parse("--record=twice", NULL) == CMD_USAGE, "--record=twice is refused");
	ok(parse("--trace", "t", "--no-trace", NULL) == CMD_DONE && !p->trace && !p->trace_file,
	   "--no-trace");
	ok(parse("--hot-budget", "64M", NULL) == CMD_DONE && !p->hot_us && p->hot_bytes == 64 << 20,
	   "a budget in bytes");
	ok(parse("--hot-budget", "2s", NULL) == CMD_DONE && p->hot_us == 2000000 && !p->hot_bytes,
	   "one in seconds");
	ok(parse("--hot-budget", "15ms", NULL) == CMD_DONE && p->hot_us == 15000, "in milliseconds");
	ok(parse("--hot-budget", "0", NULL) == CMD_DONE && !p->hot_us && !p->hot_bytes, "none");
	ok(parse("--hot-budget", "ms", NULL) == CMD_USAGE, "a unit alone is refused");
	ok(parse("--hot-budget", "9999999999999999s", NULL) == CMD_USAGE, "so is more than a day");
}

static void words(void)
{
	const struct pager_opts *p = &o.pager;

	ok(parse("-D", "d", "-o", "l", "--pidfile", "p", "-d", "--auto-dedup", "--no-drain",
		 "--rate", "3M", "--drain-cpu", "7", "--lost-after", "5", "--action-script", "s",
		 NULL) == CMD_DONE, "many options");
	ok(same(p->images_dir, "d") && same(p->work_dir, "d"), "work in the images without -W");
	ok(same(p->log_file, "l") && same(p->pidfile, "p") && same(p->action_script, "s"), "files");
	ok(p->daemonize && p->auto_dedup && !p->drain, "switches");
	is_u64(p->rate_bytes_per_s, 3u << 20, "--rate 3M");
	is_u64(p->drain_cpu_percent, 7, "--drain-cpu");
	is_u64(p->lost_after_s, 5, "--lost-after");
	ok(parse("-D", "d", "-W", "w", NULL) == CMD_DONE && same(p->work_dir, "w"), "-W");
	ok(parse("-d", "--no-daemon", NULL) == CMD_DONE && !p->daemonize, "--no-daemon after -d");
	ok(parse("--no-drain", "--drain", NULL) == CMD_DONE && p->drain, "--drain after --no-drain");
	ok(parse("--auto-dedup", "--no-auto-dedup", NULL) == CMD_DONE && !p->auto_dedup,
	   "--no-auto-dedup");
	ok(parse("--rate", "18446744073709551615", NULL) == CMD_DONE &&
	   p->rate_bytes_per_s == UINT64_MAX, "the highest rate");
	ok(parse("--rate", "16777215T", NULL) == CMD_DONE &&
	   p->rate_bytes_per_s == 16777215ull << 40, "the highest rate in T");
	ok(parse("--rate", "1K", NULL) == CMD_DONE && p->rate_bytes_per_s == 1024, "K");
	ok(parse("--rate", "2G", NULL) == CMD_DONE && p->rate_bytes_per_s == 2ull << 30, "G");
	ok(parse("--adopt", NULL) == CMD_DONE && p->adopt && !p->adopt_pid, "--adopt");
	ok(parse("--adopt=123", NULL) == CMD_DONE && p->adopt && p->adopt_pid == 123, "--adopt=123");
	ok(parse("--progress", NULL) == CMD_DONE && p->progress_bar, "--progress");
	ok(parse("--no-progress", NULL) == CMD_DONE && !p->progress_bar, "--no-progress");
	ok(parse("--progress", "-d", NULL) == CMD_DONE && !p->progress_bar, "no bar of a daemon");
	ok(parse("--images-d", "short", NULL) == CMD_DONE && same(p->images_dir, "short"),
	   "a long name cut short, as criu takes it");
}

static void verbosity(void)
{
	static const struct {
		const char *word;
		int verbosity;
		enum log_level level;
	} cases[] = {
		{ "-v0", 0, LOG_ERR },	    { "-v1", 1, LOG_ERR },
		{ "-v2", 2, LOG_WARN },	    { "-v3", 3, LOG_INFO },
		{ "-v4", 4, LOG_DEBUG },    { "-v5", 5, LOG_TRACE },
		{ "-v", 3, LOG_INFO },	    { "-vv", 4, LOG_DEBUG },
		{ "-vvvv", 6, LOG_TRACE },  { "--verbosity", 3, LOG_INFO },
		{ "--verbosity=4", 4, LOG_DEBUG },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(parse(cases[i].word, NULL) == CMD_DONE &&
			   o.pager.verbosity == cases[i].verbosity &&
			   o.log_level == (int)cases[i].level,
		   "%s", cases[i].word);
	ok(parse("-v", "-v", NULL) == CMD_DONE && o.pager.verbosity == 4, "-v -v adds up");
	ok(parse("-v1", "-v", NULL) == CMD_DONE && o.pager.verbosity == 2, "-v1 -v");
}

static void descriptors(void)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };
	int fds[2], sock = socket(AF_UNIX, SOCK_STREAM, 0);
	char a[16], b[16], c[16], self[16];

	if (pipe(fds) || sock < 0 || bind(sock, (struct sockaddr *)&any, sizeof(sa_family_t)) ||
	    listen(sock, 1))
		bail("no descriptors");
	snprintf(a, sizeof(a), "%d", fds[0]);
	snprintf(b, sizeof(b), "%d", fds[1]);
	snprintf(c, sizeof(c), "%d", sock);
	snprintf(self, sizeof(self), "%d", getpid());
	ok(parse("--status-fd", a, "--progress-fd", b, "--listen-fd", c, "--criu-pid", self, NULL) ==
	   CMD_DONE, "descriptors and a pid");
	ok(o.pager.status_fd == fds[0], "--status-fd");
	ok(o.pager.progress_fd == fds[1], "--progress-fd");
	ok(o.pager.listen_fd == sock, "--listen-fd");
	ok(o.pager.criu_pidfd >= 0 && fcntl(o.pager.criu_pidfd, F_GETFD) == FD_CLOEXEC,
	   "--criu-pid is held, and not handed on");
	ok(parse("--adopt", "--listen-fd", c, NULL) == CMD_USAGE, "--adopt has no use for a socket");
	ok(parse("--close", a, NULL) == CMD_DONE && fcntl(fds[0], F_GETFD) < 0, "--close closes");
	ok(parse("--status-fd", a, NULL) == CMD_USAGE, "a closed descriptor is refused");
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd))
		bail("%s cannot be written", path);
}

static void files(void)
{
	char home[] = "/tmp/cli_opts.XXXXXX", path[64], arg[64];
	const struct pager_opts *p = &o.pager;

	if (!mkdtemp(home))
		bail("no temporary directory");
	setenv("HOME", home, 1);
	snprintf(path, sizeof(path), "%s/.criu", home);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/.criu/default.conf", home);
	snprintf(arg, sizeof(arg), "%s/arg.conf", home);

	write_file(path, "work-dir \"a \\\"b\\\" c\"   # quoted\nlog-file x#y\nimages-dir=i\n"
			 "verbosity=3\nauto-dedup\npidfile \"\"\naction-script \"s\"rest\n");
	ok(parse("-D", "cmdline", "-v", NULL) == CMD_DONE, "a file of the user's");
	ok(same(p->work_dir, "a \"b\" c"), "quotes and what is escaped in them");
	ok(same(p->log_file, "x#y"), "a # inside a word is a part of it");
	ok(same(p->images_dir, "cmdline"), "the command line wins");
	ok(p->verbosity == 4, "and its -v adds to the file's verbosity");
	ok(p->auto_dedup, "a switch");
	ok(same(p->pidfile, ""), "an empty argument");
	ok(same(p->action_script, "s"), "what stands after an argument is left out");
	ok(parse("--no-auto-dedup", NULL) == CMD_DONE && !p->auto_dedup &&
	   same(p->images_dir, "i"), "an option as NAME=VALUE, a switch taken back");
	write_file(arg, "images-dir other\nno-auto-dedup\n");
	ok(parse("--config", arg, NULL) == CMD_DONE && same(p->images_dir, "other") && !p->log_file,
	   "--config instead of the default");

	unlink(arg);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	rmdir(home);
}

int main(void)
{
	tap_timeout(20);
	/* The machine's own file would have a say; the tests of the program look at it as it is. */
	if (!access("/etc/criu/default.conf", F_OK))
		skip_all("this machine has an /etc/criu/default.conf");
	unsetenv("CRIU_CONFIG_FILE");
	setenv("HOME", "/nonexistent", 1);
	log_init("lazy-pages", LOG_ERR);
	defaults();
	traces();
	words();
	verbosity();
	descriptors();
	files();
	lazy_opts_free(&o);
	return tap_done();
}
