/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_SANDBOX_RULES_H
#define SPMVM_SANDBOX_RULES_H

#include <stdint.h>

#include "vmm/sandbox.h"

/* What is looked at beside a system call's number. Of an argument only its low 32 bits count: the kernel takes no more. */
enum sandbox_check {
	SANDBOX_ANY,
	SANDBOX_ONE_OF,  /* the argument is one of values */
	SANDBOX_WITHOUT, /* it has none of the bits of values[0] */
	SANDBOX_OURSELF  /* it is this process's number */
};

/* A system call that is allowed. One with several lines is allowed by any of them. */
struct sandbox_rule {
	int number;
	unsigned threads; /* set of 1 << enum sandbox_thread */
	unsigned needs;   /* only for machines with one of these (see struct sandbox_options); 0: for all */
	enum sandbox_check check;
	unsigned argument; /* which one, from 0 */
	unsigned count;    /* of values */
	const uint32_t *values;
};

extern const struct sandbox_rule SANDBOX_RULES[];
extern const unsigned SANDBOX_RULE_COUNT;

/* Whether a rule holds for this thread of a machine with these needs. */
static inline bool sandbox_rule_holds(const struct sandbox_rule *rule, enum sandbox_thread thread, unsigned needs)
{
	return (rule->threads >> thread & 1) != 0 && (rule->needs == 0 || (rule->needs & needs) != 0);
}

#endif
