// SPDX-License-Identifier: GPL-2.0-only
/* blob: the agent's code as it was linked (src/agent/agent.lds); the Makefile says where it is. */
#include "inject/internal.h"

__asm__(".pushsection .rodata\n"
	".balign 16\n"
	".globl blob_start\n"
	".hidden blob_start\n"
	"blob_start:\n"
	".incbin \"" AGENT_BLOB "\"\n"
	".globl blob_end\n"
	".hidden blob_end\n"
	"blob_end:\n"
	".popsection\n");
