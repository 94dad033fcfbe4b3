/* SPDX-License-Identifier: GPL-2.0-only */
/* phase: named points at which a test can stop or kill the pager. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pager/phase.h"
#include "pager/state.h"
#include "util/fd.h"
#include "util/log.h"

struct phase {
	char name[32];
	char hold[160];		/* empty: kill */
	uint64_t nth;		/* 0: hold each time, kill the first time */
};

bool phase_armed;
static struct phase phases[STATE_PHASES];
static unsigned int nphases;
static struct state *phase_state;

static int phase_parse(char *spec, struct phase *ph)
{
	char *what = strchr(spec, '=');
	char *at = strchr(spec, '@');

	if (!what)
		return -EINVAL;
	*ph = (struct phase){ 0 };
	*what++ = '\0';
	if (at) {
		*at++ = '\0';
		ph->nth = strtoull(at, NULL, 10);
	}
	snprintf(ph->name, sizeof(ph->name), "%s", spec);
	if (!strcmp(what, "kill")) {
		if (!ph->nth)
			ph->nth = 1;
		return 0;
	}
	if (strncmp(what, "hold:", 5) || strlen(what + 5) >= sizeof(ph->hold))
		return -EINVAL;
	snprintf(ph->hold, sizeof(ph->hold), "%s", what + 5);
	return 0;
}

int phase_init(struct state *st)
{
	const char *env = getenv("UFFD_RELOCATE_FAULT");
	char text[1024], *save = NULL;

	phase_state = st;
	nphases = 0;
	if (!env || !*env)
		return 0;
	snprintf(text, sizeof(text), "%s", env);
	for (char *t = strtok_r(text, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
		if (nphases == STATE_PHASES || phase_parse(t, &phases[nphases])) {
			log_err("UFFD_RELOCATE_FAULT: \"%s\" is not NAME[@N]=kill|hold:PATH", env);
			return -EINVAL;
		}
		nphases++;
	}
	phase_armed = nphases > 0;
	return 0;
}

static void phase_hold(const struct phase *ph)
{
	char path[192], drop[64];
	int fd;

	snprintf(path, sizeof(path), "%s.up", ph->hold);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	snprintf(drop, sizeof(drop), "%.40s\n", ph->name);
	if (fd_write_full(fd, drop, strlen(drop)))
		log_warn("phase %s: nobody reads %s", ph->name, path);
	close(fd);
	snprintf(path, sizeof(path), "%s.down", ph->hold);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	while (fd_read_full(fd, drop, sizeof(drop)) > 0)
		;
	close(fd);
}

void phase_hit(const char *name)
{
	for (unsigned int i = 0; i < nphases; i++) {
		if (strcmp(phases[i].name, name))
			continue;
		uint64_t hits = ++phase_state->phase_hits[i];

		if (phases[i].nth && hits != phases[i].nth)
			continue;
		log_info("phase %s: %s", name, *phases[i].hold ? "held" : "killed");
		if (*phases[i].hold)
			phase_hold(&phases[i]);
		else
			kill(getpid(), SIGKILL);
	}
}
