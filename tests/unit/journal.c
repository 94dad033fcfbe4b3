/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * journal: what a replay yields against a model, whatever the moment of death.
 *
 * A "uffd" is a pipe into which the test writes messages; reading one is all that the journal does
 * with it (waking fails quietly).  The model is an array of pages an address space.  A page is owed
 * a number, or placed (its number may or may not be owed again after a death), or owed nothing
 * (which no death may bring back).  Events are as good as applied once they were read.
 *
 *	journal [SEED]
 *
 * Deaths: after a batch was kept; between the read and the first, or any later, event applied; in
 * the middle of wiping the faults at the end of a batch.  Checkpoints come by themselves, as the
 * log fills, and by hand.
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "pager/internal.h"
#include "tests/tap.h"
#include "util/log.h"

#define PAGE 4096ull
#define BASE (1ull << 32)
#define PAGES 48
#define FAMILY 24	/* address spaces at most */
#define NOTHING (-1)

struct model {
	int in, out;		/* pipe; in is the "uffd" */
	int owed[PAGES];	/* offset in pages, or NOTHING */
	bool placed[PAGES];
	bool wipe[PAGES];	/* as children find it */
	bool rewiped;
};

static struct state *st;
static struct pager *p;
static struct model family[FAMILY];
static unsigned int seed = 1, nalive, deaths, forks, ends, flips;

static unsigned int any(unsigned int n)
{
	return (unsigned int)rand_r(&seed) % n;
}

static struct pager *pager_make(void)
{
	static const struct pager_opts opts;
	struct pager *new = calloc(1, sizeof(*new));

	new->st = st;
	new->opts = &opts;
	new->page_size = PAGE;
	new->adopted = st->incarnation++ > 0;
	TAILQ_INIT(&new->sessions);
	pthread_mutex_init(&new->sessions_lock, NULL);
	pthread_mutex_init(&new->table_lock, NULL);
	pthread_mutex_init(&new->drain_lock, NULL);
	pthread_cond_init(&new->drain_cond, NULL);
	new->fault_epfd = epoll_create1(EPOLL_CLOEXEC);
	new->fault_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	new->control_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return new;
}

static void pager_drop(void)
{
	struct session *s;

	while ((s = TAILQ_FIRST(&p->sessions))) {
		TAILQ_REMOVE(&p->sessions, s, link);
		session_put(s);
	}
	close(p->fault_epfd);
	close(p->fault_kick);
	close(p->control_kick);
	free(p);
}

static struct session *session_of(const struct model *m)
{
	struct session *s;

	TAILQ_FOREACH(s, &p->sessions, link)
		if (s->uffd == m->in)
			return s;
	return NULL;
}

static struct range pages(unsigned int first, unsigned int n)
{
	return range_make(BASE + first * PAGE, BASE + (first + n) * PAGE);
}

static struct model *model_new(void)
{
	int fd[2];

	for (int i = 0; i < FAMILY; i++) {
		if (family[i].in >= 0)
			continue;
		if (pipe2(fd, O_CLOEXEC | O_NONBLOCK))
			abort();
		memset(&family[i], 0, sizeof(family[i]));
		family[i].in = fd[0];
		family[i].out = fd[1];
		nalive++;
		return &family[i];
	}
	return NULL;
}

static void root_make(void)
{
	struct extent_tree *owed = extent_tree_new();
	struct model *m = model_new();
	int slot = state_slot_take(st);

	for (int i = 0; i < PAGES; i++) {
		bool has = any(8) != 0;

		m->owed[i] = has ? (int)(any(4) ? i : 1000 + i) : NOTHING;
		m->placed[i] = false;
		m->wipe[i] = i / 4 == 2;
		if (has)
			extent_insert(owed, (struct extent_view){ pages(i, 1), m->owed[i] * PAGE, 0 });
	}
	/* As if forked by somebody: what criu sends is read from images, and there are none. */
	st->session[slot].birth = BIRTH_FORK;
	st->session[slot].birth_seq = UINT64_MAX;
	st->session[slot].uffd = m->in;
	st->session[slot].state = SESSION_OPEN;

	struct session *s = session_new(p, slot, owed);

	s->wipe[s->nwipes++] = pages(8, 4);
	session_publish(p, s);
	journal_checkpoint(p);
}

