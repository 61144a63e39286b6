/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_CLOCK_H
#define SPMVM_BASE_CLOCK_H

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

#endif
