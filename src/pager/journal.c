/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * journal: the event log, see state.h for why it is as it is.
 *
 * Shape of a log half, in the order of slots:
 *
 *	BATCH(session) msg msg ... [WIPE... WIPE_END]... BATCH(session) ... 0 0 0
 *
 * A read that brought only page faults leaves nothing behind.  One that brought events stays up to
 * the last event; the faults in between are skipped by a replay.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kapi/uffd.h"
#include "pager/internal.h"
#include "pager/plan.h"
#include "util/fd.h"
#include "util/log.h"

/* Slots that a batch, its notes and one more head may need before the next look at the fill. */
#define LOG_RESERVE (LOG_READ_MAX + 2 + 2 * (SESSION_WIPES_MAX + 1))
#define LOG_FULL_NAP_NS 10000000

static struct uffd_msg *journal_half(struct pager *p)
{
	return p->st->log[log_epoch_half(p->st->epoch)];
}

static uint64_t journal_seq(struct pager *p, uint32_t slot)
{
	return (uint64_t)log_epoch_count(p->st->epoch) << 32 | slot;
}

static bool journal_has_room(const struct pager *p)
{
	return p->log_tail + LOG_RESERVE < LOG_HALF_SLOTS;
}

int journal_read(struct pager *p, struct session *s, struct uffd_msg **msgs, uint64_t *seq)
{
	struct uffd_msg *head = journal_half(p) + p->log_tail;
	int n;

	*msgs = head + 1;
	*seq = 0;
	/* No room: the events stay where they are until journal_keep() has made some. */
	if (!journal_has_room(p))
		return 0;
	head->arg.reserved.reserved1 = s->slot;
	head->event = LOG_BATCH;
	phase_reach("before-record");
	n = uffd_read(s->uffd, head + 1, LOG_READ_MAX);
	if (n > 0)
		phase_reach("after-read");
	*seq = journal_seq(p, p->log_tail + 1);
	return n;
}

int journal_keep(struct pager *p, unsigned int n)
{
	struct uffd_msg *half = journal_half(p);
	uint32_t end = p->log_tail + 1 + LOG_READ_MAX;

	if (end > LOG_HALF_SLOTS)
		end = LOG_HALF_SLOTS;
	if (n)
		p->log_tail += 1 + n;
	/* Backwards, so that a death in between leaves no message behind an empty slot. */
	for (uint32_t i = end; i-- > p->log_tail;)
		if (half[i].event)
			memset(&half[i], 0, sizeof(half[i]));
	for (unsigned int i = 0; i < p->nwipe_queue; i++)
		half[p->log_tail++] = p->wipe_queue[i];
	p->nwipe_queue = 0;
	if (journal_has_room(p))
		return 0;
	/* Out of memory or descriptors: targets with an event wait, nothing is lost. */
	if (journal_checkpoint(p))
		nanosleep(&(struct timespec){ .tv_nsec = LOG_FULL_NAP_NS }, NULL);
	return 0;
}

void journal_queue_wipes(struct pager *p, uint32_t child, const struct session *parent)
{
	unsigned int room = sizeof(p->wipe_queue) / sizeof(p->wipe_queue[0]);

	/* A batch with more forks than this notes no more; a replay then asks /proc again. */
	if (p->nwipe_queue + parent->nwipes + 1 > room)
		return;
	for (unsigned int i = 0; i <= parent->nwipes; i++) {
		struct uffd_msg *m = &p->wipe_queue[p->nwipe_queue++];
		bool last = i == parent->nwipes;

		memset(m, 0, sizeof(*m));
		m->event = last ? LOG_WIPE_END : LOG_WIPE;
		m->arg.reserved.reserved1 = last ? 0 : parent->wipe[i].start.v;
		m->arg.reserved.reserved2 = last ? 0 : parent->wipe[i].end.v;
		m->arg.reserved.reserved3 = child;
	}
}

