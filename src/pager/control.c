/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control: what others can see of a running restore.
 *
 * A client of the control socket sends a line and gets one JSON object; the same object, in short,
 * goes to --progress-fd twice a second, and a bar to a terminal.  Everything is read from the
 * shared table, so the figures go on across a change of pagers.
 */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/wire.h"
#include "pager/internal.h"
#include "util/fd.h"
#include "util/fdpass.h"
#include "util/log.h"

#define CONTROL_PATIENCE_MS 200
#define CONTROL_SEND_US 1000000

int control_listen(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = PAGER_CONTROL_NAME };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int ret;

	if (fd < 0)
		return -errno;
	unlink(sa.sun_path);
	mask = umask(0177);
	ret = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) ? -errno : 0;
	umask(mask);
	if (ret || listen(fd, CONTROL_BACKLOG))
		return ret ? ret : -errno;
	return fd_take(&fd);
}

static const char *control_session_state(struct session_slot *slot)
{
	uint32_t state = slot->state;

	switch (state) {
	case SESSION_OPEN:
		return "open";
	case SESSION_DONE:
		return "done";
	case SESSION_KILLED:
		return "killed";
	default:
		return "gone";
	}
}

static void control_add(json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_int64(v));
}

static void control_agent(json_object *o, const struct agent_slot *a)
{
	static const char *const words[] = { [AGENT_NONE] = "none",
					     [AGENT_PLACING] = "being placed",
					     [AGENT_THERE] = "there",
					     [AGENT_OVER] = "over",
					     [AGENT_CURING] = "being taken out" };
	uint32_t life = a->life;
	char text[160];

	snprintf(text, sizeof(text), "%s%s%s", words[life <= AGENT_CURING ? life : AGENT_NONE],
		 a->why[0] ? ": " : "", a->why);
	json_object_object_add(o, "agent", json_object_new_string(text));
	control_add(o, "agent_pid", life == AGENT_THERE ? a->rec.agent_pid : 0);
}

static json_object *control_session(struct session_slot *slot, uint32_t id)
{
	struct session_counters *n = &slot->n;
	json_object *o = json_object_new_object();
	json_object *hist = json_object_new_array();

	control_add(o, "id", id);
	control_add(o, "pid", slot->pid);
	control_add(o, "vpid", slot->vpid);
	json_object_object_add(o, "parent",
			       slot->birth == BIRTH_FORK ? json_object_new_int64(slot->parent) : NULL);
	json_object_object_add(o, "state", json_object_new_string(control_session_state(slot)));
	json_object_object_add(o, "reason",
			       slot->reason[0] ? json_object_new_string(slot->reason) : NULL);
	control_add(o, "total_bytes", n->total_bytes);
	control_add(o, "pending_bytes", n->pending_bytes);
	control_add(o, "copied_fault_bytes", n->copied_fault_bytes);
	control_add(o, "copied_around_bytes", n->copied_around_bytes);
	control_add(o, "copied_drain_bytes", n->copied_drain_bytes);
	control_add(o, "hot_bytes", n->hot_bytes);
	control_add(o, "replayed_bytes", n->replayed_bytes);
	control_add(o, "moved_huge_bytes", n->moved_huge_bytes);
	control_add(o, "moved_base_bytes", n->moved_base_bytes);
	control_add(o, "collapsed_bytes", n->collapsed_bytes);
	control_add(o, "zero_bytes", n->zero_bytes);
	control_add(o, "discarded_bytes", n->discarded_bytes);
	control_agent(o, &slot->agent);
	control_add(o, "faults", n->faults);
	control_add(o, "events_fork", n->events_fork);
	control_add(o, "events_remap", n->events_remap);
	control_add(o, "events_remove", n->events_remove);
	control_add(o, "events_unmap", n->events_unmap);
	control_add(o, "any_waiter_us", n->any_waiter_us);
	control_add(o, "summed_wait_us", n->summed_wait_us);
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		uint64_t count = __atomic_load_n(&n->latency.bucket[i], __ATOMIC_RELAXED);

		json_object_array_add(hist, json_object_new_int64(count));
	}
	json_object_object_add(o, "latency_us", hist);
	return o;
}

static const char *control_state(const struct pager *p)
{
	struct state *st = p->st;

	if (st->failed)
		return "failed";
	if (st->restored)
		return p->nsessions ? "serving" : "done";
	return st->conn_fd >= 0 ? "restoring" : "waiting";
}

static json_object *control_status(struct pager *p)
{
	struct state *st = p->st;
	json_object *o = json_object_new_object();
	json_object *list = json_object_new_array();

	json_object_object_add(o, "version", json_object_new_string(UFFD_RELOCATE_VERSION));
	control_add(o, "keeper_pid", st->keeper_pid);
	control_add(o, "pager_pid", st->pager_pid);
	control_add(o, "incarnation", st->incarnation);
	json_object_object_add(o, "state", json_object_new_string(control_state(p)));
	json_object_object_add(o, "restored", json_object_new_boolean(st->restored));
	for (uint32_t i = 0; i < st->nslots; i++)
		if (!state_slot_is(&st->session[i], SESSION_FREE))
			json_object_array_add(list, control_session(&st->session[i], i));
	json_object_object_add(o, "sessions", list);
	return o;
}

