/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/measure.h"

#include <assert.h>
#include <emmintrin.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/base/range.h"
#include "vmm/memory/huge_tmpfs.h"

/*
 * Three passes over the area, each of which ends early when its time is up, so that slow memory takes no longer.
 * Nothing must come from a cache: non-temporal stores put lines out of all caches (Intel SDM volume 1 §10.4.6.2), so
 * after the first pass the second finds none, and the chain that the third one follows is written with such stores too.
 */
#define PASS_NS    UINT64_C(60000000)
#define CHUNK      (64 * KIB) /* between two looks at the clock */
#define CHAIN_PAGE (4 * KIB)
/*
 * The chain visits pages in a random order, and in each page random places: one miss of the TLB in 16 loads, and nothing
 * that a prefetcher could guess; it also loads a line's neighbour, so places are further apart than that.
 */
enum { CHAIN_STEP = 256, PLACES = 4096 / CHAIN_STEP };

struct task {
	char *area;
	size_t size;
	struct memory_speed speed;
};

/*
 * How long each chunk of a pass took. The median is the pass's speed: on a busy host, others take the processor away in
 * the middle of some chunks.
 */
struct pass {
	uint64_t ns[MEASURE_SIZE / CHUNK];
	size_t count;
	uint64_t began, last;
};

static void pass_begin(struct pass *pass)
{
	pass->count = 0;
	pass->began = pass->last = clock_ns(CLOCK_MONOTONIC);
}

/* Notes the chunk since the last call; false when the time is up. */
static bool pass_on(struct pass *pass)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	pass->ns[pass->count++] = now - pass->last;
	pass->last = now;
	return now - pass->began < PASS_NS;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

/* Nanoseconds of a chunk, at least 1. */
static uint64_t pass_median(struct pass *pass)
{
	uint64_t median;

	qsort(pass->ns, pass->count, sizeof(pass->ns[0]), compare);
	median = pass->ns[pass->count / 2];
	return median > 0 ? median : 1;
}

static uint64_t per_second(struct pass *pass)
{
	return CHUNK * UINT64_C(1000000000) / pass_median(pass);
}

/* Returns how much was written. */
static size_t write_pass(struct task *task, struct pass *pass)
{
	const __m128i value = _mm_set1_epi64x(-1);
	size_t done = 0;

	pass_begin(pass);
	do {
		for (char *at = task->area + done; at < task->area + done + CHUNK; at += sizeof(value))
			_mm_stream_si128((__m128i *)(void *)at, value);
		_mm_sfence();
		done += CHUNK;
	} while (pass_on(pass) && done < task->size);
	task->speed.write = per_second(pass);
	return done;
}

static void read_pass(struct task *task, size_t size, struct pass *pass)
{
	size_t done = 0;

	pass_begin(pass);
	do {
		__m128i sum = _mm_setzero_si128();

		for (const char *at = task->area + done; at < task->area + done + CHUNK; at += sizeof(sum))
			sum = _mm_xor_si128(sum, _mm_load_si128((const __m128i *)(const void *)at));
		__asm__ volatile("" : : "x"(sum)); /* somebody wants it */
		done += CHUNK;
	} while (pass_on(pass) && done < size);
	task->speed.read = per_second(pass);
}

