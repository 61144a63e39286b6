// SPDX-License-Identifier: Apache-2.0
/*
 * Mappings and passes over them. A pass does one thing to each byte once; what it costs the first time is first touch,
 * and what it costs later is the memory's own speed.
 */
#include "guest/bench/bench.h"

#include <emmintrin.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAPPINGS_MAX = 16, NAME_MAX_LENGTH = 31, LINE = 64 };
static const uint64_t two_mib = UINT64_C(2) << 20, one_gib = UINT64_C(1) << 30;

struct mapping {
	char name[NAME_MAX_LENGTH + 1]; /* empty: not in use */
	void *reserved;                 /* what munmap() gets; may begin before start */
	size_t reserved_size;
	char *start;
	size_t size;
	uint64_t position; /* where the chase stands: an offset */
};
static struct mapping mappings[MAPPINGS_MAX];

static struct mapping *find(const char *name)
{
	for (int i = 0; i < MAPPINGS_MAX; i++) {
		if (strcmp(mappings[i].name, name) == 0)
			return &mappings[i];
	}
	return NULL;
}

static struct mapping *known(const char *name)
{
	struct mapping *mapping = find(name);

	if (mapping == NULL)
		answer_error("no mapping '%s'", name);
	return mapping;
}

/* ---- what is mapped */

static void *map_shared(int fd, uint64_t size)
{
	void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int error = errno;

	close(fd); /* the mapping keeps it */
	errno = error;
	return start;
}

static void *map_device(const char *path, uint64_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? MAP_FAILED : map_shared(fd, size);
}

/* The same kind of memory that a VMM gives its guest: a memfd of pages of one size. */
static void *map_memfd(uint64_t page, uint64_t size)
{
	unsigned int flags = MFD_CLOEXEC;
	int fd;

	if (page >= two_mib)
		flags |= MFD_HUGETLB | (unsigned int)__builtin_ctzll(page) << MAP_HUGE_SHIFT;
	fd = memfd_create("spmvm-measure", flags);
	if (fd < 0)
		return MAP_FAILED;
	if (ftruncate(fd, (off_t)size) < 0) {
		close(fd);
		return MAP_FAILED;
	}
	return map_shared(fd, size);
}

static int map_anonymous(uint64_t page, uint64_t size, struct mapping *mapping)
{
	uintptr_t start;

	mapping->reserved_size = size + two_mib;
	mapping->reserved = mmap(NULL, mapping->reserved_size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mapping->reserved == MAP_FAILED)
		return -1;
	start = ((uintptr_t)mapping->reserved + two_mib - 1) & ~(uintptr_t)(two_mib - 1);
	mapping->start = (char *)mapping->reserved + (start - (uintptr_t)mapping->reserved);
	if (madvise(mapping->start, size, page == two_mib ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) < 0) {
		munmap(mapping->reserved, mapping->reserved_size);
		return -1;
	}
	return 0;
}

static bool parse_page(const char *text, uint64_t *page)
{
	return parse_size(text, page) && (*page == 4096 || *page == two_mib || *page == one_gib);
}

static void job_map(int count, char **words)
{
	struct mapping *mapping = find(""), new = {0};
	const char *kind = words[1], *which = words[2];
	uint64_t page = 0, size, began;
	int result = 0;

	(void)count;
	if (mapping == NULL || find(words[0]) != NULL || strlen(words[0]) > NAME_MAX_LENGTH) {
		answer_error("'%s' is mapped already, too long, or one mapping too many", words[0]);
		return;
	}
	if (!parse_size(words[3], &size) || size == 0 || size % two_mib != 0) {
		answer_error("size '%s' is no multiple of 2M", words[3]);
		return;
	}
	if (strcmp(kind, "device") != 0 && !parse_page(which, &page)) {
		answer_error("page '%s' is none of 4K, 2M and 1G", which);
		return;
	}
	began = now_ns();
	if (strcmp(kind, "anonymous") == 0) {
		result = map_anonymous(page, size, &new);
	} else {
		new.reserved = page == 0 ? map_device(which, size) : map_memfd(page, size);
		new.reserved_size = size;
		new.start = new.reserved;
		result = new.reserved == MAP_FAILED ? -1 : 0;
	}
	if (result < 0) {
		answer_error("cannot map %s %s: %s", kind, which, strerror(errno));
		return;
	}
	new.size = size;
	memcpy(new.name, words[0], strlen(words[0]) + 1); /* its length is checked */
	*mapping = new;
	printf("{\"ns\":%llu}\n", (unsigned long long)(now_ns() - began));
}

static void job_unmap(int count, char **words)
{
	struct mapping *mapping = known(words[0]);
	uint64_t began = now_ns();

	(void)count;
	if (mapping == NULL)
		return;
	munmap(mapping->reserved, mapping->reserved_size);
	mapping->name[0] = '\0';
	printf("{\"ns\":%llu}\n", (unsigned long long)(now_ns() - began));
}

/* ---- passes; each returns how many bytes it has moved */

static volatile uint64_t sink; /* so that the compiler keeps what is read */

static uint64_t pass_write(struct mapping *mapping)
{
	memset(mapping->start, 0x5a, mapping->size);
	return mapping->size;
}

