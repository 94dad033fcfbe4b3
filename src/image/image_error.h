/* SPDX-License-Identifier: GPL-2.0-only */
/* image_error: fill the one line that the caller of the room will show. */
#ifndef IMAGE_IMAGE_ERROR_H
#define IMAGE_IMAGE_ERROR_H

#include "image/image.h"

/*
 * image_error_set - write the report.  Control characters that came with a name are replaced, so
 * that it stays one line.
 * @code: a positive errno.
 * Return: -@code.
 */
int image_error_set(struct image_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