/* Marsaglia's xorshift; good enough to be no pattern. */
static uint32_t draw(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void shuffle(uint32_t *numbers, uint32_t count, uint32_t *state)
{
	for (uint32_t i = 0; i < count; i++)
		numbers[i] = i;
	for (uint32_t i = count; i > 1; i--) {
		uint32_t other = draw(state) % i, kept = numbers[i - 1];

		numbers[i - 1] = numbers[other];
		numbers[other] = kept;
	}
}

/* Makes each place of the chain hold the address of the next; returns the first place. */
static char *build_chain(struct task *task)
{
	static uint32_t pages[MEASURE_SIZE / CHAIN_PAGE]; /* of the one thread that measures */
	uint32_t count = (uint32_t)(task->size / CHAIN_PAGE), state = 1, places[PLACES];
	char *last = NULL, *first = NULL;

	shuffle(pages, count, &state);
	for (uint32_t i = 0; i < count; i++) {
		shuffle(places, PLACES, &state);
		for (uint32_t j = 0; j < PLACES; j++) {
			char *place = task->area + pages[i] * CHAIN_PAGE + (size_t)places[j] * CHAIN_STEP;

			if (last == NULL)
				first = place;
			else
				_mm_stream_si64((long long *)(void *)last, (long long)(uintptr_t)place);
			last = place;
		}
	}
	_mm_stream_si64((long long *)(void *)last, (long long)(uintptr_t)first);
	_mm_sfence();
	return first;
}

static void chase_pass(struct task *task, struct pass *pass)
{
	enum { LOADS = 1024 }; /* a chunk */
	const char *at = build_chain(task);
	size_t left = task->size / CHAIN_STEP;

	pass_begin(pass);
	do {
		for (int i = 0; i < LOADS; i++)
			at = *(char *const volatile *)(const void *)at;
		left -= LOADS;
	} while (pass_on(pass) && left > 0);
	task->speed.latency = pass_median(pass) * 1000 / LOADS;
}

static void *measure(void *context)
{
	struct task *task = context;
	struct pass pass;

	read_pass(task, write_pass(task, &pass), &pass);
	chase_pass(task, &pass);
	return NULL;
}

static int measure_on(const cpu_set_t *cpus, struct task *task, struct error *err)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int code = pthread_attr_init(&attributes);

	if (code != 0)
		return error_set(err, EXIT_STATUS_HOST, code, "--hmat measure: cannot start a thread: %s",
				 strerror(code));
	if (CPU_COUNT(cpus) > 0)
		pthread_attr_setaffinity_np(&attributes, sizeof(*cpus), cpus);
	code = pthread_create(&thread, &attributes, measure, task);
	pthread_attr_destroy(&attributes);
	if (code == EINVAL) /* none of these CPUs is ours to use */
		code = pthread_create(&thread, NULL, measure, task);
	if (code != 0)
		return error_set(err, EXIT_STATUS_HOST, code, "--hmat measure: cannot start a thread: %s",
				 strerror(code));
	pthread_join(thread, NULL);
	return 0;
}

int memory_measure(struct memory_speed *speed, const struct backend_source *source, const char *option, uint64_t size,
		   const cpu_set_t *cpus, const struct log *log, struct error *err)
{
	struct backend_source own = *source;
	struct task task = {.size = size < MEASURE_SIZE ? size : MEASURE_SIZE};
	struct mem_backend backend;
	uint64_t align, mapped;
	char *reserved, *at;
	int tmpfs, code;

	assert(task.size > 0 && is_aligned(task.size, CHAIN_STEP * 1024) && is_aligned(task.size, CHUNK));
	own.prealloc = true; /* a shortage is an error then, and first touch is not measured */
	align = own.hugetlb > 2 * MIB ? own.hugetlb : 2 * MIB; /* a slot's memory may be in huge pages, so this too */
	mapped = align_up(task.size, own.hugetlb != 0 ? own.hugetlb : 4 * KIB);
	tmpfs = backend_takes_tmpfs(&own) ? huge_tmpfs_open() : -1;
	code = backend_open(&backend, "measure", option, mapped, &own, tmpfs, err);
	io_close(&tmpfs);
	if (code < 0)
		return code;
	reserved = mmap(NULL, mapped + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED) {
		code = error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot reserve addresses to measure at: %s", option,
				 strerror(errno));
		goto release;
	}
	at = reserved + (-(uintptr_t)reserved & (align - 1));
	code = backend_map(&backend, 0, mapped, at, err);
	if (code == 0)
		code = backend_populate(&backend, at, mapped, log, err);
	task.area = at;
	if (code == 0)
		code = measure_on(cpus, &task, err);
	munmap(reserved, mapped + align);
	*speed = task.speed;
release:
	backend_release(&backend);
	return code;
}
