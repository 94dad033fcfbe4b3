// SPDX-License-Identifier: GPL-2.0-only
/*
 * MADV_GUARD_INSTALL raises no event.  COPY onto the guard succeeds and deletes it; ZEROPAGE says
 * EEXIST and leaves it.  So bulk placement has to look for guards first.
 */
#include <setjmp.h>

#include "tests/kapi/kapi.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#define FAULTED UINT64_MAX

static sigjmp_buf on_fault;

static void segv(int sig)
{
	siglongjmp(on_fault, sig);
}

static uint64_t try_peek(const uint8_t *mem, uint64_t i)
{
	return sigsetjmp(on_fault, 1) ? FAULTED : peek(mem, i);
}

static void body(int ch, uint8_t *mem)
{
	signal(SIGSEGV, segv);
	say(ch, madvise(mem, 2 * page, MADV_GUARD_INSTALL) ? errno : 0);
	hear(ch);
	say(ch, try_peek(mem, 0));
	say(ch, try_peek(mem, 1));
}

int main(void)
{
	const uint64_t features = UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP;
	struct target t = target_start(features, 2, body);
	uint64_t err;

	target_go(&t);
	err = hear(t.ch);
	if (err == EINVAL) {
		target_end(&t);
		skip_all("MADV_GUARD_INSTALL: this kernel has none (6.13 and later)");
	}
	is_u64(err, 0, "guards are installed, without an event that would hold madvise up");
	ok(!readable(t.uffd), "nor is one told afterwards");
	is_i64(zeropage(t.uffd, addr_of(&t, 1), page, NULL), -EEXIST, "ZEROPAGE is refused");
	is_i64(copy(t.uffd, addr_of(&t, 0), pattern(1, 4711), page, NULL), 0, "COPY succeeds");
	say(t.ch, 0);
	is_u64(hear(t.ch), 4711, "where COPY went the guard is gone");
	ok(hear(t.ch) == FAULTED, "where ZEROPAGE was refused it still kills");
	return target_done(&t);
}
