/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * keeper: the second holder of every uffd.
 *
 * Theory of operation
 * -------------------
 * When the last descriptor of a userfaultfd is closed the kernel gives the target zeros for all
 * that is missing.  So two processes hold the uffds of a restore: the keeper, which does nothing
 * that could fail, and the pager, which does everything.  They share one descriptor table
 * (CLONE_FILES): a uffd that the pager receives, or that a FORK event brings, is the keeper's in
 * the same instant.  Neither ever executes another program, since exec would unshare the table.
 *
 *	the pager dies		waitpid() tells; a new one is cloned, finds the shared state and
 *				goes on (see state.h); the targets were blocked meanwhile
 *	the keeper dies		its pidfd tells the pager, whose threads come to rest; what is left
 *				of it is a process with one thread, and that becomes the keeper and
 *				clones a pager
 *	both at once		the kernel closes the table: zeros.  Nothing outside the targets can
 *				help; each has its own session and, where permitted, is out of the
 *				OOM killer's sight
 *
 * The keeper is the process that the caller waits for and whose pid is in the pidfile, so a
 * replaced pager is no failure to anyone.
 *
 * A pager that cannot go on from what its predecessor left (PAGER_HOPELESS), or one that dies
 * again and again without placing a page, leaves one thing to do: end the targets, by name, before
 * their uffds close.  A target that cannot be ended keeps its keeper for ever: blocked, not wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kapi/cgroup.h"
#include "kapi/proc.h"
#include "kapi/uffd.h"
#include "pager/hand.h"
#include "pager/internal.h"
#include "pager/keeper.h"
#include "util/fd.h"
#include "util/log.h"

/* Deaths in a row without a page placed after which we give up. */
#define KEEPER_DEATHS_MAX 20
#define KEEPER_POLL_US 20000
/* Hands that are started in the place of one that died. */
#define KEEPER_HANDS_MAX 100

int keeper_pidfile(const char *path, bool first)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", getpid());
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (first ? O_EXCL : O_TRUNC),
				 0600);
	int ret = fd < 0 ? -errno : fd_write_full(fd, text, n);

	if (ret)
		log_err("pidfile %s: %s", path, strerror(-ret));
	return ret;
}

static void keeper_doze(uint64_t us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

/* End every target that is still owed something. Return: 1, the exit status. */
static int keeper_end_targets(struct state *st, const char *why)
{
	uint32_t left;
	bool said = false;

	st->failed = 1;
	do {
		left = 0;
		for (uint32_t i = 0; i < st->nslots; i++) {
			struct session_slot *slot = &st->session[i];

			if (!state_slot_is(slot, SESSION_OPEN))
				continue;
			if (uffd_mm_gone(slot->uffd, 1 << 20, sysconf(_SC_PAGESIZE))) {
				atomic_store(&slot->state, SESSION_KILLED);
				continue;
			}
			left++;
			if (slot->pidfd < 0)
				continue;
			if (!said)
				log_err("killing process %d (image pid %d): %s", slot->pid,
					slot->vpid, slot->reason[0] ? slot->reason : why);
			if (!slot->reason[0])
				snprintf(slot->reason, sizeof(slot->reason), "%s", why);
			if (proc_pidfd_kill(slot->pidfd, SIGKILL))
				continue;
		}
		said = true;
		if (left)
			keeper_doze(KEEPER_POLL_US);
	} while (left);
	return 1;
}

/* See to it that there is a hand: at the beginning, when it has ended, or the pager misses it. */
static void keeper_hand(struct state *st, bool begin)
{
	static unsigned int again = KEEPER_HANDS_MAX;
	pid_t hand = st->hand_pid;
	bool died = hand > 0 && waitpid(hand, NULL, WNOHANG) == hand;

	if (died) {
		log_warn("the hand (pid %d) has ended", hand);
		st->hand_pid = 0;
	}
	if (!died && !begin && !st->hand_wanted)
		return;
	st->hand_wanted = 0;
	/* Without one there are no agents, and all else works. */
	hand = st->hand_pid;
	if (!again && died)
		st->hand_pid = -1;
	else if (again && !hand_start(st) && st->hand_pid != hand)
		again--;
}

/* Wait for the pager's end. Return: its wait status. */
static int keeper_wait(struct state *st, pid_t pager)
{
	sigset_t set;
	int status;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	for (;;) {
		pid_t got = waitpid(pager, &status, WNOHANG);

		if (got == pager)
			return status;
		keeper_hand(st, false);
		int sig = sigtimedwait(&set, NULL, &(struct timespec){ .tv_sec = 1 });

		if (sig == SIGTERM || sig == SIGINT) {
			if (!st->finish)
				log_info("signal %d: bringing in what is left, then ending", sig);
			st->finish = 1;
		}
	}
}

/* Is somebody else taking over by hand? */
static bool keeper_superseded(const struct state *st)
{
	return (st->handover && st->handover != (uint32_t)getpid()) || st->keeper_pid != getpid();
}

/* Wait a little; SIGTERM still means what it means. */
static void keeper_pause(struct state *st)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigtimedwait(&set, NULL, &(struct timespec){ .tv_nsec = KEEPER_POLL_US * 1000 }) > 0)
		st->finish = 1;
}