bool journal_find_wipes(struct pager *p, uint32_t child, struct session *parent)
{
	const struct uffd_msg *half = journal_half(p);
	struct range found[SESSION_WIPES_MAX];
	unsigned int n = 0;

	if (!p->replaying)
		return false;
	for (uint32_t i = 0; i < LOG_HALF_SLOTS && half[i].event; i++) {
		const struct uffd_msg *m = &half[i];

		if (m->event == LOG_WIPE && m->arg.reserved.reserved3 == child &&
		    n < SESSION_WIPES_MAX)
			found[n++] = range_make(m->arg.reserved.reserved1, m->arg.reserved.reserved2);
		if (m->event == LOG_WIPE_END && m->arg.reserved.reserved3 == child) {
			memcpy(parent->wipe, found, n * sizeof(found[0]));
			parent->nwipes = n;
			return true;
		}
	}
	return false;
}

/* Checkpoint file: for each session a head, its wipe ranges, its extents. */
struct ckpt_head {
	uint32_t slot, nwipes;
	uint64_t nextents;
};

struct ckpt_writer {
	int fd;
	int error;
	size_t fill;
	char buf[1 << 16];
};

static void ckpt_put(struct ckpt_writer *w, const void *data, size_t len)
{
	if (w->fill + len > sizeof(w->buf)) {
		if (!w->error)
			w->error = fd_write_full(w->fd, w->buf, w->fill);
		w->fill = 0;
	}
	memcpy(w->buf + w->fill, data, len);
	w->fill += len;
}

static int ckpt_extent(const struct extent_view *view, void *arg)
{
	ckpt_put(arg, view, sizeof(*view));
	return 0;
}

int journal_checkpoint(struct pager *p)
{
	uint64_t epoch = p->st->epoch;
	uint32_t other = !log_epoch_half(epoch);
	int old = log_epoch_ckpt(epoch);
	struct ckpt_writer *w = calloc(1, sizeof(*w));
	struct session *s, **list;
	int err;

	if (!w)
		return -ENOMEM;
	cleanup_fd int fd = memfd_create("uffd-relocate-checkpoint", MFD_CLOEXEC);

	w->fd = fd;
	unsigned int n = session_snapshot(p, &list);

	/* An empty checkpoint would forget what is owed. */
	if (!list && p->nsessions) {
		free(w);
		return -ENOMEM;
	}

	for (unsigned int i = 0; i < n; i++) {
		/* Only this thread applies events and ends sessions; placements may go on after. */
		s = list[i];
		/* Its slot may be another's in the next log, and its children are on the list. */
		if (s->ghost) {
			session_put(s);
			continue;
		}
		gate_peek(&s->gate);
		struct ckpt_head head = { s->slot, s->nwipes, extent_count(s->owed) };

		ckpt_put(w, &head, sizeof(head));
		ckpt_put(w, s->wipe, s->nwipes * sizeof(s->wipe[0]));
		extent_for_each(s->owed, ckpt_extent, w);
		gate_leave(&s->gate);
		session_put(s);
	}
	free(list);
	err = fd < 0 ? -errno : w->error;
	if (!err)
		err = fd_write_full(fd, w->buf, w->fill);
	free(w);
	if (err) {
		log_err("cannot write a checkpoint of what is owed: %s", strerror(-err));
		return err;
	}
	memset(p->st->log[other], 0, sizeof(p->st->log[other]));
	p->st->epoch = log_epoch_make(log_epoch_count(epoch) + 1, fd, other);
	fd_take(&fd);
	p->log_tail = 0;
	if (old >= 0)
		close(old);

	/* Children whose birth the old half recorded cannot be born again: slots of the dead are free. */
	pthread_mutex_lock(&p->table_lock);
	for (uint32_t i = 0; i < p->st->nslots; i++) {
		struct session_slot *slot = &p->st->session[i];

		if (slot->birth == BIRTH_FORK && !state_slot_is(slot, SESSION_OPEN) &&
		    !state_slot_is(slot, SESSION_KILLED))
			slot->state = SESSION_FREE;
	}
	pthread_mutex_unlock(&p->table_lock);
	log_debug("checkpoint %u written", log_epoch_count(p->st->epoch));
	return 0;
}

static struct session *journal_session(struct pager *p, uint32_t slot)
{
	struct session *s;

	TAILQ_FOREACH(s, &p->sessions, link)
		if (s->slot == slot)
			return s;
	return NULL;
}

