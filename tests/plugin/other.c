// SPDX-License-Identifier: GPL-2.0-only
/* Another plugin: says in the file that OTHER_LOG names that its hook was called, and for whom. */
#include <criu/criu-plugin.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int other_resume(int pid)
{
	FILE *file = fopen(getenv("OTHER_LOG"), "ae");

	fprintf(file, "resume %d\n", pid);
	fclose(file);
	return -ENOTSUP;
}

CR_PLUGIN_REGISTER_DUMMY("other")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESUME_DEVICES_LATE, other_resume)
