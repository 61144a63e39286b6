/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records append FILE ACKNOWLEDGEMENTS: appends numbered records to FILE for ever, behind those that are there, syncs each one
 * (by fdatasync(2) and fsync(2) in turns) and only then writes its number as a line to ACKNOWLEDGEMENTS.
 * records check FILE COUNT: fails unless the first COUNT records are there, each as it was written.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"

enum { WORDS = 125 }; /* 1000 bytes: most records lie in two blocks of a file system */

static void make_record(uint64_t *words, uint64_t number)
{
	for (uint64_t i = 0; i < WORDS; i++)
		words[i] = pattern_word(0, number * WORDS + i);
}

/* How many good records the file starts with. */
static uint64_t count_records(int fd)
{
	uint64_t wanted[WORDS], words[WORDS], count = 0;

	for (;;) {
		make_record(wanted, count + 1);
		if (pread(fd, words, sizeof(words), (off_t)(count * sizeof(words))) != sizeof(words) ||
		    memcmp(words, wanted, sizeof(words)) != 0)
			return count;
		count++;
	}
}

static int append(int fd, int acknowledgements)
{
	uint64_t words[WORDS], number = count_records(fd);

	/* what is behind the last good record was never acknowledged */
	if (ftruncate(fd, (off_t)(number * sizeof(words))) < 0 || fsync(fd) < 0) {
		perror("records: truncate");
		return 1;
	}
	for (;;) {
		make_record(words, ++number);
		if (pwrite(fd, words, sizeof(words), (off_t)((number - 1) * sizeof(words))) != sizeof(words) ||
		    (number % 2 == 0 ? fsync(fd) : fdatasync(fd)) < 0 ||
		    dprintf(acknowledgements, "%" PRIu64 "\n", number) < 0) {
			perror("records: append");
			return 1;
		}
	}
}

static int check(int fd, uint64_t wanted)
{
	uint64_t words[WORDS], number = count_records(fd);
	struct stat status;

	if (fstat(fd, &status) < 0)
		return 1;
	printf("records: %" PRIu64 " good ones in %lld bytes, %" PRIu64 " acknowledged\n", number,
	       (long long)status.st_size, wanted);
	if (number >= wanted)
		return 0;
	if (pread(fd, words, sizeof(words), (off_t)(number * sizeof(words))) == sizeof(words))
		printf("records: record %" PRIu64 " starts with %#llx\n", number + 1, (unsigned long long)words[0]);
	return 1;
}

int main(int argc, char *argv[])
{
	bool appends = argc == 4 && strcmp(argv[1], "append") == 0;
	int fd, port;

	if (!appends && (argc != 4 || strcmp(argv[1], "check") != 0)) {
		puts("usage: records append FILE ACKNOWLEDGEMENTS | records check FILE COUNT");
		return 2;
	}
	fd = open(argv[2], appends ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0666);
	if (fd < 0) {
		perror(argv[2]);
		return 1;
	}
	if (!appends)
		return check(fd, strtoull(argv[3], NULL, 0));
	port = open(argv[3], O_WRONLY | O_CLOEXEC);
	if (port < 0) {
		perror(argv[3]);
		return 1;
	}
	return append(fd, port);
}
