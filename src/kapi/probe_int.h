/* SPDX-License-Identifier: GPL-2.0-only */
/* probe_int: what the files of the probe share. */
#ifndef KAPI_PROBE_INT_H
#define KAPI_PROBE_INT_H

#include "kapi/probe.h"

/* probe_add - a new item, its answer unknown. Never NULL: the last one is reused when full. */
struct probe_item *probe_add(struct probe *p, enum probe_side side, enum probe_need need,
			     const char *key, const char *what);
/* The item of that key, or NULL. */
const struct probe_item *probe_find(const struct probe *p, const char *key);

void probe_yes(struct probe_item *item, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* @remedy: may be "". */
void probe_no(struct probe_item *item, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void probe_unknown(struct probe_item *item, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Reads the first line of a small file. Return: length without newline, or -errno. */
int probe_read_line(const char *path, char *buf, unsigned int size);
/* Is the capability in force? @cap: a CAP_ number. */
bool probe_has_cap(int cap);

void probe_uffd(struct probe *p);
void probe_process(struct probe *p);
void probe_user(struct probe *p);
void probe_criu(struct probe *p, const char *criu);

#endif