/*
 * Wait until the one who takes over has said that it has, or has died or given up before.
 * Exactly one of the two keepers goes on: it says so, or we say that it may not, in st->handed.
 * Return: its pid, or 0: we are the keeper as before.
 */
static uint32_t keeper_await_handover(struct state *st)
{
	uint32_t who, handed;

	while ((who = st->handover)) {
		cleanup_fd int pidfd = proc_pidfd_open(who);

		while (st->handover == who && st->handed != who && pidfd >= 0 &&
		       !proc_pidfd_exited(pidfd))
			keeper_pause(st);
		/* Somebody took over so quickly that the next one is at it already. */
		if (st->keeper_pid != getpid())
			return st->keeper_pid;
		/* Given up, or it goes by another pid now that it is a daemon. */
		if (st->handover != who)
			continue;
		handed = 0;
		if (st->handed == who ||
		    (!atomic_compare_exchange_strong(&st->handed, &handed, HANDED_TAKEN_BACK) &&
		     handed != HANDED_TAKEN_BACK))
			return who;
		if (st->keeper_pid != getpid())
			return st->keeper_pid;
		log_warn("process %u died while taking over", who);
		atomic_compare_exchange_strong(&st->handover, &who, 0);
		return 0;
	}
	return st->keeper_pid == getpid() ? 0 : (uint32_t)st->keeper_pid;
}

/*
 * --adopt by hand: once the other holds all descriptors ours must go, or an address space would
 * stay registered with a uffd that nobody serves.  Our caller still waits for us.
 * Return: exit status, or -1 when we are the keeper as before.
 */
static int keeper_stand_down(struct state *st)
{
	uint32_t who = keeper_await_handover(st);

	if (!who)
		return -1;
	log_info("process %u has taken over", who);
	fdtable_close_all(-1);
	/* Its pager may have taken its place, too: wait for whoever is the keeper in the end. */
	for (unsigned int idle = 0; st->result < 0 && idle < 100;) {
		pid_t keeper = st->keeper_pid;
		cleanup_fd int pidfd = keeper == getpid() ? -1 : proc_pidfd_open(keeper);

		if (pidfd < 0)
			idle++;
		while (pidfd >= 0 && !proc_pidfd_exited(pidfd)) {
			idle = 0;
			keeper_pause(st);
		}
		keeper_pause(st);
	}
	return st->result < 0 ? 1 : st->result;
}

/* The last step of taking over by hand. Return: 0, or -ECANCELED: too late. */
static int keeper_commit(struct state *st)
{
	uint32_t me = getpid(), none = 0;

	if (st->handover != me || st->handed == me)
		return 0;
	if (atomic_compare_exchange_strong(&st->handed, &none, me))
		return 0;
	log_err("the old keeper has gone on by itself");
	return -ECANCELED;
}

static void keeper_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* The pager inherits it: only SIGKILL ends a pager. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
}

/*
 * In a new pager, before it touches anything: no other pager may be at work.  A take-over by hand
 * that is cut short at the wrong moment can leave one that nobody waits for; it would read the same
 * uffds into the same log.  Return: whether we are the one that is to go on.
 */
static bool keeper_claim(struct state *st)
{
	for (;;) {
		int32_t other = st->running_pid;
		cleanup_fd int pidfd = other && other != getpid() ? proc_pidfd_open(other) : -1;

		/* The pid may be somebody else's by now. */
		if (pidfd < 0 || proc_pidfd_exited(pidfd) ||
		    proc_start_time(other) != st->running_start) {
			if (!atomic_compare_exchange_strong(&st->running_pid, &other, getpid()))
				continue;
			st->running_start = proc_start_time(getpid());
			return true;
		}
		/* The child of a keeper that is not the keeper any more is not to go on. */
		if (getppid() != st->keeper_pid && proc_start_time(st->keeper_pid))
			return false;
		log_warn("pager %d is still at work; ending it", other);
		proc_pidfd_kill(pidfd, SIGKILL);
		while (!proc_pidfd_exited(pidfd))
			keeper_doze(1000);
	}
}

