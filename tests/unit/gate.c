/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate under load: exclusive holds exclude everything, shared holds go together, nobody sleeps
 * for ever (the alarm says so), and nobody waits for a gate that is lent.
 */
#include <pthread.h>

#include "pager/gate.h"
#include "tests/tap.h"

#define SHARERS 2
#define LOCKERS 4
#define ROUNDS 20000

static struct gate gate;
static atomic_int inside_shared, inside_exclusive, together, broken, refused;

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
		while (!gate_lock_unless_lent(&gate))
			refused++;
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

/* As the agents' thread does it: lend, let go, and take back after a while. */
static void *lender(void *stop)
{
	while (!atomic_load((atomic_bool *)stop)) {
		gate_enter(&gate);
		gate_lend(&gate);
		gate_leave(&gate);
		inside_shared++;
		broken += inside_exclusive > 0;
		burn(2000);
		inside_shared--;
		gate_peek(&gate);
		gate_take_back(&gate);
		gate_leave(&gate);
		burn(2000);
	}
	return NULL;
}

/* A hold that is lent and does not come back: who wants it exclusively hears so at once. */
static void lent(void)
{
	struct gate g;

	gate_init(&g);
	gate_enter(&g);
	gate_lend(&g);
	gate_leave(&g);
	ok(!gate_lock_unless_lent(&g), "a gate that is lent is refused");
	gate_enter(&g);
	gate_share(&g);
	gate_unshare(&g);
	gate_leave(&g);
	ok(!g.wanted, "shared holds go on beside the lent one");
	gate_peek(&g);
	gate_take_back(&g);
	gate_leave(&g);
	ok(gate_lock_unless_lent(&g), "taken back, it can be had");
	gate_unlock(&g);
}

int main(void)
{
	pthread_t share[SHARERS], lock[LOCKERS], lend;
	atomic_bool stop = false;

	tap_timeout(60);
	lent();
	gate_spin_us = 20;
	gate_init(&gate);
	pthread_create(&lend, NULL, lender, &stop);
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
	pthread_join(lend, NULL);
	is_u64(broken, 0, "no exclusive hold saw another hold");
	note("%d shared holds went together, %d refusals", together, refused);
	return tap_done();
}
