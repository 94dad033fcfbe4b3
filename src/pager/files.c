/* SPDX-License-Identifier: GPL-2.0-only */
/* files: pages files as agents may hold them. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "pager/agent.h"
#include "pager/files.h"
#include "pager/hand.h"
#include "pager/internal.h"
#include "util/log.h"

/* In place of a descriptor. */
enum {
	FILES_UNKNOWN = -1,
	FILES_WANTED = -2,
	FILES_ASKED = -3,
	FILES_NONE = -4,
};

void files_init(struct pager *p)
{
	for (uint32_t k = 0; k < 2 * STATE_SOURCES; k++)
		p->file[k] = FILES_UNKNOWN;
}

void files_free(struct pager *p)
{
	for (uint32_t k = 0; k < 2 * STATE_SOURCES; k++)
		if (p->file[k] >= 0)
			close(p->file[k]);
}

int files_get(struct pager *p, uint32_t key)
{
	int32_t now = p->file[key];

	if (now >= 0)
		return now;
	if (now == FILES_NONE)
		return -ENOENT;
	if (now == FILES_UNKNOWN && atomic_compare_exchange_strong(&p->file[key], &now, FILES_WANTED)) {
		p->files_wanted = true;
		pager_kick(p->control_kick);
	}
	return -EAGAIN;
}

void files_spoil(struct pager *p, uint32_t key)
{
	int fd = atomic_exchange(&p->file[key], FILES_NONE);

	if (fd >= 0)
		close(fd);
}

void files_look(struct pager *p)
{
	if (!p->files_wanted)
		return;
	p->files_wanted = false;
	for (uint32_t k = 0; k < 2 * p->st->nsources; k++) {
		struct hand_request rq = { .op = HAND_READONLY,
					   .flags = k & 1 ? HAND_F_DIRECT : 0,
					   .cookie = k };
		int fd, ret;

		if (p->file[k] != FILES_WANTED)
			continue;
		fd = p->sources[k >> 1] ? source_file(p->sources[k >> 1]) : -1;
		ret = fd < 0 ? -ENOENT : hand_ask(p->st, &rq, fd);
		if (!ret)
			p->file[k] = FILES_ASKED;
		else if (ret == -ENOENT || hand_lost(p->st))
			p->file[k] = FILES_NONE;
		else
			p->files_wanted = true;
	}
}

void files_answered(struct pager *p, const struct hand_answer *a, int fd)
{
	uint32_t k = a->cookie;

	if (fd < 0)
		log_info("pages file %u cannot be given to an agent%s: %s", k >> 1,
			 k & 1 ? " for direct reading" : "", a->text);
	p->file[k] = fd >= 0 ? fd : FILES_NONE;
	agent_kick(p);
}
