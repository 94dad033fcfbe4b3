// SPDX-License-Identifier: GPL-2.0-only
/*
 * limits: resource limits of the target that would be in the way.
 *
 * The staging area counts for RLIMIT_AS and RLIMIT_DATA, and for RLIMIT_MEMLOCK for a moment if the
 * target locks what it maps; the clone for RLIMIT_NPROC.  The agent inherits what is in force when
 * it is cloned, so it may open descriptors where the target may not.
 */
#include <errno.h>
#include <sys/resource.h>

#include "inject/internal.h"

static const int resources[LIMITS] = {
	RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_NPROC, RLIMIT_NOFILE,
};

/* Descriptors that the agent may need. */
#define NOFILE_ENOUGH 256

void limits_lift(pid_t pid, struct limits *l)
{
	for (int i = 0; i < LIMITS; i++) {
		struct rlimit old, most = { RLIM_INFINITY, RLIM_INFINITY };
		bool files = resources[i] == RLIMIT_NOFILE;

		l->old[i].lifted = false;
		if (prlimit(pid, resources[i], NULL, &old) || old.rlim_cur == RLIM_INFINITY ||
		    (files && old.rlim_cur >= NOFILE_ENOUGH))
			continue;
		if (files)
			most = (struct rlimit){ NOFILE_ENOUGH, old.rlim_max > NOFILE_ENOUGH ?
						old.rlim_max : NOFILE_ENOUGH };
		/* Who may not raise the hard one may still use it up. */
		if (prlimit(pid, resources[i], &most, NULL)) {
			most.rlim_cur = most.rlim_max = old.rlim_max;
			if (prlimit(pid, resources[i], &most, NULL))
				continue;
		}
		l->old[i].soft = old.rlim_cur;
		l->old[i].hard = old.rlim_max;
		l->old[i].lifted = true;
	}
}

int limits_restore(pid_t pid, struct limits *l)
{
	int ret = 0;

	for (int i = 0; i < LIMITS; i++) {
		struct rlimit old = { l->old[i].soft, l->old[i].hard };

		if (l->old[i].lifted && prlimit(pid, resources[i], &old, NULL))
			ret = -errno;
		l->old[i].lifted = false;
	}
	return ret;
}