/* One keeper's life. Return: exit status, or PAGER_ORPHANED in a pager that must become one. */
static int keeper_life(struct state *st, const struct pager_opts *opts, int state_fd)
{
	uint64_t progress = st->progress;
	unsigned int deaths = 0;

	st->keeper_pid = getpid();
	if (st->keep_fd >= 0)
		close(st->keep_fd);
	st->keep_fd = proc_pidfd_open(getpid());
	/* Listening again makes the socket name us, not a process that we are the daemon of. */
	if (listen(st->control_fd, CONTROL_BACKLOG))
		log_debug("control socket: %s", strerror(errno));
	for (;;) {
		if (opts->agent)
			keeper_hand(st, true);
		st->incarnation++;
		pid_t pid = proc_clone_files();

		if (pid == 0) {
			log_role("pager");
			setsid();
			/* Apart from the keeper, so that one kill of a group leaves one of us. */
			if (st->home_cgroup_fd >= 0 && cgroup_enter(st->home_cgroup_fd))
				log_warn("pager: cannot leave the keeper's cgroup");
			st->pager_pid = getpid();
			/* Who takes over ends the pager that it sees here, or is seen by it. */
			if (st->handover && st->handover != (uint32_t)st->keeper_pid)
				_exit(PAGER_STOOD_DOWN);
			if (!keeper_claim(st))
				_exit(PAGER_STOOD_DOWN);
			int ret = pager_run(st, opts, st->keep_fd, state_fd);

			if (ret == PAGER_ORPHANED) {
				/* Alive, but no pager any more. */
				st->running_pid = 0;
				return ret;
			}
			_exit(ret);
		}
		if (pid < 0) {
			if (!deaths)
				log_err("cannot start a pager: %s", strerror(-pid));
			if (++deaths > KEEPER_DEATHS_MAX)
				return keeper_end_targets(st, "no pager can be started");
			keeper_doze(KEEPER_POLL_US * deaths);
			continue;
		}
		int status = keeper_wait(st, pid);

		if (keeper_superseded(st)) {
			int ret = keeper_stand_down(st);

			if (ret >= 0)
				return ret;
			continue;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) <= 1)
			return keeper_end_targets(st, "the pager gave up") & WEXITSTATUS(status);
		if (WIFEXITED(status) && WEXITSTATUS(status) == PAGER_HOPELESS)
			return keeper_end_targets(st, "its restore could not be adopted");
		log_warn("pager %d was ended by %s %d; starting another", pid,
			 WIFSIGNALED(status) ? "signal" : "exit",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		deaths = st->progress == progress ? deaths + 1 : 0;
		progress = st->progress;
		if (deaths >= KEEPER_DEATHS_MAX)
			return keeper_end_targets(st, "pagers die one after another");
	}
}

/* The keeper's own cgroup, where one was named. Return: 0 or -errno, logged. */
static int keeper_cgroup(struct state *st, const char *dir)
{
	int ret;

	if (!dir)
		return 0;
	if (st->home_cgroup_fd < 0)
		st->home_cgroup_fd = cgroup_open_home(dir);
	cleanup_fd int fd = cgroup_open(dir);

	ret = st->home_cgroup_fd < 0 ? st->home_cgroup_fd : fd < 0 ? fd : cgroup_enter(fd);
	if (ret)
		log_err("--keeper-cgroup %s: %s", dir, strerror(-ret));
	return ret;
}

int keeper_serve(struct state *st, const struct pager_opts *opts, int state_fd)
{
	int ret;

	keeper_signals();
	log_role("keeper");
	/* Best effort, both: lowering the score needs CAP_SYS_RESOURCE. */
	if (proc_protect_from_oom())
		log_debug("the OOM killer may choose the keeper");
	proc_raise_nofile();
	if (keeper_cgroup(st, opts->keeper_cgroup))
		return 1;
	if (keeper_commit(st))
		return 1;
	while ((ret = keeper_life(st, opts, state_fd)) == PAGER_ORPHANED) {
		uint32_t gone = st->keeper_pid;

		log_warn("keeper %u is gone; taking its place", gone);
		/* If that one had taken over by hand, the right to be the keeper is ours now. */
		if (st->handed == gone) {
			st->handed = getpid();
			atomic_compare_exchange_strong(&st->handover, &gone, (uint32_t)getpid());
		}
		if (keeper_cgroup(st, opts->keeper_cgroup))
			log_warn("the new keeper stays in the pager's cgroup");
		log_role("keeper");
		if (opts->pidfile)
			keeper_pidfile(opts->pidfile, false);
	}
	hand_stop(st);
	st->result = ret;
	return ret;
}