static uint64_t pass_stream(struct mapping *mapping)
{
	const __m128i value = _mm_set1_epi64x(0x0123456789abcdef);
	__m128i *to = (__m128i *)(void *)mapping->start;

	for (size_t i = 0; i < mapping->size / sizeof(*to); i += 4) {
		_mm_stream_si128(to + i, value);
		_mm_stream_si128(to + i + 1, value);
		_mm_stream_si128(to + i + 2, value);
		_mm_stream_si128(to + i + 3, value);
	}
	_mm_sfence();
	return mapping->size;
}

static uint64_t pass_read(struct mapping *mapping)
{
	const __m128i *from = (const __m128i *)(const void *)mapping->start;
	__m128i a = _mm_setzero_si128(), b = a, c = a, d = a;

	for (size_t i = 0; i < mapping->size / sizeof(*from); i += 4) {
		a = _mm_add_epi64(a, _mm_load_si128(from + i));
		b = _mm_add_epi64(b, _mm_load_si128(from + i + 1));
		c = _mm_add_epi64(c, _mm_load_si128(from + i + 2));
		d = _mm_add_epi64(d, _mm_load_si128(from + i + 3));
	}
	sink = (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(_mm_add_epi64(a, b), _mm_add_epi64(c, d)));
	return mapping->size;
}

static uint64_t pass_copy(struct mapping *mapping)
{
	size_t half = mapping->size / 2;

	memcpy(mapping->start + half, mapping->start, half);
	return half;
}

static void job_pass(char **words, uint64_t (*pass)(struct mapping *))
{
	struct mapping *mapping = known(words[0]);
	uint64_t began, bytes;

	if (mapping == NULL)
		return;
	began = now_ns();
	bytes = pass(mapping);
	printf("{\"ns\":%llu,\"bytes\":%llu}\n", (unsigned long long)(now_ns() - began), (unsigned long long)bytes);
}

#define PASS(name)                                                                                                     \
	static void job_##name(int count, char **words)                                                                \
	{                                                                                                              \
		(void)count;                                                                                           \
		job_pass(words, pass_##name);                                                                          \
	}
PASS(write)
PASS(stream)
PASS(read)
PASS(copy)

/* ---- latency */

/* xorshift64*: the same cycle each time. */
static uint64_t random_below(uint64_t *state, uint64_t bound)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * UINT64_C(0x2545f4914f6cdd1d) >> 16) % bound;
}

static uint64_t *line_at(const struct mapping *mapping, uint64_t line)
{
	return (uint64_t *)(void *)(mapping->start + line * LINE);
}

/* One random cycle through all cache lines of the first bytes (Sattolo's shuffle, in place): no prefetcher sees it coming. */
static void job_cycle(int count, char **words)
{
	struct mapping *mapping = known(words[0]);
	uint64_t size, lines, state = UINT64_C(0x9e3779b97f4a7c15);

	(void)count;
	if (mapping == NULL)
		return;
	if (!parse_size(words[1], &size) || size < 2 * LINE || size > mapping->size) {
		answer_error("size '%s' is more than the mapping's, or too little", words[1]);
		return;
	}
	lines = size / LINE;
	for (uint64_t i = 0; i < lines; i++)
		*line_at(mapping, i) = i * LINE;
	for (uint64_t i = lines - 1; i > 0; i--) {
		uint64_t j = random_below(&state, i), next = *line_at(mapping, i);

		*line_at(mapping, i) = *line_at(mapping, j);
		*line_at(mapping, j) = next;
	}
	mapping->position = 0;
	printf("{}\n");
}

static void job_chase(int count, char **words)
{
	struct mapping *mapping = known(words[0]);
	unsigned int loads;
	uint64_t began, position;

	(void)count;
	if (mapping == NULL)
		return;
	if (!parse_count(words[1], 1, UINT32_MAX, &loads)) {
		answer_error("'%s' is no number of loads", words[1]);
		return;
	}
	position = mapping->position;
	began = now_ns();
	for (unsigned int i = 0; i < loads; i++) {
		position = *(const volatile uint64_t *)(const void *)(mapping->start + position);
		if (position >= mapping->size) {
			answer_error("'%s' has no cycle: it was written to", words[0]);
			return;
		}
	}
	mapping->position = position;
	printf("{\"ns\":%llu,\"loads\":%u}\n", (unsigned long long)(now_ns() - began), loads);
}

const struct job memory_jobs[] = {
	{"map", "NAME device PATH SIZE", 4, job_map, "a device's memory; or"},
	{"map", "NAME memfd|anonymous PAGE SIZE", 4, job_map, "memory of pages of 4K, 2M or 1G; not yet touched"},
	{"unmap", "NAME", 1, job_unmap, ""},
	{"write", "NAME", 1, job_write, "a pass of memset()"},
	{"stream", "NAME", 1, job_stream, "a pass of non-temporal stores"},
	{"read", "NAME", 1, job_read, "a pass of loads"},
	{"copy", "NAME", 1, job_copy, "memcpy() of its first half to its second"},
	{"cycle", "NAME SIZE", 2, job_cycle, "make a random cycle for chase"},
	{"chase", "NAME LOADS", 2, job_chase, "loads that depend on each other"},
	{0},
};
