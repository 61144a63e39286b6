/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_KEYVAL_H
#define SPMVM_BASE_KEYVAL_H

#include <stddef.h>

#include "vmm/base/error.h"
#include "vmm/base/parse.h"

/*
 * "size=8G,node=1,id=hbm0" taken apart. A literal comma in a value is written twice (",,"), as QEMU does it. A part
 * without '=' that starts with a digit goes on with the value before it, so that lists read naturally: "host-nodes=0-1,3".
 * Keys are unique; a value may not be empty.
 */
enum { KEYVAL_PAIRS_MAX = 32 };

struct keyval_pair {
	struct token key, value;
};

struct keyval {
	char *storage; /* what the tokens point into */
	size_t count;
	struct keyval_pair pairs[KEYVAL_PAIRS_MAX];
};

/*
 * Parses argument into keyval, which needs no initialisation and is released by keyval_release() after success only. When the
 * first part has no '=', it is the value of implied_key ("--mem 2G" is "--mem size=2G"); NULL refuses such a part.
 */
int keyval_parse(struct keyval *keyval, const char *argument, const char *implied_key, struct error *err);

void keyval_release(struct keyval *keyval);

#endif
