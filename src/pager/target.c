/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * target: which process is behind a uffd.
 *
 * The kernel does not tell: a uffd names no process, and a FORK event carries no pid.  We need the
 * pid for three things: to kill a target whose bytes are lost, to see guard pages in its pagemap,
 * and to show it.  A wrong pid would be worse than none, so it is guessed and then proven:
 *
 *	guess	a task that criu sent: a descendant of criu restore (the socket names it) whose pid
 *		in its innermost namespace is the one in the image; a forked child: a child of its
 *		parent's process; else any process that came after us
 *	proof	a page that is owed is placed through the uffd, and the pagemap entries of the
 *		candidates are read before and after: the one whose page came is the one
 *
 * The proof is made once criu has said that all tasks are in place.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "kapi/uffd.h"
#include "pager/internal.h"
#include "util/fd.h"
#include "util/log.h"

#define CANDIDATES_MAX 4096

int target_read_wipes(pid_t pid, struct range *out, unsigned int max)
{
	char path[32], line[512];
	unsigned long long start = 0, end = 0;
	unsigned int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		unsigned long long a, b;

		if (sscanf(line, "%llx-%llx ", &a, &b) == 2) {
			start = a;
			end = b;
		} else if (!strncmp(line, "VmFlags:", 8) &&
			   (strstr(line, " wf") || strstr(line, " dc"))) {
			if (n == max) {
				fclose(f);
				return -E2BIG;
			}
			out[n++] = range_make(start, end);
		}
	}
	fclose(f);
	return n;
}

/* All descendants of @root with the given innermost pid; @root's siblings too (restore-sibling). */
static int target_by_vpid(pid_t root, int vpid, pid_t *out, int max)
{
	static pid_t queue[CANDIDATES_MAX];
	int n = 0, head = 0, tail = 0;

	if (root <= 0)
		return 0;
	queue[tail++] = root;
	pid_t parent = proc_ppid(root);

	if (parent > 1) {
		int got = proc_children(parent, queue + tail, CANDIDATES_MAX - tail);

		/* @root is among them, and is not to be walked twice. */
		for (int i = 0; i < got; i++)
			if (queue[1 + i] != root)
				queue[tail++] = queue[1 + i];
	}
	while (head < tail) {
		pid_t pid = queue[head++];
		int got = proc_children(pid, queue + tail, CANDIDATES_MAX - tail);

		tail += got > 0 ? got : 0;
		if (pid != root && proc_nspid(pid) == vpid && n < max)
			out[n++] = pid;
	}
	return n;
}

static int target_candidates(struct pager *p, struct session *s, pid_t *out, int max)
{
	int n = 0, got;

	if (s->guess > 0 && s->identify_tries < IDENTIFY_TRIES / 2) {
		out[0] = s->guess;
		return 1;
	}
	if (s->shm->birth == BIRTH_CRIU)
		n = target_by_vpid(p->st->peer_pid, s->shm->vpid, out, max);
	else if (p->st->session[s->shm->parent].pid > 0)
		n = proc_children(p->st->session[s->shm->parent].pid, out, max);
	if (n > 0 && s->identify_tries < IDENTIFY_TRIES / 2)
		return n;
	/* The parent may be gone and its children somebody else's. */
	n = n > 0 ? n : 0;
	int near = n;

	got = proc_all(out + n, max - n);
	/* Each once: a process that came twice would seem to be two. */
	for (int i = near; i < near + got; i++) {
		int twin = 0;

		while (twin < near && out[twin] != out[i])
			twin++;
		if (twin == near)
			out[n++] = out[i];
	}
	if (s->shm->birth == BIRTH_CRIU) {
		int k = 0;

		for (int i = 0; i < n; i++)
			if (proc_nspid(out[i]) == s->shm->vpid)
				out[k++] = out[i];
		n = k;
	}
	return n;
}

struct candidate {
	pid_t pid;
	int fd;		/* pagemap */
	bool missing;	/* the page was not there before */
};

/*
 * The first owed page that is a guard page in none of the candidates (COPY would delete the
 * guard), and in which of them it is missing: only those can show that it comes.
 */
static bool target_choose(struct pager *p, struct session *s, struct candidate *c, int n,
			  struct extent_view *v)
{
	uint64_t entry, at = 0;
	bool guard;

	do {
		if (!extent_next(s->owed, taddr(at), v))
			return false;
		at = v->at.start.v + p->page_size;
		guard = false;
		for (int i = 0; i < n; i++) {
			c[i].missing = !proc_pagemap_read(c[i].fd, v->at.start.v, p->page_size, 1,
							  &entry);
			if (!c[i].missing)
				continue;
			guard |= !!(entry & PAGEMAP_GUARD);
			c[i].missing = !(entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED));
		}
	} while (guard);
	return true;
}

/*
 * Place one page that is owed and see whose pagemap shows it.
 * Return: the pid; 0 when it cannot be told; -EAGAIN when that page stood there already.
 */
