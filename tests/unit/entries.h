/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_ENTRIES_H
#define SPMVM_TESTS_UNIT_ENTRIES_H

#include <dirent.h>

#include "tests/unit/unit.h"

/* How many entries a folder has: of /proc/self/fd, to see that no descriptor was left open (the look itself counts one). */
static inline size_t entries_in(const char *path)
{
	DIR *folder = opendir(path);
	size_t count = 0;

	assert_non_null(folder);
	while (readdir(folder) != NULL)
		count++;
	closedir(folder);
	return count;
}

#endif
