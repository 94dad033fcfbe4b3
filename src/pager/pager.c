/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pager: the process that serves, and its control thread.
 *
 * The control thread (the first one) does all that is neither urgent nor bulk: criu's socket,
 * reading images, the control socket, finding out pids, killing what is lost, progress, and
 * watching the keeper.  It ends the pager when every session is over.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kapi/huge.h"
#include "kapi/proc.h"
#include "kapi/uffd.h"
#include "pager/agent.h"
#include "pager/files.h"
#include "pager/hand.h"
#include "pager/internal.h"
#include "util/fd.h"
#include "util/log.h"

#define URGENT_THREADS 4
#define TICK_MS 500
#define TICK_BUSY_MS 20
/* How long a client may stay connected to a restore that has failed. */
#define FAILED_GRACE_US 1000000

unsigned int gate_spin_us;

struct pager_threads {
	pthread_t fault, drain, helper, agent, urgent[URGENT_THREADS];
};

static struct pager *pager_new(struct state *st, const struct pager_opts *opts)
{
	struct pager *p = calloc(1, sizeof(*p));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	pthread_condattr_t attr;

	if (!p)
		return NULL;
	p->st = st;
	p->opts = opts;
	p->page_size = sysconf(_SC_PAGESIZE);
	p->adopted = st->incarnation > 1;
	p->has_guards = proc_has_guards();
	p->fault_cpu = -1;
	p->ncpus = sysconf(_SC_NPROCESSORS_ONLN);
	gate_spin_us = p->ncpus > 1 ? GATE_SPIN_US : 0;
	TAILQ_INIT(&p->sessions);
	pthread_mutex_init(&p->sessions_lock, NULL);
	pthread_mutex_init(&p->table_lock, NULL);
	pthread_mutex_init(&p->drain_lock, NULL);
	pthread_mutex_init(&p->pace.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->drain_cond, &attr);
	TAILQ_INIT(&p->agents);
	files_init(p);
	/* Asked once and for all: what runs after privs_drop() may not ask. */
	if (!st->has_move)
		st->has_move = uffd_has_move() > 0 ? 1 : 2;
	p->has_move = st->has_move == 1;
	p->huge_always = huge_always();
	p->agent_epfd = epoll_create1(EPOLL_CLOEXEC);
	p->agent_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->fault_epfd = epoll_create1(EPOLL_CLOEXEC);
	p->fault_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->control_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->agent_epfd < 0 || p->agent_kick < 0 ||
	    epoll_ctl(p->agent_epfd, EPOLL_CTL_ADD, p->agent_kick, &ev) ||
	    p->fault_epfd < 0 || p->fault_kick < 0 || p->control_kick < 0 ||
	    epoll_ctl(p->fault_epfd, EPOLL_CTL_ADD, p->fault_kick, &ev)) {
		free(p);
		return NULL;
	}
	return p;
}

static void pager_free(struct pager *p)
{
	struct session *s;

	while ((s = TAILQ_FIRST(&p->sessions))) {
		TAILQ_REMOVE(&p->sessions, s, link);
		session_put(s);
	}
	for (unsigned int i = 0; i < STATE_SOURCES; i++)
		source_close(p->sources[i]);
	recorder_close(p);
	trace_close(p);
	if (p->images)
		image_close(p->images);
	close(p->fault_epfd);
	close(p->fault_kick);
	close(p->control_kick);
	close(p->agent_epfd);
	close(p->agent_kick);
	files_free(p);
	free(p);
}

/* The fault thread should run as soon as there is a fault; so should whoever holds a gate. */
static void pager_schedule(void)
{
	struct sched_param param = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_RR, &param))
		log_debug("no real-time class: %s", strerror(errno));
}

static void *pager_fault_main(void *arg)
{
	pager_schedule();
	return fault_thread(arg);
}

static void *pager_agent_main(void *arg)
{
	pager_schedule();
	return agent_thread(arg);
}

static int pager_start(struct pager *p, struct pager_threads *t)
{
	urgent_start();
	if (pthread_create(&t->fault, NULL, pager_fault_main, p) ||
	    pthread_create(&t->drain, NULL, drain_thread, p) ||
	    pthread_create(&t->helper, NULL, drain_helper_thread, p) ||
	    pthread_create(&t->agent, NULL, pager_agent_main, p))
		return -EAGAIN;
	for (int i = 0; i < URGENT_THREADS; i++)
		if (pthread_create(&t->urgent[i], NULL, urgent_thread, p))
			return -EAGAIN;
	return 0;
}