static pid_t target_prove(struct pager *p, struct session *s, struct candidate *c, int n)
{
	struct extent_view v;
	uint64_t entry;
	char page[65536];
	pid_t found = 0;
	int hits = 0;

	if (p->page_size > sizeof(page))
		return 0;
	gate_enter(&s->gate);
	if (!s->owed || !target_choose(p, s, c, n, &v))
		goto out;
	if (source_fetch(p->sources[v.source], v.offset, page, p->page_size, true)) {
		/* Cold: read it with the gate open, the next try will find it. */
		gate_leave(&s->gate);
		if (source_fetch(p->sources[v.source], v.offset, page, p->page_size, false))
			log_debug("session %u: the page for the proof cannot be read", s->slot);
		return 0;
	}
	/* A file that was cut and grew again reads as zeros; whoever serves it says so. */
	if (source_verify(p->sources[v.source]))
		goto out;
	gate_share(&s->gate);
	struct place_report r = place_copy(s->uffd, v.at.start, page, p->page_size, p->page_size);

	gate_unshare(&s->gate);
	if (r.why == PLACE_ALREADY) {
		session_placed(p, s, range_make(v.at.start.v, v.at.start.v + p->page_size),
			       &s->n->copied_drain_bytes);
		found = -EAGAIN;
	}
	if (r.why != PLACE_DONE)
		goto out;
	session_placed(p, s, range_make(v.at.start.v, v.at.start.v + p->page_size),
		       &s->n->copied_drain_bytes);
	for (int i = 0; i < n; i++) {
		if (!c[i].missing || proc_pagemap_read(c[i].fd, v.at.start.v, p->page_size, 1, &entry) ||
		    !(entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)))
			continue;
		found = c[i].pid;
		hits++;
	}
out:
	gate_leave(&s->gate);
	/* Threads of one process share its pagemap, but only leaders are candidates. */
	return hits == 1 || found < 0 ? found : 0;
}

void target_find(struct pager *p, struct session *s)
{
	static pid_t pids[CANDIDATES_MAX];
	static struct candidate c[CANDIDATES_MAX];
	int n, k = 0;

	if (s->shm->pid > 0 || s->identify_tries >= IDENTIFY_TRIES || !p->st->restored)
		return;
	s->identify_tries++;
	n = target_candidates(p, s, pids, CANDIDATES_MAX);
	for (int i = 0; i < n; i++) {
		if (pids[i] == getpid() || pids[i] == p->st->keeper_pid)
			continue;
		c[k].fd = proc_pagemap_open(pids[i]);
		if (c[k].fd < 0)
			continue;
		c[k++].pid = pids[i];
	}
	pid_t pid;

	do {
		pid = target_prove(p, s, c, k);
	} while (pid == -EAGAIN);

	for (int i = 0; i < k; i++) {
		if (pid && c[i].pid == pid && s->pagemap_fd < 0)
			s->pagemap_fd = c[i].fd;
		else
			close(c[i].fd);
	}
	if (!pid) {
		if (s->identify_tries == IDENTIFY_TRIES)
			log_warn("session %u: cannot tell which process it is; served all the same",
				 s->slot);
		return;
	}
	int pidfd = proc_pidfd_open(pid);
	uint64_t entry;

	/* Had the process ended before, its pid might be another's now; its pagemap would not read. */
	if (pidfd >= 0 && proc_pagemap_read(s->pagemap_fd, 0, p->page_size, 1, &entry)) {
		close(pidfd);
		return;
	}
	/* Known from a guess?  That was the same process, or the wrong one. */
	int old = s->shm->pidfd;

	s->shm->pidfd = pidfd < 0 ? -1 : pidfd;
	if (old >= 0)
		close(old);
	s->shm->pid = pid;
	log_info("session %u (image pid %d) is process %d", s->slot, s->shm->vpid, pid);
	pager_kick_drain(p);
}

/*
 * Before the tasks are in place nothing can be proven.  But then they are criu's own descendants,
 * not one of their instructions has run, and killing one makes the restore fail, which is right.
 */
void target_guess(struct pager *p, struct session *s)
{
	pid_t pid[2];
	int fd;

	if (s->guess || target_by_vpid(p->st->peer_pid, s->shm->vpid, pid, 2) != 1)
		return;
	/* Looked at again with the pidfd in hand: from here on no other process can be meant. */
	fd = proc_pidfd_open(pid[0]);
	if (fd < 0)
		return;
	if (target_by_vpid(p->st->peer_pid, s->shm->vpid, pid, 2) != 1 || proc_pidfd_exited(fd)) {
		close(fd);
		return;
	}
	s->guess = pid[0];
	s->guess_fd = fd;
}

bool target_kill(struct pager *p, struct session *s)
{
	int ret;

	if (s->shm->pid <= 0 && p->st->restored)
		target_find(p, s);
	else if (s->shm->pid <= 0)
		target_guess(p, s);
	/* Where nothing can be proven (yet, or without a source) what criu made for this pid it is. */
	if (s->shm->pidfd < 0 && s->guess > 0 &&
	    (!p->st->restored || s->identify_tries >= IDENTIFY_TRIES)) {
		s->shm->pidfd = s->guess_fd;
		s->shm->pid = s->guess;
		s->guess_fd = -1;
	}
	if (s->shm->pidfd < 0)
		return false;
	/* Gone by exec: what the process is now owes us nothing. */
	if (uffd_mm_gone(s->uffd, 1 << 20, p->page_size)) {
		s->ending = true;
		pager_kick(p->fault_kick);
		return true;
	}
	if (!s->kill_logged)
		log_err("killing process %d (image pid %d): %s", s->shm->pid, s->shm->vpid,
			s->shm->reason);
	s->kill_logged = true;
	ret = proc_pidfd_kill(s->shm->pidfd, SIGKILL);
	pager_kick(p->fault_kick);
	return !ret || ret == -ESRCH;
}
