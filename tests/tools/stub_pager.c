// SPDX-License-Identifier: GPL-2.0-only
/*
 * stub_pager lazy-pages --listen-fd N --status-fd N --wire-fd N --criu-pid PID ...: stands for the
 * pager in tests of what starts it.
 *
 * It writes down how it was started (one "key value" line each, into the file that the variable
 * STUB_LOG names, made under another name and renamed when complete), takes criu's connection,
 * receives the tasks, and answers every fault with a page of zeros: a target served by it must
 * never run, restore it with --leave-stopped.  It adds "magic" when criu says that the restore is
 * done and goes on until it is killed; it ends when criu ends before that.  What the plugin says
 * is noted as "wire OP PID TEXT" and answered by WIRE_RESUME; with STUB_DUMB=1 by the end.
 *
 * With STUB_EXIT=N it ends at once with status N; with STUB_LATE=1 it ends when it has received
 * all, without ever having written to --status-fd.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/wire.h"

#define MAGIC 0x52535446
#define MAX_UFFDS 64

static FILE *out;

/* Every descriptor and what it is; "log" for our own file. */
static void say_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *ent;

	while (dir && (ent = readdir(dir))) {
		char target[4096];
		ssize_t len = readlinkat(dirfd(dir), ent->d_name, target, sizeof(target) - 1);
		int fd = atoi(ent->d_name);

		if (len < 0 || fd == dirfd(dir) || fd == fileno(out))
			continue;
		target[len] = '\0';
		fprintf(out, "fd %d %s\n", fd, target);
	}
	closedir(dir);
}

/* The lines of /proc/self/status that the start decides. */
static void say_status(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[512];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "SigBlk:", 7) || !strncmp(line, "SigIgn:", 7) ||
		    !strncmp(line, "Umask:", 6) || !strncmp(line, "PPid:", 5) ||
		    !strncmp(line, "Threads:", 8))
			fputs(line, out);
	fclose(file);
}

static void say_start(char **argv)
{
	char cwd[4096];
	struct stat st;

	fprintf(out, "pid %d\nsid %d\n", getpid(), getsid(0));
	fprintf(out, "cwd %s\n", getcwd(cwd, sizeof(cwd)) ? cwd : "?");
	if (!stat("lazy-pages.socket", &st))
		fprintf(out, "socket-mode %o\n", st.st_mode & 07777);
	fprintf(out, "criu-config %s\n", getenv("CRIU_CONFIG_FILE") ? "set" : "none");
	fputs("args", out);
	for (; *argv; argv++)
		fprintf(out, " %s", *argv);
	fputc('\n', out);
	say_fds();
	say_status();
}

static int option(char **argv, const char *name)
{
	for (; *argv; argv++)
		if (!strcmp(*argv, name) && argv[1])
			return atoi(argv[1]);
	fprintf(out, "missing %s\n", name);
	exit(1);
}

static int receive_fd(int conn)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(conn, &msg, MSG_WAITALL) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void answer(int uffd)
{
	long page = sysconf(_SC_PAGESIZE);
	struct uffd_msg msg;

	while (read(uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		struct uffdio_zeropage zero = { .range.len = page };

		if (msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		zero.range.start = msg.arg.pagefault.address & ~(uint64_t)(page - 1);
		if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero) && errno == EEXIST)
			ioctl(uffd, UFFDIO_WAKE, &zero.range);
	}
}

static void answer_plugin(struct pollfd *wire)
{
	struct wire_msg msg;

	if (recv(wire->fd, &msg, sizeof(msg), 0) != sizeof(msg)) {
		wire->fd = -1;
		return;
	}
	fprintf(out, "wire %u %d %s\n", msg.op, msg.pid, msg.text);
	if (getenv("STUB_DUMB"))
		exit(1);
	msg.op = WIRE_RESUME;
	if (send(wire->fd, &msg, sizeof(msg), MSG_NOSIGNAL) != sizeof(msg))
		fputs("wire broken\n", out);
}

int main(int argc, char **argv)
{
	struct pollfd fds[MAX_UFFDS + 3];
	int n = 3, listen_fd, criu, status_fd;
	bool late = getenv("STUB_LATE");
	char tmp[4096];
	const char *log = getenv("STUB_LOG");

	if (argc < 2 || !log)
		return 2;
	snprintf(tmp, sizeof(tmp), "%s.tmp", log);
	out = fopen(tmp, "we");
	if (!out)
		return 2;
	setvbuf(out, NULL, _IOLBF, 0);
	say_start(argv);
	/* As the helper of a dump all is said by now. */
	if (!strcmp(argv[1], "trace")) {
		rename(tmp, log);
		return 0;
	}
	if (getenv("STUB_EXIT")) {
		rename(tmp, log);
		return atoi(getenv("STUB_EXIT"));
	}
	listen_fd = option(argv, "--listen-fd");
	status_fd = option(argv, "--status-fd");
	fds[2] = (struct pollfd){ .fd = option(argv, "--wire-fd"), .events = POLLIN };
	criu = syscall(SYS_pidfd_open, option(argv, "--criu-pid"), 0);
	rename(tmp, log);
	/* It may be gone already. */
	if (criu < 0) {
		fputs("criu-gone\n", out);
		return 1;
	}

	fds[0] = (struct pollfd){ .fd = listen_fd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = criu, .events = POLLIN };
	if (!late) {
		/* Fails when criu is gone; the poll below tells. */
		signal(SIGPIPE, SIG_IGN);
		if (write(status_fd, "", 1) != 1)
			fputs("no-status\n", out);
		close(status_fd);
	}
	for (;;) {
		int32_t word;

		if (poll(fds, n, -1) < 0)
			return 1;
		for (int i = 3; i < n; i++)
			if (fds[i].revents & POLLIN)
				answer(fds[i].fd);
		if (fds[2].revents)
			answer_plugin(&fds[2]);
		if (fds[0].revents && fds[0].fd == listen_fd) {
			fds[0].fd = accept(listen_fd, NULL, NULL);
			close(listen_fd);
			fputs("connected\n", out);
		} else if (fds[0].revents) {
			ssize_t got = recv(fds[0].fd, &word, sizeof(word), MSG_WAITALL);

			if (got == sizeof(word) && word == MAGIC) {
				fputs("magic\n", out);
				fds[0].fd = fds[1].fd = -1;
				if (late)
					return 1;
			} else if (got != sizeof(word)) {
				fputs("failed\n", out);
				return 1;
			} else if (word > 0 && n < MAX_UFFDS + 3) {
				fprintf(out, "task %d\n", word);
				fds[n++] = (struct pollfd){ .fd = receive_fd(fds[0].fd),
							    .events = POLLIN };
			}
		}
		/* What criu has sent before it went is heard first. */
		if (fds[1].fd >= 0 && fds[1].revents && !fds[0].revents) {
			fputs("criu-gone\n", out);
			return 1;
		}
	}
}
