/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_SCRATCH_FOLDER_H
#define SPMVM_TESTS_SCRATCH_FOLDER_H

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder of its own for one test, with files in it by paths relative to it. */
struct scratch {
	char path[64];
};

static inline void scratch_new(struct scratch *scratch)
{
	strcpy(scratch->path, "/tmp/spmvm-test-XXXXXX");
	assert_non_null(mkdtemp(scratch->path));
}

static inline int scratch_remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void scratch_remove(struct scratch *scratch)
{
	assert_int_equal(nftw(scratch->path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* The full path of a name; a static buffer for each of the last four calls. */
static inline const char *scratch_path(const struct scratch *scratch, const char *name)
{
	static char paths[4][4200];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", scratch->path, name);
	return path;
}

/* Makes the folders above a name. */
static inline void scratch_parents(const struct scratch *scratch, const char *name)
{
	char path[4200];
	size_t start = strlen(scratch->path) + 1;

	snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
	for (size_t i = start; path[i] != '\0'; i++) {
		if (path[i] != '/')
			continue;
		path[i] = '\0';
		mkdir(path, 0755);
		path[i] = '/';
	}
}

static inline void scratch_file(const struct scratch *scratch, const char *name, const void *bytes, size_t size)
{
	int fd;

	scratch_parents(scratch, name);
	fd = open(scratch_path(scratch, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	close(fd);
}

static inline void scratch_text(const struct scratch *scratch, const char *name, const char *text)
{
	scratch_file(scratch, name, text, strlen(text));
}

#endif
