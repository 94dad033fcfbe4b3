/* SPDX-License-Identifier: GPL-2.0-only */
/* session: one address space that is owed bytes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "image/trace.h"
#include "kapi/proc.h"
#include "kapi/uffd.h"
#include "pager/agent.h"
#include "pager/internal.h"
#include "pager/plan.h"
#include "util/log.h"

/* A replay goes through the motions again; what it counts has been counted before. */
static struct session_counters session_scratch;

struct session *session_new(struct pager *p, uint32_t slot, struct extent_tree *owed)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		extent_tree_free(owed);
		return NULL;
	}
	s->refs = 1;
	s->slot = slot;
	s->shm = &p->st->session[slot];
	s->uffd = s->shm->uffd;
	s->owed = owed;
	s->pagemap_fd = -1;
	s->guess_fd = -1;
	s->born_us = pager_now_us();
	gate_init(&s->gate);
	s->ghost = !state_slot_is(s->shm, SESSION_OPEN);
	s->n = p->replaying ? &session_scratch : &s->shm->n;
	s->n->pending_bytes = extent_pending(owed);
	s->n->total_bytes = extent_pending(owed);
	return s;
}

struct session *session_new_loaded(struct pager *p, uint32_t slot, struct session_image *img)
{
	struct session *s = session_new(p, slot, img->owed);

	if (!s) {
		free(img->vma);
		free(img->huge);
		return NULL;
	}
	memcpy(s->wipe, img->wipe, sizeof(s->wipe));
	s->nwipes = img->nwipes;
	s->vma = img->vma;
	s->nvmas = img->nvmas;
	/* Without memory for that it is COPY for all. */
	if (plan_init(s, img->huge, img->nhuge))
		log_warn("session %u: no memory to plan huge pages", slot);
	free(img->huge);
	return s;
}

void session_put(struct session *s)
{
	if (--s->refs)
		return;
	if (s->pagemap_fd >= 0)
		close(s->pagemap_fd);
	if (s->guess_fd >= 0)
		close(s->guess_fd);
	extent_tree_free(s->owed);
	replay_free(&s->replay);
	extent_tree_free(s->huge);
	extent_tree_free(s->collapse);
	free(s->vma);
	free(s);
}

unsigned int session_snapshot(struct pager *p, struct session ***out)
{
	unsigned int n = 0, room;
	struct session *s;

	pthread_mutex_lock(&p->sessions_lock);
	room = p->nsessions;
	*out = room ? malloc(room * sizeof(**out)) : NULL;
	TAILQ_FOREACH(s, &p->sessions, link)
		if (*out && n < room)
			(*out)[n++] = session_get(s);
	pthread_mutex_unlock(&p->sessions_lock);
	return n;
}

static int session_watch(struct pager *p, struct session *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };

	if (epoll_ctl(p->fault_epfd, EPOLL_CTL_ADD, s->uffd, &ev)) {
		int err = -errno;

		log_err("session %u: cannot watch its uffd %d: %s", s->slot, s->uffd,
			strerror(-err));
		session_kill(p, s, "its userfaultfd cannot be watched");
		return err;
	}
	s->ending = true;
	return 0;
}

int session_publish(struct pager *p, struct session *s)
{
	int ret;

	if (!p->replaying)
		care_begin(p, s);
	/* Watched and listed in one: events of a session that no checkpoint sees would be lost. */
	pthread_mutex_lock(&p->sessions_lock);
	ret = p->replaying ? 0 : session_watch(p, s);
	TAILQ_INSERT_TAIL(&p->sessions, s, link);
	p->nsessions++;
	pthread_mutex_unlock(&p->sessions_lock);
	pager_kick(p->fault_kick);
	pager_kick_drain(p);
	return ret;
}

static int session_wake_extent(const struct extent_view *view, void *arg)
{
	struct session *s = arg;

	place_wake(s->uffd, view->at);
	return 0;
}

int session_wake_up(struct pager *p)
{
	struct session *s, *next;
	int ret = 0;

	for (s = TAILQ_FIRST(&p->sessions); s; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->ghost) {
			TAILQ_REMOVE(&p->sessions, s, link);
			p->nsessions--;
			session_put(s);
			continue;
		}
		care_begin(p, s);
		s->n = &s->shm->n;
		s->n->pending_bytes = extent_pending(s->owed);
		if (!s->n->total_bytes)
			s->n->total_bytes = extent_pending(s->owed);
		if (s->shm->pid > 0)
			s->pagemap_fd = proc_pagemap_open(s->shm->pid);
		/* A fault that the dead pager had read, wherever it is: all of user space. */
		if (uffd_wake_all(s->uffd, p->page_size))
			extent_for_each(s->owed, session_wake_extent, s);
		if (session_watch(p, s))
			ret = -EIO;
		if (s->shm->reason[0])
			pager_kick(p->control_kick);
	}
	return ret;
}

#define MADV_BIT_DONTFORK (1ull << 10)
#define MADV_BIT_WIPEONFORK (1ull << 18)

