// SPDX-License-Identifier: GPL-2.0-only
/*
 * fake_server - play the server behind a control socket.
 *
 *	fake_server [-w|-s|-l] SOCKET ANSWER...
 *
 * Each ANSWER is a file; the n-th "status" gets the n-th one, and after the last one has gone the
 * program ends.  "wait" is kept open and gets the last answer then (-w: is refused as an unknown
 * request, as by a server that does not know it; -s: is closed without a word, as by a server that
 * dies; -l: alone gets the last answer, no "status" does).  An ANSWER that is "-" is a connection
 * that gets nothing until the end.
 * Writes a line to stdout once it listens.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define KEPT_MAX 64
#define ANSWER_MAX (1 << 20)

static int kept[KEPT_MAX];
static unsigned int nkept;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void answer(int fd, const char *path)
{
	static char buf[ANSWER_MAX];
	int file = open(path, O_RDONLY);
	ssize_t n = file < 0 ? -1 : read(file, buf, sizeof(buf));

	if (n < 0)
		die(path);
	close(file);
	if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		die("send");
}

static void keep(int fd)
{
	if (nkept == KEPT_MAX)
		die("too many connections");
	kept[nkept++] = fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char mode = 0;
	int next, last, listen_fd;

	alarm(60);
	if (argc > 1 && argv[1][0] == '-') {
		mode = argv[1][1];
		argv++;
		argc--;
	}
	if (argc < 3 || strlen(argv[1]) >= sizeof(sa.sun_path))
		return 2;
	memcpy(sa.sun_path, argv[1], strlen(argv[1]) + 1);
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(sa.sun_path);
	if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	    listen(listen_fd, 16))
		die("listen");
	puts("listening");
	fflush(stdout);

	last = mode == 'l' ? argc - 1 : argc;
	for (next = 2; next < last;) {
		char line[64];
		int fd = accept(listen_fd, NULL, NULL);
		ssize_t n = fd < 0 ? -1 : recv(fd, line, sizeof(line) - 1, 0);

		if (n <= 0) {
			close(fd);
			continue;
		}
		line[n] = '\0';
		if (!strcmp(line, "wait\n") && mode == 'w') {
			if (send(fd, "{\"error\":\"unknown request\"}\n", 28, MSG_NOSIGNAL) < 0)
				die("send");
			close(fd);
		} else if (!strcmp(line, "wait\n")) {
			keep(fd);
		} else if (!strcmp(argv[next], "-")) {
			next++;
			keep(fd);
		} else {
			answer(fd, argv[next++]);
			close(fd);
		}
	}
	close(listen_fd);
	while (nkept--) {
		if (mode != 's')
			answer(kept[nkept], argv[argc - 1]);
		close(kept[nkept]);
	}
	return 0;
}
