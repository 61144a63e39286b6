/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/base/clock.h"
#include "vmm/base/range.h"
#include "vmm/memory/backend.h"
#include "vmm/memory/host_memory.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14, include/uapi/asm-generic/mman-common.h */
#endif

enum { THREADS_MAX = 8 }; /* clearing pages saturates the memory of a node before that */

#define STEP (256 * MIB) /* short enough to show progress, long enough that the call does not count */

/* One run of backend_populate(), shared by its threads. */
struct populate {
	const struct mem_backend *backend;
	uint8_t *at;
	uint64_t size, step;
	const struct log *log;
	atomic_uint_fast64_t next;   /* offset of the first step that nobody has taken */
	atomic_uint_fast64_t done;   /* bytes */
	atomic_uint_fast64_t logged; /* CLOCK_MONOTONIC nanoseconds: of the start, then of the last line */
	atomic_int failure;          /* 0 or the first errno */
};

/* One line a second, from whichever thread comes first. */
static void log_progress(struct populate *job, uint64_t done)
{
	uint_fast64_t last = atomic_load(&job->logged);
	uint64_t time = clock_ns(CLOCK_MONOTONIC);

	if (time < last + 1000000000u || !atomic_compare_exchange_strong(&job->logged, &last, time))
		return;
	log_info(job->log, "%s: %" PRIu64 " of %" PRIu64 " MiB populated", job->backend->option, done / MIB,
		 job->size / MIB);
}

static int populate_step(const struct populate *job, uint64_t offset, uint64_t size)
{
	for (;;) {
		if (madvise(job->at + offset, size, MADV_POPULATE_WRITE) == 0)
			return 0;
		if (errno != EINTR && errno != EAGAIN)
			return errno;
	}
}

static void *populate_steps(void *argument)
{
	struct populate *job = argument;

	while (atomic_load(&job->failure) == 0) {
		uint64_t offset = atomic_fetch_add(&job->next, job->step), size;
		int code, none = 0;

		if (offset >= job->size)
			break;
		size = job->size - offset < job->step ? job->size - offset : job->step;
		code = populate_step(job, offset, size);
		if (code != 0)
			atomic_compare_exchange_strong(&job->failure, &none, code);
		else
			log_progress(job, atomic_fetch_add(&job->done, size) + size);
	}
	return NULL;
}

static unsigned thread_count(const struct populate *job)
{
	uint64_t steps = (job->size + job->step - 1) / job->step;
	unsigned count = THREADS_MAX;
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && (unsigned)CPU_COUNT(&cpus) < count)
		count = (unsigned)CPU_COUNT(&cpus);
	return steps < count ? (unsigned)steps : count;
}

/* The caller is one of the threads; one that cannot be made is done without. The others leave signals to the caller. */
static void run_threads(struct populate *job)
{
	unsigned wanted = thread_count(job), count = 0;
	pthread_t threads[THREADS_MAX];
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (count + 1 < wanted && pthread_create(&threads[count], NULL, populate_steps, job) == 0)
		count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	populate_steps(job);
	while (count > 0)
		pthread_join(threads[--count], NULL);
}

static uint64_t room_mib(const struct mem_backend *backend)
{
	struct host_room room = {0};

	host_memory_room("", &backend->source, &room);
	return room.bytes / MIB;
}

static int huge_page_failure(const struct populate *job, uint64_t done, struct error *err)
{
	const struct backend_source *source = &job->backend->source;
	char where[80] = "";

	if (source->policy == HOST_POLICY_BIND) {
		char nodes[64];

		host_memory_nodes_text(&source->host_nodes, nodes, sizeof(nodes));
		snprintf(where, sizeof(where), " on host nodes %s", nodes);
	}
	return error_set(err, EXIT_STATUS_HOST, ENOMEM,
			 "%s: the pool hugepages-%" PRIu64 "kB ran empty%s after %" PRIu64 " of %" PRIu64
			 " MiB: another program or another --mem or --spm took its pages; make %" PRIu64 " more",
			 job->backend->option, source->hugetlb / KIB, where, done / MIB, job->size / MIB,
			 (job->size - done) / source->hugetlb);
}

/* Puts the errno of MADV_POPULATE_WRITE (madvise(2)) into words. */
static int explain(const struct populate *job, int code, struct error *err)
{
	const char *option = job->backend->option;
	uint64_t done = atomic_load(&job->done), of = job->size / MIB;

	switch (code) {
	case EINVAL:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: this host's kernel cannot populate memory (MADV_POPULATE_WRITE); use Linux 5.14 "
				 "or later, or neither prealloc=on nor huge pages with policy=bind",
				 option);
	case EHWPOISON:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: the host reports broken memory (hardware poison) after %" PRIu64 " of %" PRIu64
				 " MiB; see its kernel log",
				 option, done / MIB, of);
	case EFAULT: /* the access would have been a SIGBUS */
	case ENOMEM:
		if (job->backend->source.hugetlb != 0)
			return huge_page_failure(job, done, err);
		if (backend_is_named(&job->backend->source))
			return error_set(
				err, EXIT_STATUS_HOST, ENOMEM,
				"%s: its file or device gave no memory after %" PRIu64 " of %" PRIu64
				" MiB; look at the space of its file system (df), or whether it was made smaller",
				option, done / MIB, of);
		return error_set(err, EXIT_STATUS_HOST, ENOMEM,
				 "%s: the host's memory ran out after %" PRIu64 " of %" PRIu64 " MiB, %" PRIu64
				 " MiB are available; use less memory or prealloc=off",
				 option, done / MIB, of, room_mib(job->backend));
	default:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: populating failed after %" PRIu64 " of %" PRIu64 " MiB: %s", option, done / MIB,
				 of, strerror(code));
	}
}

/* Ordinary pages: a refusal now is better than the OOM killer in a minute. */
static int check_room(const struct mem_backend *backend, uint64_t size, struct error *err)
{
	struct host_room room;

	if (backend->kind != BACKEND_MEMORY || backend->source.hugetlb != 0)
		return 0;
	size -= backend->present < size ? backend->present : size;
	if (host_memory_room("", &backend->source, &room) < 0 || room.bytes >= size)
		return 0;
	return error_set(err, EXIT_STATUS_HOST, ENOMEM,
			 "%s: prealloc needs %" PRIu64 " MiB, %" PRIu64
			 " MiB are available %s; use less memory, other host-nodes or prealloc=off",
			 backend->option, size / MIB, room.bytes / MIB, room.where);
}

int backend_populate(const struct mem_backend *backend, void *at, uint64_t size, const struct log *log,
		     struct error *err)
{
	const uint64_t page = backend_page_size(backend);
	struct populate job = {
		.backend = backend, .at = at, .size = size, .step = page > STEP ? page : STEP, .log = log};
	int code;

	if (!backend->populate)
		return 0;
	assert(size > 0 && is_aligned(size | (uintptr_t)at, page));
	code = check_room(backend, size, err);
	if (code < 0)
		return code;
	atomic_store(&job.logged, clock_ns(CLOCK_MONOTONIC));
	run_threads(&job);
	code = atomic_load(&job.failure);
	return code == 0 ? 0 : explain(&job, code, err);
}