/* Read back what journal_checkpoint() wrote. */
static int journal_load_ckpt(struct pager *p, int fd)
{
	struct ckpt_head head;
	ssize_t n;

	if (lseek(fd, 0, SEEK_SET))
		return -errno;
	while ((n = fd_read_full(fd, &head, sizeof(head))) == sizeof(head)) {
		struct range wipe[SESSION_WIPES_MAX];
		struct extent_tree *owed = extent_tree_new();
		struct extent_view v;

		if (!owed)
			return -ENOMEM;
		if (head.slot >= STATE_SESSIONS || head.nwipes > SESSION_WIPES_MAX ||
		    fd_read_full(fd, wipe, head.nwipes * sizeof(wipe[0])) !=
			    (ssize_t)(head.nwipes * sizeof(wipe[0])))
			goto bad;
		for (uint64_t i = 0; i < head.nextents; i++)
			if (fd_read_full(fd, &v, sizeof(v)) != sizeof(v) || extent_insert(owed, v))
				goto bad;
		struct session *s = session_new(p, head.slot, owed);

		if (!s)
			return -ENOMEM;
		memcpy(s->wipe, wipe, sizeof(wipe));
		s->nwipes = head.nwipes;
		session_publish(p, s);
		continue;
bad:
		extent_tree_free(owed);
		return -EBADMSG;
	}
	return n ? -EBADMSG : 0;
}

/* Sessions that no checkpoint knows start from the images again. */
static int journal_load_images(struct pager *p)
{
	for (uint32_t i = 0; i < p->st->nslots; i++) {
		struct session_slot *slot = &p->st->session[i];
		struct session_image img;
		int ret;

		if (state_slot_is(slot, SESSION_FREE) || slot->birth != BIRTH_CRIU)
			continue;
		/* Also for tasks that ended: sources keep their numbers, and children need them. */
		ret = session_load(p, slot->vpid, &img);
		if (ret)
			return ret;
		struct session *s = journal_session(p, i);

		if (s) {
			/* What has changed since then shows when a block is looked at. */
			if (!s->huge && plan_init(s, img.huge, img.nhuge))
				log_warn("session %u: no memory to plan huge pages", i);
			extent_tree_free(img.owed);
			free(img.vma);
			free(img.huge);
			continue;
		}
		s = session_new_loaded(p, i, &img);
		if (!s)
			return -ENOMEM;
		session_publish(p, s);
	}
	return 0;
}

int journal_replay(struct pager *p)
{
	uint64_t epoch = p->st->epoch;
	struct uffd_msg *half = journal_half(p);
	struct session *s = NULL;
	int ckpt = log_epoch_ckpt(epoch), ret = 0;
	uint32_t i, keep = 0;

	p->replaying = true;
	if (ckpt >= 0)
		ret = journal_load_ckpt(p, ckpt);
	if (!ret)
		ret = journal_load_images(p);
	for (i = 0; !ret && i < LOG_HALF_SLOTS && half[i].event; i++) {
		const struct uffd_msg *m = &half[i];

		if (m->event == LOG_BATCH) {
			s = journal_session(p, m->arg.reserved.reserved1);
			continue;
		}
		if (m->event == UFFD_EVENT_PAGEFAULT)
			continue;
		/* Ranges whose end was not noted are noted anew. */
		if (m->event == LOG_WIPE)
			continue;
		keep = i + 1;
		if (m->event == LOG_WIPE_END || !s)
			continue;
		ret = session_apply(p, s, m, journal_seq(p, i));
	}
	p->replaying = false;
	if (ret)
		return ret;
	p->log_tail = keep;
	memset(&half[keep], 0, (LOG_HALF_SLOTS - keep) * sizeof(*half));
	log_info("replayed %u log slots over %s", keep, ckpt >= 0 ? "a checkpoint" : "the images");
	/* Wipe ranges that the dead pager had not noted yet. */
	for (unsigned int k = 0; k < p->nwipe_queue; k++)
		half[p->log_tail++] = p->wipe_queue[k];
	p->nwipe_queue = 0;
	return journal_has_room(p) ? 0 : journal_checkpoint(p);
}
