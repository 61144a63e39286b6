/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/range.h"
#include "vmm/memory/backend.h"
#include "vmm/memory/host_memory.h"

enum { STEPS_MOST = 64 };

/* The kernel as this test wants it: calls of madvise() are counted for each 256 MiB, and some fail. */
static struct {
	bool real;            /* populate indeed */
	uint8_t *base;        /* of the mapping */
	int fail_at, failure; /* the call for this step fails so; -1: none */
	int retries;          /* calls that fail with EAGAIN or EINTR before */
	int fail_threads;     /* errno of pthread_create() */
	uint64_t room;        /* what the host has */
	bool no_room;         /* /proc does not tell */
	uint64_t tick;        /* nanoseconds that pass at each look at the clock */

	atomic_int calls[STEPS_MOST], all_calls, left_retries, threads;
	atomic_ulong bytes;
	atomic_uint_fast64_t time;
} host;

int __wrap_madvise(void *at, size_t size, int advice);
int __real_madvise(void *at, size_t size, int advice);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int __wrap_host_memory_room(const char *root, const struct backend_source *source, struct host_room *room);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_madvise(void *at, size_t size, int advice)
{
	size_t step = (size_t)((uint8_t *)at - host.base) / (256 * MIB);

	if (advice != MADV_POPULATE_WRITE || host.real)
		return __real_madvise(at, size, advice);
	atomic_fetch_add(&host.all_calls, 1);
	if (atomic_fetch_sub(&host.left_retries, 1) > 0) {
		errno = atomic_load(&host.left_retries) % 2 == 0 ? EAGAIN : EINTR;
		return -1;
	}
	if ((int)step == host.fail_at) {
		errno = host.failure;
		return -1;
	}
	atomic_fetch_add(&host.calls[step], 1);
	atomic_fetch_add(&host.bytes, size);
	return 0;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	atomic_fetch_add(&host.threads, 1);
	if (host.fail_threads != 0)
		return host.fail_threads;
	return __real_pthread_create(thread, attributes, start, argument);
}

int __wrap_host_memory_room(const char *root, const struct backend_source *source, struct host_room *room)
{
	(void)source;
	assert_string_equal(root, "");
	*room = (struct host_room){host.room, "in the control group"};
	return host.no_room ? -ENOENT : 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	uint64_t nanoseconds = atomic_fetch_add(&host.time, host.tick);

	(void)clock;
	*time = (struct timespec){(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
	return 0;
}

/* A backend that populates, mapped; nothing of it exists yet. */
struct fixture {
	struct mem_backend backend;
	struct log log;
	int pipe[2];
	uint64_t size;
};

static struct fixture make_fixture(uint64_t size)
{
	const struct backend_source source = {.prealloc = true};
	struct fixture fixture = {.size = size};
	struct error err = {.text = ""};

	memset(&host, 0, sizeof(host));
	host.fail_at = -1;
	host.room = UINT64_MAX;
	assert_int_equal(backend_open(&fixture.backend, "ram0", "--mem number 1", size, &source, -1, &err), 0);
	host.base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(host.base, MAP_FAILED);
	assert_int_equal(backend_map(&fixture.backend, 0, size, host.base, &err), 0);
	assert_int_equal(pipe(fixture.pipe), 0);
	fixture.log = (struct log){.level = LOG_INFO, .fd = fixture.pipe[1]};
	return fixture;
}

static int run(const struct fixture *fixture, struct error *err)
{
	*err = (struct error){.text = ""};
	return backend_populate(&fixture->backend, host.base, fixture->size, &fixture->log, err);
}

static void release_fixture(struct fixture *fixture)
{
	munmap(host.base, fixture->size);
	backend_release(&fixture->backend);
	close(fixture->pipe[0]);
	close(fixture->pipe[1]);
}

static void every_page_is_there_afterwards(void **state)
{
	struct fixture fixture = make_fixture(6 * MIB);
	unsigned char resident[6 * 256];
	struct error err;

	(void)state;
	host.real = true;
	assert_int_equal(mincore(host.base, 6 * MIB, resident), 0);
	assert_int_equal(resident[0] & 1, 0);
	assert_int_equal(run(&fixture, &err), 0);
	assert_int_equal(mincore(host.base, 6 * MIB, resident), 0);
	for (size_t i = 0; i < sizeof(resident); i++)
		assert_int_equal(resident[i] & 1, 1);
	assert_int_equal(host.threads, 0);
	release_fixture(&fixture);
}

static void nothing_is_touched_unless_wanted(void **state)
{
	struct fixture fixture = make_fixture(6 * MIB);
	struct error err;

	(void)state;
	fixture.backend.populate = false;
	host.room = 0;
	assert_int_equal(run(&fixture, &err), 0);
	assert_int_equal(host.all_calls, 0);
	release_fixture(&fixture);
}

static void expect_each_step_once(const struct fixture *fixture)
{
	uint64_t steps = (fixture->size + 256 * MIB - 1) / (256 * MIB);

	for (uint64_t i = 0; i < STEPS_MOST; i++)
		assert_int_equal(host.calls[i], i < steps ? 1 : 0);
	assert_int_equal(host.bytes, fixture->size);
}

static void steps_are_shared_by_the_threads(void **state)
{
	struct fixture fixture = make_fixture(10 * GIB + 2 * MIB);
	struct error err;

	(void)state;
	assert_int_equal(run(&fixture, &err), 0);
	expect_each_step_once(&fixture);
	assert_true(host.threads <= 7);
	release_fixture(&fixture);
}

static void one_thread_and_retries_suffice(void **state)
{
	struct fixture fixture = make_fixture(2 * GIB);
	struct error err;

	(void)state;
	host.fail_threads = EAGAIN;
	host.no_room = true; /* not known is no reason to refuse */
	atomic_store(&host.left_retries, 5);
	assert_int_equal(run(&fixture, &err), 0);
	expect_each_step_once(&fixture);
	assert_int_equal(host.all_calls, 8 + 5);
	release_fixture(&fixture);
}

static void large_pages_are_one_step_each(void **state)
{
	struct fixture fixture = make_fixture(5 * GIB);
	uint8_t *mapping = host.base;
	struct error err;

	(void)state;
	/* as if: the wrapped madvise() does not look what is there */
	fixture.backend.source.hugetlb = GIB;
	fixture.size = 4 * GIB;
	host.base += -(uintptr_t)host.base & (GIB - 1);
	host.room = 0; /* of ordinary memory, which this is not */
	assert_int_equal(run(&fixture, &err), 0);
	assert_int_equal(host.all_calls, 4);
	assert_int_equal(host.bytes, 4 * GIB);
	fixture.size = 5 * GIB;
	host.base = mapping;
	release_fixture(&fixture);
}

static void progress_is_told_once_a_second(void **state)
{
	struct fixture fixture = make_fixture(2 * GIB);
	char text[2048];
	struct error err;
	size_t lines = 0;
	ssize_t got;

	(void)state;
	host.fail_threads = EAGAIN;
	host.tick = 400000000; /* a line every third step */
	assert_int_equal(run(&fixture, &err), 0);
	got = read(fixture.pipe[0], text, sizeof(text) - 1);
	assert_true(got > 0);
	text[got] = '\0';
	for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
		lines++;
	assert_int_equal(lines, 2);
	assert_non_null(strstr(text, "--mem number 1: 768 of 2048 MiB populated\n"));
	assert_non_null(strstr(text, "--mem number 1: 1536 of 2048 MiB populated\n"));
	release_fixture(&fixture);
}

static void shortage_is_seen_before(void **state)
{
	struct fixture fixture = make_fixture(2 * GIB);
	struct error err;

	(void)state;
	host.room = 2 * GIB - 1;
	assert_int_equal(run(&fixture, &err), -ENOMEM);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text,
			    "--mem number 1: prealloc needs 2048 MiB, 2047 MiB are available in the control group; "
			    "use less memory, other host-nodes or prealloc=off");
	assert_int_equal(host.all_calls, 0);
	host.room = 2 * GIB;
	assert_int_equal(run(&fixture, &err), 0);
	release_fixture(&fixture);
}

static void expect_failure(struct fixture *fixture, int failure, int code, const char *text)
{
	struct error err;

	host.failure = failure;
	assert_int_equal(run(fixture, &err), -code);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text, text);
}