static int load_append(struct range **list, unsigned int *n, struct range at)
{
	/* Grown by doubling: at powers of two the array is full. */
	if (!(*n & (*n - 1))) {
		size_t room = *n ? 2 * *n : 1;
		struct range *more = realloc(*list, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		*list = more;
	}
	(*list)[(*n)++] = at;
	return 0;
}

/* The blocks of a VMA that were huge at the dump. */
static int load_was_huge(struct session_image *l, struct range vma)
{
	struct order_run run;

	for (struct taddr at = vma.start; order_next(l->was_huge, at, &run); at = run.at.end) {
		struct range part = range_cut(run.at, vma);

		if (run.at.start.v >= vma.end.v)
			break;
		if (range_len(part) && load_append(&l->huge, &l->nhuge, part))
			return -ENOMEM;
	}
	return 0;
}

static int load_vma(struct range at, uint64_t madv, void *arg)
{
	struct session_image *l = arg;

	if (load_append(&l->vma, &l->nvmas, at))
		return -ENOMEM;
	if (care_wants_huge(l->pager, madv)) {
		if (load_append(&l->huge, &l->nhuge, at))
			return -ENOMEM;
	} else if (l->was_huge && care_lets_huge(madv) && load_was_huge(l, at)) {
		return -ENOMEM;
	}
	if (madv & (MADV_BIT_WIPEONFORK | MADV_BIT_DONTFORK) && l->nwipes < SESSION_WIPES_MAX)
		l->wipe[l->nwipes++] = at;
	return 0;
}

static int load_emit(const struct extent_view *piece, void *arg)
{
	struct session_image *l = arg;

	return extent_insert(l->owed, *piece);
}

/* Open the sources that the images have named since we last looked. */
static int load_sources(struct pager *p)
{
	uint32_t n = image_nsources(p->images);

	if (n > STATE_SOURCES) {
		log_err("more than %u pages files in one restore", STATE_SOURCES);
		return -EMFILE;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct image_source *is = image_source_get(p->images, i);

		if (p->sources[i])
			continue;
		if (i >= p->st->nsources) {
			int ret = source_slot_fill(is->fd, &p->st->source[i]);

			if (ret)
				return ret;
			p->st->nsources = i + 1;
		}
		p->sources[i] = source_image_open(is->fd, is->size_bytes);
		if (!p->sources[i]) {
			int err = -errno;

			log_err("%s: cannot be used: %s", is->name, strerror(-err));
			return err;
		}
	}
	return 0;
}

int session_load(struct pager *p, uint32_t vpid, struct session_image *out)
{
	struct image_error err = { "" };
	int ret;

	memset(out, 0, sizeof(*out));
	out->pager = p;
	if (p->trace && p->opts->thp == PAGER_THP_AUTO)
		out->was_huge = trace_huge(p->trace, vpid);
	if (!p->images)
		return -EBADMSG;
	out->owed = extent_tree_new();
	if (!out->owed)
		return -ENOMEM;
	ret = image_load_task(p->images, vpid, load_vma, load_emit, out, &err);
	if (ret)
		log_err("task %u: %s", vpid, *err.text ? err.text : strerror(-ret));
	else
		ret = load_sources(p);
	if (ret) {
		extent_tree_free(out->owed);
		free(out->vma);
		free(out->huge);
		memset(out, 0, sizeof(*out));
	}
	return ret;
}

void session_register(struct pager *p, struct session *s)
{
	for (unsigned int i = 0; i < s->nvmas; i++) {
		struct range at = s->vma[i];
		struct extent_view v;
		bool owed;

		gate_peek(&s->gate);
		owed = s->owed && extent_next(s->owed, at.start, &v) && v.at.start.v < at.end.v;
		gate_leave(&s->gate);
		if (!owed)
			continue;
		int ret = uffd_register_missing(s->uffd, at.start.v, range_len(at));

		if (!ret)
			continue;
		log_warn("session %u: %#llx-%#llx cannot be registered: %s", s->slot,
			 (unsigned long long)at.start.v, (unsigned long long)at.end.v,
			 strerror(-ret));
		/* A successor may come here when the task runs already and has unmapped it. */
		if (!p->adopted)
			session_kill(p, s, "memory that is owed cannot be registered");
	}
	free(s->vma);
	s->vma = NULL;
	s->nvmas = 0;
}

int session_forget(struct session *s, struct range at)
{
	int64_t gone = extent_carve(s->owed, at);

	if (gone < 0)
		return gone;
	s->n->discarded_bytes += gone;
	s->n->pending_bytes -= gone;
	return 0;
}

void session_placed(struct pager *p, struct session *s, struct range at, _Atomic uint64_t *counter)
{
	int64_t n = extent_carve(s->owed, at);

	/* Without memory for the cut the page stays owed: it will be found to stand already. */
	if (n < 0)
		return;
	*counter += n;
	s->n->pending_bytes -= n;
	p->st->progress += n / p->page_size;
	if (n && !extent_count(s->owed)) {
		log_debug("session %u: nothing is owed any longer", s->slot);
		s->ending = true;
		pager_kick(p->fault_kick);
		if (s->replay.hot)
			pager_kick(p->control_kick);
	}
}

enum place_why session_place_zero(struct pager *p, struct session *s, struct taddr page)
{
	struct range at = range_make(page.v, page.v + p->page_size);
	struct place_report r = place_zero(s->uffd, page, p->page_size);

	if (r.why == PLACE_DONE)
		s->n->zero_bytes += p->page_size;
	else if (r.why == PLACE_ALREADY || r.why == PLACE_NOWHERE)
		place_wake(s->uffd, at);
	return r.why;
}

void session_wait_begin(struct session *s, uint64_t now_us)
{
	if (!s->waiting++)
		s->waiting_since_us = now_us;
}

void session_wait_end(struct session *s, uint64_t since_us, uint64_t now_us)
{
	struct session_counters *n = s->n;

	hist_add(&n->latency, now_us - since_us);
	n->summed_wait_us += now_us - since_us;
	if (!--s->waiting)
		n->any_waiter_us += now_us - s->waiting_since_us;
}

void session_skip_guards(struct pager *p, struct session *s, struct range at)
{
	uint64_t entry[128];
	int fd = s->pagemap_fd;

	if (!p->has_guards || fd < 0)
		return;
	for (uint64_t a = at.start.v; a < at.end.v;) {
		unsigned int n = (at.end.v - a) / p->page_size;

		if (n > sizeof(entry) / sizeof(entry[0]))
			n = sizeof(entry) / sizeof(entry[0]);
		if (proc_pagemap_read(fd, a, p->page_size, n, entry))
			return;
		for (unsigned int i = 0; i < n; i++) {
			uint64_t page = a + i * p->page_size;

			if (entry[i] & PAGEMAP_GUARD &&
			    session_forget(s, range_make(page, page + p->page_size)))
				session_kill(p, s, "out of memory");
		}
		a += n * p->page_size;
	}
}

void session_kill(struct pager *p, struct session *s, const char *why)
{
	/* Over, and its slot may be another's by now. */
	if (s->uffd < 0)
		return;
	/* The reason goes on record before the deed: a successor then knows that it must finish it. */
	if (!s->shm->reason[0])
		snprintf(s->shm->reason, sizeof(s->shm->reason), "%s", why);
	p->lost = true;
	p->st->failed = 1;
	pager_kick(p->control_kick);
}

bool session_source_error(struct pager *p, struct session *s, uint32_t source, int error)
{
	const char *name = image_source_get(p->images, source)->name;
	uint64_t now = pager_now_us();

	if (!s->failing_since_us) {
		s->failing_since_us = now;
		log_err("%s: %s", name,
			error == -ESTALE ? "changed or shrank while it was being restored from" :
					   strerror(-error));
	}
	if (error != -ESTALE && now - s->failing_since_us < p->opts->lost_after_s * 1000000ull)
		return true;
	session_kill(p, s, error == -ESTALE ? "its pages file changed or shrank" :
					      "its pages file cannot be read");
	return false;
}

bool session_end(struct pager *p, struct session *s, enum session_state how)
{
	static const char *const words[] = { [SESSION_DONE] = "all in place",
					     [SESSION_GONE] = "its address space is gone",
					     [SESSION_KILLED] = "killed" };

	phase_reach("session-end");
	if (!gate_lock_unless_lent(&s->gate)) {
		s->ending = true;
		return false;
	}
	extent_tree_free(s->owed);
	s->owed = NULL;
	if (how != SESSION_DONE) {
		s->n->discarded_bytes += s->n->pending_bytes;
		s->n->pending_bytes = 0;
	}
	gate_unlock(&s->gate);

	log_info("session %u (pid %d, image pid %d): %s; KiB hot %llu, by fault %llu, around %llu, "
		 "replayed %llu, drain %llu, moved %llu, collapsed %llu, "
		 "zero %llu, discarded %llu; %llu faults",
		 s->slot, s->shm->pid, s->shm->vpid, words[how],
		 (unsigned long long)s->n->hot_bytes >> 10,
		 (unsigned long long)s->n->copied_fault_bytes >> 10,
		 (unsigned long long)s->n->copied_around_bytes >> 10,
		 (unsigned long long)s->n->replayed_bytes >> 10,
		 (unsigned long long)s->n->copied_drain_bytes >> 10,
		 (unsigned long long)(s->n->moved_huge_bytes + s->n->moved_base_bytes) >> 10,
		 (unsigned long long)s->n->collapsed_bytes >> 10,
		 (unsigned long long)s->n->zero_bytes >> 10,
		 (unsigned long long)s->n->discarded_bytes >> 10, (unsigned long long)s->n->faults);
	epoll_ctl(p->fault_epfd, EPOLL_CTL_DEL, s->uffd, NULL);
	atomic_store_explicit(&s->shm->state, how, memory_order_release);
	close(s->uffd);
	s->uffd = -1;
	if (s->shm->pidfd >= 0) {
		int fd = s->shm->pidfd;

		s->shm->pidfd = -1;
		close(fd);
	}
	pthread_mutex_lock(&p->sessions_lock);
	TAILQ_REMOVE(&p->sessions, s, link);
	p->nsessions--;
	pthread_mutex_unlock(&p->sessions_lock);
	session_put(s);
	pager_kick(p->control_kick);
	return true;
}