static void control_send(int fd, json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	size_t len = strlen(text), done = 0;

	uint64_t until = pager_now_us() + CONTROL_SEND_US;

	/* A client that does not read, or reads a little now and then, is not waited for. */
	while (done <= len && pager_now_us() < until) {
		struct pollfd pfd = { .fd = fd, .events = POLLOUT };
		const char *from = done < len ? text + done : "\n";
		ssize_t n = send(fd, from, done < len ? len - done : 1, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			done += n;
		else if (errno != EAGAIN || poll(&pfd, 1, CONTROL_PATIENCE_MS) <= 0)
			return;
	}
}

/* Keep a connection until the end. Return: false when too many are kept already. */
static bool control_keep(struct pager *p, int *fd)
{
	unsigned int n = 0;

	/* A client has nothing more to say: who is readable has hung up. */
	for (unsigned int i = 0; i < p->nwaiters; i++) {
		struct pollfd pfd = { .fd = p->waiter_fd[i], .events = POLLIN };

		if (poll(&pfd, 1, 0))
			close(pfd.fd);
		else
			p->waiter_fd[n++] = pfd.fd;
	}
	p->nwaiters = n;
	if (n == CONTROL_WAITERS)
		return false;
	p->waiter_fd[p->nwaiters++] = fd_take(fd);
	return true;
}

void control_serve(struct pager *p, int listen_fd)
{
	cleanup_fd int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char line[64];
	ssize_t n;

	if (fd < 0 || poll(&pfd, 1, CONTROL_PATIENCE_MS) <= 0)
		return;
	int wire;

	n = fdpass_recv(fd, line, sizeof(line) - 1, &wire, 1);
	if (n <= 0)
		return;
	line[n] = '\0';
	if (wire >= 0) {
		if (strcmp(line, WIRE_HELLO) || wire_take(p, wire))
			close(wire);
		else if (fdpass_send(fd, WIRE_WELCOME, strlen(WIRE_WELCOME), NULL, 0))
			log_debug("the plugin does not wait for its welcome");
		return;
	}
	json_object *o;

	if (!strcmp(line, "wait\n") && control_keep(p, &fd))
		return;
	if (!strcmp(line, "status\n")) {
		o = control_status(p);
	} else {
		o = json_object_new_object();
		json_object_object_add(o, "error", json_object_new_string("unknown request"));
	}
	control_send(fd, o);
	json_object_put(o);
}

void control_last_word(struct pager *p)
{
	json_object *o = p->nwaiters ? control_status(p) : NULL;

	while (p->nwaiters) {
		int fd = p->waiter_fd[--p->nwaiters];

		control_send(fd, o);
		close(fd);
	}
	json_object_put(o);
}

struct control_sums {
	uint64_t total, pending, faults, wait_us;
	uint64_t fault, around, drain, huge, base, hot, replayed, zero, discarded;
};

static void control_sum(struct state *st, struct control_sums *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (uint32_t i = 0; i < st->nslots; i++) {
		struct session_counters *n = &st->session[i].n;

		if (state_slot_is(&st->session[i], SESSION_FREE))
			continue;
		sum->total += n->total_bytes;
		sum->pending += n->pending_bytes;
		sum->faults += n->faults;
		sum->wait_us += n->any_waiter_us;
		sum->fault += n->copied_fault_bytes;
		sum->around += n->copied_around_bytes;
		sum->drain += n->copied_drain_bytes;
		sum->hot += n->hot_bytes;
		sum->replayed += n->replayed_bytes;
		sum->huge += n->moved_huge_bytes;
		sum->base += n->moved_base_bytes;
		sum->zero += n->zero_bytes;
		sum->discarded += n->discarded_bytes;
	}
}

static void control_bar(const struct control_sums *sum, bool last)
{
	char bar[41];
	unsigned int fill = sum->total ? (sum->total - sum->pending) * 40 / sum->total : 40;

	memset(bar, '.', 40);
	memset(bar, '#', fill > 40 ? 40 : fill);
	bar[40] = '\0';
	fprintf(stderr, "\r[%s] %llu of %llu MiB, %llu faults%s", bar,
		(unsigned long long)((sum->total - sum->pending) >> 20),
		(unsigned long long)(sum->total >> 20), (unsigned long long)sum->faults,
		last ? "\n" : "");
}

void control_progress(struct pager *p, bool last)
{
	struct control_sums sum;
	json_object *o;

	if (p->opts->progress_fd < 0 && !p->opts->progress_bar)
		return;
	control_sum(p->st, &sum);
	if (p->opts->progress_bar && p->st->restored)
		control_bar(&sum, last);
	if (p->opts->progress_fd < 0)
		return;
	o = json_object_new_object();
	json_object_object_add(o, "state", json_object_new_string(control_state(p)));
	control_add(o, "total_bytes", sum.total);
	control_add(o, "pending_bytes", sum.pending);
	control_add(o, "copied_fault_bytes", sum.fault);
	control_add(o, "copied_around_bytes", sum.around);
	control_add(o, "copied_drain_bytes", sum.drain);
	control_add(o, "hot_bytes", sum.hot);
	control_add(o, "replayed_bytes", sum.replayed);
	control_add(o, "moved_huge_bytes", sum.huge);
	control_add(o, "moved_base_bytes", sum.base);
	control_add(o, "zero_bytes", sum.zero);
	control_add(o, "discarded_bytes", sum.discarded);
	control_add(o, "faults", sum.faults);
	control_add(o, "any_waiter_us", sum.wait_us);
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s\n", text);

	/* A reader that has gone away or fell asleep must not hold up the restore. */
	struct pollfd pfd = { .fd = p->opts->progress_fd, .events = POLLOUT };

	if (poll(&pfd, 1, 0) == 1 && write(p->opts->progress_fd, line, n) < 0)
		log_debug("progress: %s", strerror(errno));
	json_object_put(o);
}
