/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wire: what the plugin in criu and the pager say to each other.
 *
 * criu calls the plugin for each task when all are stopped and complete, and is their tracer then:
 * the moment to place agents.  The plugin tells the pager about each, and lets the task go when the
 * pager has said so.
 *
 * A SOCK_SEQPACKET pair.  The plugin makes it and gives one end to the pager that it starts
 * (lazy-pages --wire-fd), or to one that runs already, through the control socket in the work
 * directory: the line WIRE_HELLO with the end as SCM_RIGHTS, answered by the line WIRE_WELCOME.
 *
 *	plugin		pager
 *	ASK		WANTED: place one, with @nslots of staging; RESUME: place none, the task may run
 *	PLACED		RESUME; UNDO: the task may run, but take the agent out first
 *	REFUSED		RESUME
 *
 * One message at a time; the answer has its @seq.  The end of the socket tells the plugin that
 * pager and keeper are gone, and with them the task's memory.
 */
#ifndef ABI_WIRE_H
#define ABI_WIRE_H

#include <stdint.h>

#define WIRE_MAGIC 0x77697265u
#define WIRE_VERSION 1u
#define WIRE_HELLO "plugin 1\n"
#define WIRE_WELCOME "wire 1\n"

enum wire_op {
	WIRE_ASK = 1,	/* is an agent wanted in @pid? */
	WIRE_PLACED,	/* there is one: @record; its channel comes along */
	WIRE_REFUSED,	/* there is none: @text says why */
	WIRE_WANTED,
	WIRE_RESUME,
	WIRE_UNDO,
};

/* struct inject_record as it is: plugin and pager are built together, or the version differs. */
#define WIRE_RECORD_BYTES 88

struct wire_msg {
	uint32_t magic;
	uint32_t version;
	uint32_t op;		/* enum wire_op; 0: no message */
	int32_t pid;		/* the task, as criu sees it */
	uint64_t seq;
	uint32_t nslots;	/* WANTED */
	int32_t vpid;		/* the task, in its own namespace: as the images call it */
	uint8_t record[WIRE_RECORD_BYTES];
	char text[160];
};

_Static_assert(sizeof(struct wire_msg) == 32 + WIRE_RECORD_BYTES + 160, "struct wire_msg");

#endif
