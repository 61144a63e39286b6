/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries the driver spm_claim (guest/driver).
 *
 *   claim write|verify DEVICE SIZE SEED   maps the device whole; writes a word every 16 KiB, or finds the same words
 *   claim rules DEVICE SIZE ENTRY [fixed] what mappings with entries of that size do; "fixed": mprotect() is refused
 *   claim hold DEVICE SIZE                maps it, says "holding", has just the mapping until standard input ends
 *   claim race BLOCK PROCESSES ROUNDS     in each round all claim the block at once: one wins, all others see EBUSY
 *   claim cycle BLOCK METHOD COUNT        claims and releases
 * BLOCK is a folder of /sys/class/spm_claim.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

enum { STRIDE = 16384, WORDS = STRIDE / sizeof(uint64_t), PAGE = 4096 };

static int fail(const char *what)
{
	printf("claim: %s: %s\n", what, strerror(errno));
	return 1;
}

static int device_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		exit(fail(path));
	return fd;
}

static uint64_t *map_whole(const char *path, size_t size)
{
	int fd = device_open(path, O_RDWR);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	if (memory == MAP_FAILED)
		exit(fail("mmap"));
	return memory;
}

static int words(const char *path, size_t size, uint64_t seed, bool write)
{
	uint64_t *memory = map_whole(path, size);

	for (size_t i = 0; write && i < size / sizeof(uint64_t); i += WORDS)
		memory[i] = pattern_word(seed, i);
	for (size_t i = 0; i < size / sizeof(uint64_t); i += WORDS) {
		if (memory[i] != pattern_word(seed, i)) {
			printf("claim: byte %#zx of %s holds %#llx, not %#llx\n", i * sizeof(uint64_t), path,
			       (unsigned long long)memory[i], (unsigned long long)pattern_word(seed, i));
			return 1;
		}
	}
	return munmap(memory, size) < 0 ? fail("munmap") : 0;
}

/* Says what does not hold. */
static bool holds(bool condition, const char *what)
{
	if (!condition)
		printf("claim: not so: %s (errno: %s)\n", what, strerror(errno));
	return condition;
}

static bool refused(int fd, size_t size, int protection, int flags, off_t offset, int error)
{
	void *memory = mmap(NULL, size, protection, flags, fd, offset);

	if (memory == MAP_FAILED)
		return errno == error;
	munmap(memory, size);
	errno = 0;
	return false;
}

/* KernelPageSize in smaps of the mapping at an address, in bytes. */
static size_t page_size_of(const void *memory)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char line[512], start[32];
	bool here = false;
	size_t kib = 0;

	snprintf(start, sizeof(start), "%lx-", (unsigned long)memory);
	while (smaps != NULL && kib == 0 && fgets(line, sizeof(line), smaps) != NULL) {
		here = here || strncmp(line, start, strlen(start)) == 0;
		if (here && sscanf(line, "KernelPageSize: %zu kB", &kib) != 1)
			kib = 0;
	}
	if (smaps != NULL)
		fclose(smaps);
	return kib << 10;
}

/* A child writes into what it has inherited, with and without having touched it before; both sides see all of it. */
static bool shared_by_fork(volatile uint64_t *memory, size_t size)
{
	size_t last = size / sizeof(uint64_t) - 1;
	int status;
	pid_t child;

	memory[0] = 1;
	child = fork();
	if (child == 0) {
		bool good = memory[0] == 1;

		memory[0] = 2;
		memory[last] = 3;
		_exit(good && memory[0] == 2 ? 0 : 1);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0 || memory[0] != 2 || memory[last] != 3)
		return false;
	memory[0] = 4; /* an entry that fork may have write-protected */
	return memory[0] == 4;
}

static bool dies_by(int signal, volatile uint64_t *word)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		*word = 1;
		_exit(0);
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

