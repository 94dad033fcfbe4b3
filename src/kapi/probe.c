// SPDX-License-Identifier: GPL-2.0-only
#include "kapi/probe.h"

#include "kapi/proc.h"

int probe_pidfd_open(pid_t pid)
{
	return proc_pidfd_open(pid);
}