/* One message, of which the model hears as well. */
static void happen(struct model *m, bool no_fork)
{
	unsigned int a = any(PAGES), n = 1 + any(6), b;
	struct uffd_msg msg = { 0 };
	struct model *child;

	if (a + n > PAGES)
		n = PAGES - a;
	switch (any(10)) {
	case 0:
	case 1:
		msg.event = any(2) ? UFFD_EVENT_REMOVE : UFFD_EVENT_UNMAP;
		msg.arg.remove.start = pages(a, n).start.v;
		msg.arg.remove.end = pages(a, n).end.v;
		for (unsigned int i = a; i < a + n; i++)
			m->owed[i] = NOTHING;
		break;
	case 2:
	case 3:
		b = any(PAGES);
		if (b + n > PAGES || (a < b + n && b < a + n))
			return;
		msg.event = UFFD_EVENT_REMAP;
		msg.arg.remap.from = pages(a, n).start.v;
		msg.arg.remap.to = pages(b, n).start.v;
		msg.arg.remap.len = n * PAGE;
		for (unsigned int i = 0; i < n; i++) {
			m->owed[b + i] = m->owed[a + i];
			m->placed[b + i] = m->placed[a + i];
			m->owed[a + i] = NOTHING;
		}
		break;
	case 4:
		child = no_fork ? NULL : model_new();
		if (!child)
			return;
		msg.event = UFFD_EVENT_FORK;
		msg.arg.fork.ufd = child->in;
		for (int i = 0; i < PAGES; i++) {
			child->owed[i] = m->wipe[i] ? NOTHING : m->owed[i];
			child->placed[i] = m->placed[i];
			child->wipe[i] = m->wipe[i];
		}
		forks++;
		break;
	default:
		msg.event = UFFD_EVENT_PAGEFAULT;
		msg.arg.pagefault.address = pages(a, 1).start.v;
	}
	if (write(m->out, &msg, sizeof(msg)) != sizeof(msg))
		abort();
}

/* WIPEONFORK ranges change now and then, and nothing tells but /proc when a fork is applied. */
static void rewipe(struct model *m)
{
	unsigned int a = any(PAGES - 5), n = 1 + any(4);

	for (unsigned int i = 0; i < PAGES; i++)
		m->wipe[i] = i >= a && i < a + n;
	m->rewiped = true;
}

static void read_wipes(const struct model *m, struct session *s)
{
	s->nwipes = 0;
	for (unsigned int i = 0; i < PAGES; i++)
		if (m->wipe[i])
			s->wipe[s->nwipes++] = pages(i, 1);
}

static void check(const char *when)
{
	unsigned int lost = 0, back = 0, other = 0, missing = 0;

	for (int k = 0; k < FAMILY; k++) {
		struct model *m = &family[k];
		struct session *s = m->in < 0 ? NULL : session_of(m);

		missing += m->in >= 0 && !s;
		for (int i = 0; s && i < PAGES; i++) {
			struct extent_view v;
			bool owed = extent_lookup(s->owed, pages(i, 1).start, &v);
			int64_t off = owed ? (int64_t)(v.offset + pages(i, 1).start.v -
						       v.at.start.v) / (int64_t)PAGE : NOTHING;

			if (m->owed[i] == NOTHING)
				back += owed;
			else if (!owed)
				lost += !m->placed[i];
			else
				other += off != m->owed[i];
		}
	}
	if (lost || back || other || missing) {
		ok(false, "%s", when);
		note("seed state %u, after %u deaths: %u pages lost, %u came back, %u are others, "
		     "%u sessions missing", seed, deaths, lost, back, other, missing);
		exit(tap_done());
	}
}

static void die(void)
{
	deaths++;
	pager_drop();
	p = pager_make();
	if (journal_replay(p) || session_wake_up(p)) {
		ok(false, "a replay succeeds");
		exit(tap_done());
	}
	check("after a death");
}

