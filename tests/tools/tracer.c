/* SPDX-License-Identifier: GPL-2.0-only */
/* tracer PID: as a debugger does, traces all threads of a process that runs on; until it is killed. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	pid_t pid = argc == 2 ? atoi(argv[1]) : 0;
	int status;

	if (pid <= 0 || ptrace(PTRACE_SEIZE, pid, 0, 0)) {
		perror("tracer");
		return 1;
	}
	puts("tracing");
	fflush(stdout);
	while ((pid = waitpid(-1, &status, __WALL)) > 0)
		if (WIFSTOPPED(status))
			ptrace(PTRACE_CONT, pid, 0, status >> 16 ? 0 : WSTOPSIG(status));
	return 0;
}
