// SPDX-License-Identifier: GPL-2.0-only
/* check: may it be done, and if not why. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "inject/internal.h"
#include "kapi/procmem.h"
#include "kapi/task.h"

#define STOP_TIMEOUT_MS 5000
#define ASLEEP_MS 500

int error_set(struct inject_error *err, int error, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return error;
	err->error = error;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return error;
}

int inject_check(pid_t pid, const struct inject_opts *opts, struct inject_error *err)
{
	struct task_status st;
	pid_t tid, pick = task_pick(pid, &tid);
	int ret, fd;

	if (!regs_supported())
		return error_set(err, -ENOTSUP, "agents are not made for this architecture");
	if (pick < 0 && pick != -EAGAIN)
		return error_set(err, pick, "it has ended");
	ret = task_status(pid, tid, &st);
	if (ret)
		return error_set(err, ret, "%s", strerror(-ret));
	if (!opts->traced && st.tracer)
		return error_set(err, -EBUSY, "traced by process %d; end that one", st.tracer);
	ret = task_native(tid);
	if (ret < 0)
		return error_set(err, ret == -EACCES ? -EPERM : ret, "not to be looked at: %s%s",
				 strerror(-ret), ret == -EACCES ? "; run as root" : "");
	if (!ret)
		return error_set(err, -ENOTSUP, "a 32-bit task, or one of the kernel's");
	if (st.shadow_stack)
		return error_set(err, -ENOTSUP, "it runs with a shadow stack");
	if (st.seccomp && (opts->traced || !opts->keep_traced))
		return error_set(err, -EACCES, "a seccomp filter would kill the agent");
	fd = procmem_open(tid);
	if (fd < 0)
		return error_set(err, fd == -ENOENT ? -ESRCH : -EPERM,
				 "ptrace is not allowed: %s; run as root", strerror(-fd));
	close(fd);
	return 0;
}

int check_patiently(pid_t pid, const struct inject_opts *opts, struct inject_error *err)
{
	const struct timespec ms = { 0, 1000000 };

	for (unsigned int waited = 0;; waited++) {
		int ret = inject_check(pid, opts, err);

		if (ret != -EBUSY || waited >= opts->patience_ms)
			return ret;
		nanosleep(&ms, NULL);
	}
}

int check_stop(struct remote *r, pid_t pid, const struct inject_opts *opts, bool no_seccomp,
	       struct inject_error *err)
{
	const struct timespec ms = { 0, 1000000 };
	unsigned int patience = opts->patience_ms > ASLEEP_MS ? opts->patience_ms : ASLEEP_MS;
	int ret = remote_open(r, pid);

	/* A disk answers in a moment, as a rule. */
	for (unsigned int waited = 0; ret == -EAGAIN && waited < patience; waited++) {
		nanosleep(&ms, NULL);
		ret = remote_open(r, pid);
	}
	if (!ret) {
		r->lent = opts->traced;
		r->no_seccomp = no_seccomp;
		step(opts, STEP_CHOSEN);
		ret = remote_stop(r, STOP_TIMEOUT_MS);
		if (ret)
			remote_close(r);
	}
	switch (ret) {
	case 0:
		return 0;
	case -EPERM: {
		struct task_status st;

		if (!opts->traced && !task_status(pid, r->tid, &st) && st.tracer)
			return error_set(err, -EBUSY, "traced by process %d; end that one", st.tracer);
		return error_set(err, -EPERM, "ptrace is not allowed%s",
				 no_seccomp ? " with its seccomp filter suspended" : "; run as root");
	}
	case -EAGAIN:
		return error_set(err, ret, "all its threads sleep uninterruptibly");
	case -ETIMEDOUT:
		return error_set(err, ret, "thread %d does not stop (frozen, or waiting for a device)",
				 r->tid);
	case -ENOEXEC:
		return error_set(err, ret, "no system call instruction in its memory");
	case -ENOTSUP:
		return error_set(err, ret, "it runs 32-bit code just now");
	case -ESRCH:
		return error_set(err, ret, "it has ended");
	}
	return error_set(err, ret, "cannot be stopped: %s", strerror(-ret));
}
