// SPDX-License-Identifier: GPL-2.0-only
/* image_error: fill the one line that the caller of the room will show. */
#include <stdarg.h>
#include <stdio.h>

#include "image/image_error.h"

int image_error_set(struct image_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	for (char *c = err->text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return -code;
}