/* One read, as the fault thread does it, and perhaps a death in the middle. */
static void batch(void)
{
	struct model *m;
	struct session *s;
	struct uffd_msg *msgs;
	unsigned int mode = any(40), keep = 0, upto;
	uint64_t seq, count = log_epoch_count(st->epoch);
	bool dies = mode < 3;
	int n;

	do
		m = &family[any(FAMILY)];
	while (m->in < 0);
	s = session_of(m);
	if (any(4) == 0)
		rewipe(m);
	read_wipes(m, s);
	/* What children get that nobody has noted is asked of /proc, which is not there to be asked. */
	for (unsigned int i = 1 + any(8); i--;)
		happen(m, dies && m->rewiped);
	n = journal_read(p, s, &msgs, &seq);
	upto = dies ? any(n + 1) : (unsigned int)n;
	for (int i = 0; i < n; i++) {
		if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
			continue;
		keep = i + 1;
		if ((unsigned int)i < upto && session_apply(p, s, &msgs[i], seq + i))
			abort();
	}
	if (dies) {
		for (int i = n - 1; mode == 2 && i >= (int)keep && any(3); i--)
			memset(&msgs[i], 0, sizeof(msgs[i]));
		die();
		return;
	}
	if (journal_keep(p, keep))
		abort();
	flips += log_epoch_count(st->epoch) != count;
	if (mode == 3)
		die();
}

static void place(void)
{
	struct model *m = &family[any(FAMILY)];
	unsigned int i = any(PAGES);
	struct session *s = m->in < 0 ? NULL : session_of(m);

	if (!s || m->owed[i] == NOTHING)
		return;
	session_placed(p, s, pages(i, 1), &s->n->copied_drain_bytes);
	m->placed[i] = true;
}

static void end_one(void)
{
	struct model *m = &family[any(FAMILY)];

	if (m->in < 0 || nalive < 4)
		return;
	session_end(p, session_of(m), SESSION_GONE);
	close(m->out);
	m->in = -1;
	nalive--;
	ends++;
}

int main(int argc, char **argv)
{
	struct rlimit lim, none;
	int state_fd;

	tap_timeout(120);
	if (argc > 1)
		seed = strtoul(argv[1], NULL, 10);
	st = state_create(&state_fd);
	for (int i = 0; i < FAMILY; i++)
		family[i].in = -1;
	p = pager_make();
	root_make();
	for (unsigned int i = 0; i < 15000; i++) {
		batch();
		place();
		place();
		if (any(12) == 0)
			end_one();
		if (any(2000) == 0)
			journal_checkpoint(p);
		if (any(100) == 0)
			check("while alive");
	}
	ok(true, "%u deaths, %u forks, %u ends, %u log halves: what is owed is right", deaths, forks,
	   ends, flips);

	/* No descriptor for a checkpoint: nothing is read any more, and nothing is overwritten. */
	getrlimit(RLIMIT_NOFILE, &lim);
	none = lim;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	log_init("journal", LOG_ERR);

	struct session *s = TAILQ_FIRST(&p->sessions);
	struct model *m = NULL;
	struct uffd_msg *msgs, msg = { .event = UFFD_EVENT_REMOVE };
	unsigned int blocked = 0;
	uint64_t seq, epoch = st->epoch;

	for (int i = 0; i < FAMILY; i++)
		if (family[i].in == s->uffd)
			m = &family[i];
	msg.arg.remove.start = pages(0, 1).start.v;
	msg.arg.remove.end = pages(0, 1).end.v;
	m->owed[0] = NOTHING;
	for (unsigned int i = 0; i < LOG_HALF_SLOTS && blocked < 3; i++) {
		if (write(m->out, &msg, sizeof(msg)) != sizeof(msg))
			abort();
		int n = journal_read(p, s, &msgs, &seq);

		for (int k = 0; k < n; k++)
			session_apply(p, s, &msgs[k], seq + k);
		journal_keep(p, n > 0 ? n : 0);
		blocked += n == 0;
	}
	is_u64(blocked, 3, "with no checkpoint to be had events are not read");
	ok(st->epoch == epoch && p->log_tail <= LOG_HALF_SLOTS, "the log ends where its half ends");
	setrlimit(RLIMIT_NOFILE, &lim);
	journal_keep(p, 0);
	ok(st->epoch != epoch, "the checkpoint is made later");
	is_i64(journal_read(p, s, &msgs, &seq), 3, "and the events are read then");
	for (int k = 0; k < 3; k++)
		session_apply(p, s, &msgs[k], seq + k);
	journal_keep(p, 3);
	die();
	ok(true, "and survive a death");
	return tap_done();
}
