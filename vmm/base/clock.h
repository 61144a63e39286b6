/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_CLOCK_H
#define SPMVM_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* What a clock shows, in nanoseconds. 0 when there is no such clock, as when it is that of a thread that has ended. */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) < 0)
		return 0;
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/*
 * Stands still for so many nanoseconds, or a little less. A condition that nobody signals: that is a futex, which every thread may use anyway, and
 * nanosleep() would be one more system call for the sandbox to leave open.
 */
static inline void clock_pause(uint64_t nanoseconds)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + nanoseconds;
	const struct timespec until = {.tv_sec = (time_t)(end / UINT64_C(1000000000)),
				       .tv_nsec = (long)(end % UINT64_C(1000000000))};
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t never = PTHREAD_COND_INITIALIZER;

	pthread_mutex_lock(&lock);
	pthread_cond_clockwait(&never, &lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&lock);
}

#endif