static void failures_are_put_into_words(void **state)
{
	struct fixture fixture = make_fixture(2 * GIB);
	uint8_t *mapping;

	(void)state;
	host.fail_threads = EAGAIN;
	host.fail_at = 3;
	host.room = 5 * GIB;
	expect_failure(
		&fixture, ENOMEM, ENOMEM,
		"--mem number 1: the host's memory ran out after 768 of 2048 MiB, 5120 MiB are available; use less "
		"memory or prealloc=off");
	expect_failure(
		&fixture, EFAULT, ENOMEM,
		"--mem number 1: the host's memory ran out after 768 of 2048 MiB, 5120 MiB are available; use less "
		"memory or prealloc=off");
	expect_failure(
		&fixture, EHWPOISON, EHWPOISON,
		"--mem number 1: the host reports broken memory (hardware poison) after 768 of 2048 MiB; see its "
		"kernel log");
	expect_failure(
		&fixture, EINVAL, EINVAL,
		"--mem number 1: this host's kernel cannot populate memory (MADV_POPULATE_WRITE); use Linux 5.14 or "
		"later, or neither prealloc=on nor huge pages with policy=bind");
	expect_failure(&fixture, EIO, EIO,
		       "--mem number 1: populating failed after 768 of 2048 MiB: Input/output error");
	fixture.backend.source.hugetlb = 2 * MIB;
	mapping = host.base;
	host.base += -(uintptr_t)host.base & (2 * MIB - 1); /* the wrapped madvise() does not look what is there */
	expect_failure(
		&fixture, ENOMEM, ENOMEM,
		"--mem number 1: the pool hugepages-2048kB ran empty after 768 of 2048 MiB: another program or another "
		"--mem or --spm took its pages; make 640 more");
	fixture.backend.source.policy = HOST_POLICY_BIND;
	fixture.backend.source.host_nodes.words[0] = 6;
	expect_failure(
		&fixture, EFAULT, ENOMEM,
		"--mem number 1: the pool hugepages-2048kB ran empty on host nodes 1-2 after 768 of 2048 MiB: another "
		"program or another --mem or --spm took its pages; make 640 more");
	host.base = mapping;
	release_fixture(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_page_is_there_afterwards),  cmocka_unit_test(nothing_is_touched_unless_wanted),
		cmocka_unit_test(steps_are_shared_by_the_threads), cmocka_unit_test(one_thread_and_retries_suffice),
		cmocka_unit_test(large_pages_are_one_step_each),   cmocka_unit_test(progress_is_told_once_a_second),
		cmocka_unit_test(shortage_is_seen_before),         cmocka_unit_test(failures_are_put_into_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