static void pager_stop(struct pager *p, struct pager_threads *t)
{
	p->stop = true;
	pager_kick(p->fault_kick);
	agent_kick(p);
	pager_kick_drain(p);
	urgent_stop();
	pthread_join(t->fault, NULL);
	pthread_join(t->drain, NULL);
	pthread_join(t->helper, NULL);
	pthread_join(t->agent, NULL);
	for (int i = 0; i < URGENT_THREADS; i++)
		pthread_join(t->urgent[i], NULL);
}

/* Pids that are not known yet, targets that must end. Return: anything left to do soon? */
static bool pager_look_after(struct pager *p)
{
	struct session **list;
	unsigned int n = session_snapshot(p, &list);
	bool more = false;

	for (unsigned int i = 0; i < n; i++) {
		struct session *s = list[i];

		if (s->shm->reason[0]) {
			target_kill(p, s);
			more = true;
		} else if (s->shm->pid <= 0 && p->st->restored && s->n->pending_bytes &&
			   !wire_expects(p, s)) {
			target_find(p, s);
			more |= s->shm->pid <= 0 && s->identify_tries < IDENTIFY_TRIES;
		}
		session_put(s);
	}
	free(list);
	return more;
}

/* The restore failed: its tasks were never resumed, and never may be. */
static void pager_condemn(struct pager *p, const char *why)
{
	struct session *s;

	p->st->failed = 1;
	pthread_mutex_lock(&p->sessions_lock);
	TAILQ_FOREACH(s, &p->sessions, link)
		session_kill(p, s, why);
	pthread_mutex_unlock(&p->sessions_lock);
}

enum {
	WATCH_KICK = 1,
	WATCH_KEEPER,
	WATCH_CRIU,
	WATCH_LISTEN,
	WATCH_CONN,
	WATCH_CONTROL,
	WATCH_HAND,
	WATCH_WIRE,
};

static void pager_watch(int epfd, int fd, uint32_t what)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = what };

	if (fd >= 0 && epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev))
		log_debug("cannot watch descriptor %d: %s", fd, strerror(errno));
}

static void pager_hear_hand(struct pager *p)
{
	struct hand_answer answer;
	int fd;

	while (hand_hear(p->st, &answer, &fd) == 1)
		agent_answered(p, &answer, fd);
}

/*
 * The control thread's loop.
 * Return: 0 all done, 1 something failed, PAGER_ORPHANED the keeper is gone.
 */
static int pager_control(struct pager *p, int keeper_pidfd)
{
	struct state *st = p->st;
	int epfd = epoll_create1(EPOLL_CLOEXEC), ret = -1;
	bool busy = true, cares, wired = false;
	uint64_t progress_us = 0, condemned_us = 0;

	pager_watch(epfd, p->control_kick, WATCH_KICK);
	pager_watch(epfd, keeper_pidfd, WATCH_KEEPER);
	pager_watch(epfd, st->criu_pidfd, WATCH_CRIU);
	pager_watch(epfd, st->listen_fd, WATCH_LISTEN);
	pager_watch(epfd, st->conn_fd, WATCH_CONN);
	pager_watch(epfd, st->control_fd, WATCH_CONTROL);
	pager_watch(epfd, hand_poll_fd(), WATCH_HAND);
	while (ret < 0) {
		struct epoll_event ev[8];

		/* It may come later, from a plugin that found us here. */
		if (!wired && st->wire_fd >= 0) {
			pager_watch(epfd, st->wire_fd, WATCH_WIRE);
			wired = true;
		}
		int n = epoll_wait(epfd, ev, 8, busy ? TICK_BUSY_MS : TICK_MS);

		for (int i = 0; i < n; i++) {
			uint64_t drop;

			switch (ev[i].data.u32) {
			case WATCH_KICK:
				if (read(p->control_kick, &drop, sizeof(drop)) < 0)
					break;
				break;
			case WATCH_KEEPER:
				ret = PAGER_ORPHANED;
				break;
			case WATCH_CRIU:
				epoll_ctl(epfd, EPOLL_CTL_DEL, st->criu_pidfd, NULL);
				if (st->listen_fd >= 0) {
					log_info("criu ended without handing over a task");
					ret = 1;
				}
				break;
			case WATCH_LISTEN:
				if (link_accept(p))
					p->condemned = true;
				pager_watch(epfd, st->conn_fd, WATCH_CONN);
				break;
			case WATCH_CONN:
				if (link_readable(p) < 0)
					p->condemned = true;
				break;
			case WATCH_CONTROL:
				control_serve(p, st->control_fd);
				break;
			case WATCH_WIRE:	/* see below */
			case WATCH_HAND:
				break;
			}
		}
		if (st->wire_fd >= 0)
			wire_readable(p);
		if (ret == PAGER_ORPHANED)
			break;
		if (p->condemned)
			pager_condemn(p, st->restored ? "criu's connection broke the protocol" :
							"the restore failed");
		pager_hear_hand(p);
		busy = pager_look_after(p);
		cares = care_look(p);
		busy |= cares;
		if (st->finish)
			pager_kick_drain(p);
		recorder_tick(p, false);
		uint64_t now = pager_now_us();

		if (now - progress_us > TICK_MS * 1000) {
			progress_us = now;
			control_progress(p, false);
		}
		if (p->condemned && !condemned_us)
			condemned_us = now;
		/* A client that stays connected after a failure is not waited for. */
		if (ret < 0 && !p->nsessions && !cares && (st->restored || p->condemned) &&
		    (st->conn_fd < 0 || (p->condemned && now - condemned_us > FAILED_GRACE_US)))
			ret = 0;
		if (ret < 0 && st->finish && st->listen_fd >= 0) {
			log_info("asked to end before a restore came");
			ret = 1;
		}
	}
	close(epfd);
	if (ret == PAGER_ORPHANED)
		return ret;
	control_progress(p, true);
	recorder_tick(p, true);
	if (ret)
		st->failed = true;
	control_last_word(p);
	return ret || st->failed ? 1 : 0;
}