/* A child moves what it has inherited, so far from where an entry fits; the errno, 0 with the same memory there. */
static int moved(uint64_t *memory, size_t size, size_t entry, size_t off)
{
	uint64_t value = memory[size / sizeof(uint64_t) - 1];
	int status;
	char *room;
	pid_t child = fork();

	if (child == 0) {
		room = mmap(NULL, size + 2 * entry, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (room == MAP_FAILED)
			_exit(ENOMEM);
		room += entry - ((uintptr_t)room & (entry - 1)) + off;
		memory = mremap(memory, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, room);
		if (memory == MAP_FAILED)
			_exit(errno);
		_exit(*(volatile uint64_t *)&memory[size / sizeof(uint64_t) - 1] == value ? 0 : EIO);
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* How a mapping is made. */
static bool made(int fd, const char *path, const uint64_t *memory, size_t size, size_t entry)
{
	int reader = device_open(path, O_RDONLY);
	bool good = true;

	good &= holds(((uintptr_t)memory & (entry - 1)) == 0, "the address is aligned to an entry");
	good &= holds(page_size_of(memory) == entry, "smaps tells the size of entries");
	good &= holds(refused(fd, size, PROT_READ, MAP_PRIVATE, 0, EINVAL), "a private mapping is refused");
	good &= holds(refused(fd, size + entry, PROT_READ, MAP_SHARED, 0, EINVAL), "one beyond the end is refused");
	good &= holds(refused(fd, entry, PROT_READ, MAP_SHARED, (off_t)size, EINVAL), "one behind the end is refused");
	good &= holds(refused(reader, size, PROT_WRITE, MAP_SHARED, 0, EACCES), "a reader cannot map it for writing");
	if (entry > PAGE)
		good &= holds(refused(fd, PAGE, PROT_READ, MAP_SHARED, 0, EINVAL), "a part of an entry is refused");
	close(reader);
	return good;
}

static int rules(const char *path, size_t size, size_t entry, bool protects)
{
	int fd = device_open(path, O_RDWR);
	uint64_t *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0), *second, first;
	bool good;

	if (memory == MAP_FAILED)
		return fail("mmap");
	good = made(fd, path, memory, size, entry);
	first = *(volatile uint64_t *)memory;
	good &= holds(dies_by(SIGSEGV, memory), "a mapping for reading cannot be written");
	if (protects) {
		good &= holds(mprotect(memory, size, PROT_READ | PROT_WRITE) == 0, "it can be made writable");
	} else {
		good &= holds(mprotect(memory, size, PROT_READ | PROT_WRITE) < 0 && errno == EINVAL, "it cannot be");
		munmap(memory, size);
		memory = map_whole(path, size);
	}
	*(volatile uint64_t *)memory = ~first; /* where an entry for reading is, if it was made writable */
	second = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	good &= holds(second != MAP_FAILED && *second == ~first, "a second mapping shows the same memory");
	good &= holds(shared_by_fork(memory, size), "a child shares it");
	good &= holds(moved(memory, size, entry, 0) == 0, "it can be moved");
	good &= holds(moved(memory, size, entry, PAGE) == (entry > PAGE ? EINVAL : 0),
		      "but not to where no entry fits");
	if (protects)
		good &= holds(mprotect(memory, size, PROT_READ) == 0 && dies_by(SIGSEGV, memory),
			      "it can be protected again");
	if (entry > PAGE)
		good &= holds(munmap(memory, PAGE) < 0 && errno == EINVAL, "a part of an entry cannot be unmapped");
	if (size > entry && entry > PAGE) {
		good &= holds(munmap(memory + entry / sizeof(uint64_t), size - entry) == 0, "whole entries can be");
		good &= holds(*(volatile uint64_t *)memory == 4, "and the others stay");
	}
	return good ? 0 : 1;
}

static int hold(const char *path, size_t size)
{
	volatile uint64_t *memory = map_whole(path, size);

	(void)memory[0];
	puts("holding");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

/* Writes an attribute of the block; 0 or an errno. */
static int attribute(const char *block, const char *name, const char *text)
{
	char path[256];
	int fd, error = 0;

	snprintf(path, sizeof(path), "%s/%s", block, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	close(fd);
	return error;
}

static int race(const char *block, int processes, int rounds)
{
	static const char *const methods[] = {"region", "memremap", "pages"};

	for (int round = 0; round < rounds; round++) {
		int start[2], won = 0, busy = 0, status;
		char byte;

		if (pipe(start) < 0)
			return fail("pipe");
		for (int i = 0; i < processes; i++) {
			if (fork() != 0)
				continue;
			close(start[1]);
			(void)!read(start[0], &byte, 1); /* until the other end is closed: all start together */
			_exit(attribute(block, "claim", methods[i % 3]));
		}
		close(start[0]);
		close(start[1]);
		while (wait(&status) > 0) {
			won += WIFEXITED(status) && WEXITSTATUS(status) == 0;
			busy += WIFEXITED(status) && WEXITSTATUS(status) == EBUSY;
		}
		if (won != 1 || busy != processes - 1) {
			printf("claim: round %d: %d have won and %d of %d saw EBUSY\n", round, won, busy, processes);
			return 1;
		}
		errno = attribute(block, "release", "1");
		if (errno != 0)
			return fail("release");
	}
	return 0;
}

static int cycle(const char *block, const char *method, int count)
{
	for (int i = 0; i < count; i++) {
		errno = attribute(block, "claim", method);
		if (errno != 0)
			return fail("claim");
		errno = attribute(block, "release", "1");
		if (errno != 0)
			return fail("release");
	}
	return 0;
}

int main(int argc, char *argv[])
{
	const char *what = argc > 3 ? argv[1] : "";

	if (argc == 5 && (strcmp(what, "write") == 0 || strcmp(what, "verify") == 0))
		return words(argv[2], strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0), what[0] == 'w');
	if ((argc == 5 || argc == 6) && strcmp(what, "rules") == 0)
		return rules(argv[2], strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0), argc == 5);
	if (argc == 4 && strcmp(what, "hold") == 0)
		return hold(argv[2], strtoull(argv[3], NULL, 0));
	if (argc == 5 && strcmp(what, "race") == 0)
		return race(argv[2], atoi(argv[3]), atoi(argv[4]));
	if (argc == 5 && strcmp(what, "cycle") == 0)
		return cycle(argv[2], argv[3], atoi(argv[4]));
	puts("usage: claim write|verify DEVICE SIZE SEED | rules DEVICE SIZE ENTRY [fixed] | hold DEVICE SIZE |\n"
	     "       race BLOCK PROCESSES ROUNDS | cycle BLOCK METHOD COUNT");
	return 2;
}
