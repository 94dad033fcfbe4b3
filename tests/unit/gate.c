/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate under load: exclusive holds exclude everything, shared holds go together, and nobody
 * sleeps for ever (the alarm says so).
 */
#include <pthread.h>

#include "pager/gate.h"
#include "tests/tap.h"

#define SHARERS 2
#define LOCKERS 4
#define ROUNDS 20000

static struct gate gate;
static atomic_int inside_shared, inside_exclusive, together, broken;

static void burn(unsigned int n)
{
	for (volatile unsigned int i = 0; i < n; i++)
		;
}

static void *sharer(void *stop)
{
	while (!atomic_load((atomic_bool *)stop)) {
		gate_enter(&gate);
		for (int i = 0; i < 3; i++) {
			gate_share(&gate);
			if (++inside_shared > 1)
				together++;
			broken += inside_exclusive > 0;
			burn(200);
			inside_shared--;
			gate_unshare(&gate);
			broken += inside_exclusive > 0;
			gate_yield(&gate);
		}
		gate_leave(&gate);
	}
	return NULL;
}

static void *locker(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		gate_lock(&gate);
		if (++inside_exclusive > 1 || inside_shared)
			broken++;
		burn(20);
		inside_exclusive--;
		gate_unlock(&gate);
		if (!(i % 64))
			sched_yield();
	}
	return arg;
}

int main(void)
{
	pthread_t share[SHARERS], lock[LOCKERS];
	atomic_bool stop = false;

	tap_timeout(60);
	gate_init(&gate);
	for (int i = 0; i < SHARERS; i++)
		pthread_create(&share[i], NULL, sharer, &stop);
	for (int i = 0; i < LOCKERS; i++)
		pthread_create(&lock[i], NULL, locker, NULL);
	for (int i = 0; i < LOCKERS; i++)
		pthread_join(lock[i], NULL);
	ok(true, "%d exclusive lockers came in %d times each", LOCKERS, ROUNDS);
	stop = true;
	for (int i = 0; i < SHARERS; i++)
		pthread_join(share[i], NULL);
	is_u64(broken, 0, "no exclusive hold saw another hold");
	note("%d shared holds went together", together);
	return tap_done();
}