/* Are the pages files those that the first pager saw? Else remember them. */
static int pager_check_sources(struct pager *p)
{
	struct state *st = p->st;
	uint32_t n = image_nsources(p->images);

	for (uint32_t i = 0; i < n; i++) {
		const struct image_source *is = image_source_get(p->images, i);
		struct source_slot now;
		int ret = source_slot_fill(is->fd, &now);

		if (ret)
			return ret;
		if (i >= st->nsources)
			continue;
		struct source_slot *was = &st->source[i];

		/* auto-dedup itself changes the time, and nothing else. */
		if (was->dev != now.dev || was->ino != now.ino || was->size_bytes != now.size_bytes ||
		    (was->mtime_ns != now.mtime_ns && !st->punched)) {
			log_err("%s: changed while no pager was alive", is->name);
			return -ESTALE;
		}
	}
	return 0;
}

static int pager_adopt(struct pager *p)
{
	int ret = journal_replay(p);

	p->restored_us = pager_now_us();
	if (!ret)
		ret = pager_check_sources(p);
	if (!ret)
		care_adopt(p);
	if (!ret)
		ret = session_wake_up(p);
	if (!ret)
		ret = link_recover(p);
	if (!ret)
		fdtable_sweep_uffds(p->st);
	if (ret)
		log_err("cannot adopt what the last pager left: %s", strerror(-ret));
	return ret;
}

/* Tell whoever started us that a restore may begin; criu's protocol for --status-fd. */
static void pager_ready(struct pager *p)
{
	int fd = p->st->status_fd, ret;

	if (fd < 0 || p->condemned)
		return;
	ret = fd_write_full(fd, "", 1);
	if (ret)
		log_warn("status descriptor %d: %s", fd, strerror(-ret));
	p->st->status_fd = -1;
	close(fd);
}

int pager_run(struct state *st, const struct pager_opts *opts, int keeper_pidfd, int state_fd)
{
	struct image_error err = { "" };
	struct pager_threads threads;
	struct pager *p;
	int ret;

	signal(SIGPIPE, SIG_IGN);
	if (st->incarnation > 1)
		fdtable_sweep(st, keeper_pidfd, state_fd);
	p = pager_new(st, opts);
	if (!p) {
		log_err("cannot start: %s", strerror(errno));
		return 1;
	}
	if (hand_open()) {
		log_err("cannot talk to the hand");
		return 1;
	}
	if (privs_drop())
		return 1;
	ret = image_open(st->images_fd, opts->auto_dedup, &p->images, &err);
	if (ret) {
		log_err("%s", *err.text ? err.text : strerror(-ret));
		if (p->adopted)
			return PAGER_HOPELESS;
		p->condemned = true;
		p->images = NULL;
		/* From here on nobody can connect; who already has must be heard to the end. */
		if (st->listen_fd >= 0)
			shutdown(st->listen_fd, SHUT_RDWR);
	}
	trace_open(p);
	recorder_open(p);
	if (p->adopted && pager_adopt(p))
		return PAGER_HOPELESS;
	pager_ready(p);
	if (pager_start(p, &threads)) {
		log_err("cannot start threads");
		return 1;
	}
	ret = pager_control(p, keeper_pidfd);
	pager_stop(p, &threads);
	if (ret == PAGER_ORPHANED)
		recorder_tick(p, true);
	pager_free(p);
	hand_close();
	return ret;
}
