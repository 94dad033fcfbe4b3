// SPDX-License-Identifier: GPL-2.0-only
#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "pager/pager.h"
#include "util/fd.h"
#include "util/log.h"

#define RETRY_MS 10

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Return: 0 when @events may go on, -ETIMEDOUT, or -errno. */
static int wait_for(int fd, short events, int64_t until_ms)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = until_ms - now_ms();
		int n = poll(&pfd, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (!n)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

int client_enter(const char *work_dir)
{
	int ret;

	if (!chdir(work_dir))
		return 0;
	ret = -errno;
	log_err("%s: %s", work_dir, strerror(-ret));
	return ret;
}

int client_open(const char *request, unsigned int timeout_ms)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = PAGER_CONTROL_NAME };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int64_t until = now_ms() + timeout_ms;
	size_t len = strlen(request);

	if (fd < 0)
		return -errno;
	while (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		/* EAGAIN: the queue of the listener is full. */
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (now_ms() >= until)
			return -ETIMEDOUT;
		poll(NULL, 0, RETRY_MS);
	}
	/* A request is shorter than any socket buffer. */
	if (send(fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		return errno == EPIPE ? -ECONNRESET : -errno;
	return fd_take(&fd);
}

/* Return: bytes in *@out up to the end of the stream or the line, or -errno. */
static ssize_t read_line(int fd, int64_t until, char **out)
{
	cleanup_free char *buf = NULL;
	size_t room = 0, n = 0;

	for (;;) {
		ssize_t got;
		int ret;

		if (room - n < 2) {
			char *more;

			if (room >= CLIENT_ANSWER_MAX)
				return -EMSGSIZE;
			room = room ? 2 * room : 16384;
			more = realloc(buf, room);
			if (!more)
				return -ENOMEM;
			buf = more;
		}
		ret = wait_for(fd, POLLIN, until);
		if (ret)
			return ret;
		got = recv(fd, buf + n, room - n - 1, 0);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got < 0)
			return -errno;
		n += (size_t)got;
		if (!got || buf[n - 1] == '\n')
			break;
	}
	while (n && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	*out = buf;
	buf = NULL;
	return (ssize_t)n;
}

int client_read(int fd, unsigned int timeout_ms, json_object **out, char **text)
{
	cleanup_free char *line = NULL;
	ssize_t n = read_line(fd, now_ms() + timeout_ms, &line);
	json_object *o;

	if (n < 0)
		return (int)n;
	if (!n)
		return -ECONNRESET;
	o = json_tokener_parse(line);
	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return -EPROTO;
	}
	*out = o;
	if (text) {
		*text = line;
		line = NULL;
	}
	return 0;
}

int client_ask(unsigned int timeout_ms, json_object **out, char **text)
{
	cleanup_fd int fd = client_open("status\n", timeout_ms);

	if (fd < 0)
		return fd;
	return client_read(fd, timeout_ms, out, text);
}

void client_complain(const char *work_dir, int err)
{
	switch (err) {
	case -ENOENT:
		log_err("no server in %s: there is no %s", work_dir, PAGER_CONTROL_NAME);
		return;
	case -ECONNREFUSED:
		log_err("no server in %s: it has ended, nobody listens on %s", work_dir,
			PAGER_CONTROL_NAME);
		return;
	case -ECONNRESET:
		log_err("the server in %s ended before it answered", work_dir);
		return;
	case -ETIMEDOUT:
		log_err("the server in %s does not answer", work_dir);
		return;
	case -EPROTO:
	case -EMSGSIZE:
		log_err("%s/%s does not speak as a server of uffd-relocate", work_dir,
			PAGER_CONTROL_NAME);
		return;
	default:
		log_err("%s/%s: %s", work_dir, PAGER_CONTROL_NAME, strerror(-err));
	}
}

const char *client_string(json_object *o, const char *key, const char *otherwise)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
		return otherwise;
	return json_object_get_string(v);
}

uint64_t client_u64(json_object *o, const char *key)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
		return 0;
	return (uint64_t)json_object_get_int64(v);
}

json_object *client_array(json_object *o, const char *key)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_array))
		return NULL;
	return v;
}
