/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a run asks the C library and KVM for fails once: the first call, then the second, and so on until a run needs no more
 * calls than that. Each such run must end with an error that says something, and hold nothing any more: no heap block, no mapping, no
 * descriptor, no thread. The calls of our own code are caught by the linker (-Wl,--wrap, see vmm.cmake), those of KVM by fake_kvm.c.
 */
#include "tests/unit/entries.h"
#include "tests/unit/fake_run.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

enum { LIVE_MAX = 4096, POPULATE_WRITE = 23 };

/* What is counted while a run is under way. */
static struct {
	pthread_mutex_t lock;
	bool counting;
	size_t calls, fail_at;
	const char *failed; /* the call that did */
	int code;           /* ... with this errno */
	void *live[LIVE_MAX];
	size_t live_count;
} now = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Whether this call is the one to fail, and then errno is set. */
static bool fails(const char *call, int code)
{
	bool is_it;

	pthread_mutex_lock(&now.lock);
	is_it = now.counting && ++now.calls == now.fail_at;
	if (is_it) {
		now.failed = call;
		now.code = code;
	}
	pthread_mutex_unlock(&now.lock);
	if (is_it)
		errno = code;
	return is_it;
}

static int kvm_fails(const char *call)
{
	return fails(call, EIO) ? -EIO : 0;
}

static void *born(void *block)
{
	pthread_mutex_lock(&now.lock);
	if (now.counting && block != NULL && block != MAP_FAILED) {
		if (now.live_count == LIVE_MAX)
			abort();
		now.live[now.live_count++] = block;
	}
	pthread_mutex_unlock(&now.lock);
	return block;
}

/* What was not born while counting, such as a block of strdup()'s, is none of our business. */
static void dies(const void *block)
{
	pthread_mutex_lock(&now.lock);
	for (size_t i = 0; i < now.live_count; i++) {
		if (now.live[i] == block) {
			now.live[i] = now.live[--now.live_count];
			break;
		}
	}
	pthread_mutex_unlock(&now.lock);
}

/* ------------------------------------------------------------------------------------------ the C library */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__real_reallocarray(void *block, size_t count, size_t size);
void *__wrap_reallocarray(void *block, size_t count, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);
int __real_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice);
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);
int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __real_signalfd(int fd, const sigset_t *signals, int flags);
int __wrap_signalfd(int fd, const sigset_t *signals, int flags);
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);

void *__wrap_malloc(size_t size)
{
	return fails("malloc", ENOMEM) ? NULL : born(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails("calloc", ENOMEM) ? NULL : born(__real_calloc(count, size));
}

/* The old block dies only where there is a new one. */
void *__wrap_realloc(void *block, size_t size)
{
	const void *old = block;
	void *larger;

	if (fails("realloc", ENOMEM))
		return NULL;
	larger = __real_realloc(block, size);
	if (larger != NULL)
		dies(old);
	return born(larger);
}

void *__wrap_reallocarray(void *block, size_t count, size_t size)
{
	const void *old = block;
	void *larger;

	if (fails("reallocarray", ENOMEM))
		return NULL;
	larger = __real_reallocarray(block, count, size);
	if (larger != NULL)
		dies(old);
	return born(larger);
}

void __wrap_free(void *block)
{
	dies(block);
	__real_free(block);
}

/* A mapping over a reservation goes with that. */
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *mapping;

	if (fails("mmap", ENOMEM))
		return MAP_FAILED;
	mapping = __real_mmap(at, size, protection, flags, fd, offset);
	return (flags & MAP_FIXED) != 0 ? mapping : born(mapping);
}

int __wrap_munmap(void *at, size_t size)
{
	dies(at);
	return __real_munmap(at, size);
}

/* The other kinds of advice are only that. */
int __wrap_madvise(void *at, size_t size, int advice)
{
	return advice == POPULATE_WRITE && fails("madvise", ENOMEM) ? -1 : __real_madvise(at, size, advice);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
	return fails("memfd_create", EMFILE) ? -1 : __real_memfd_create(name, flags);
}

int __wrap_ftruncate(int fd, off_t size)
{
	return fails("ftruncate", ENOSPC) ? -1 : __real_ftruncate(fd, size);
}

int __wrap_eventfd(unsigned value, int flags)
{
	return fails("eventfd", EMFILE) ? -1 : __real_eventfd(value, flags);
}

int __wrap_signalfd(int fd, const sigset_t *signals, int flags)
{
	return fails("signalfd", EMFILE) ? -1 : __real_signalfd(fd, signals, flags);
}

int __wrap_epoll_create1(int flags)
{
	return fails("epoll_create1", EMFILE) ? -1 : __real_epoll_create1(flags);
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	return fails("epoll_ctl", ENOSPC) ? -1 : __real_epoll_ctl(epoll, operation, fd, event);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	return fails("pthread_create", EAGAIN) ? EAGAIN : __real_pthread_create(thread, attributes, start, argument);
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
	return fails("pthread_mutex_init", ENOMEM) ? ENOMEM : __real_pthread_mutex_init(mutex, attributes);
}

/* -------------------------------------------------------------------------------------------------- runs */

static int counted_run(const struct config *config, struct stages *stages, int *status, struct error *err)
{
	int code;

	now.calls = 0;
	now.failed = NULL;
	now.live_count = 0;
	now.counting = true;
	code = run_machine(config, NULL, stages, status, err);
	now.counting = false;
	return code;
}

/* The failure is told as one of the host, with its reason. A run may do without a dispensable call (NULL: none), and then ends well. */
static void check_told(const struct run *run, size_t nth, const char *dispensable)
{
	const char *text = run->err.text;

	if (run->code == 0 && dispensable != NULL && strcmp(dispensable, now.failed) == 0) {
		assert_int_equal(run->status, 0);
		return;
	}
	/* a report is not worth a machine */
	if (run->code == 0 && strstr(run->told, "--metrics path=metrics.tmp: cannot be written: "))
		return;
	if (run->code >= 0)
		fail_msg("call %zu, %s, failed and nobody noticed", nth, now.failed);
	if (run->err.status != EXIT_STATUS_HOST)
		fail_msg("call %zu, %s, ends with status %d: %s", nth, now.failed, run->err.status, text);
	if (strstr(text, strerror(now.code)) == NULL && (now.code != ENOMEM || strstr(text, "memory") == NULL))
		fail_msg("call %zu, %s, does not say why: %s", nth, now.failed, text);
}

static void check_nothing_held(size_t nth, size_t descriptors, size_t threads)
{
	size_t tries = 100;

	if (now.live_count != 0)
		fail_msg("call %zu, %s: %zu blocks or mappings are left", nth, now.failed, now.live_count);
	if (entries_in("/proc/self/fd") != descriptors)
		fail_msg("call %zu, %s: descriptors are left", nth, now.failed);
	/* a thread that was joined may take a moment to leave /proc */
	while (entries_in("/proc/self/task") != threads && --tries > 0)
		usleep(10000);
	if (tries == 0)
		fail_msg("call %zu, %s: a thread is left", nth, now.failed);
}

/* Runs the machine with its first call failing, then its second, ... and returns how many runs failed. */
static size_t fail_each(const struct config *config, const char *dispensable)
{
	static uint8_t off[] = {0x34};
	struct fake_step power_off = {.exit = {.kind = KVM_EXIT_KIND_IO,
					       .address = 0x600,
					       .data = off,
					       .size = 1,
					       .count = 1,
					       .is_write = true}};
	size_t descriptors = entries_in("/proc/self/fd"), threads = entries_in("/proc/self/task");

	for (size_t nth = 1;; nth++) {
		struct run run = {.status = -1};

		fake_kvm_reset();
		fake_kvm.fails = kvm_fails;
		fake_kvm.steps = &power_off;
		fake_kvm.step_count = 1;
		now.fail_at = nth;
		run_config(&run, config, counted_run);
		check_nothing_held(nth, descriptors, threads);
		if (now.failed == NULL) {
			assert_int_equal(run.code, 0);
			assert_int_equal(run.status, 0);
			assert_int_equal(run.err.text[0], '\0');
			return nth - 1;
		}
		check_told(&run, nth, dispensable);
	}
}

/* The call counts are lower bounds: a counter that counts nothing would let everything pass. */
static void check_line(const char *line, size_t least, const char *dispensable)
{
	struct machine_line machine = {0};
	size_t failed;
	struct run run;

	run_init(&run);
	line_config(&machine, run_text(&run, "warn", line));
	failed = fail_each(machine.config, dispensable);
	print_message("%zu calls failed in turn: %s\n", failed, line);
	assert_true(failed >= least);
	line_release(&machine);
	run_release(&run);
}

static void a_small_machine_fails_well(void **state)
{
	(void)state;
	check_line("", 30, NULL);
}

static void a_machine_with_everything_fails_well(void **state)
{
	(void)state;
	check_line("--cpus 4 --numa node=0,cpus=0-1 --numa node=1,cpus=2-3 --mem 1G --mem size=3G,node=1 "
		   "--spm size=8G,node=2,latency=60,bandwidth=800G --spm size=2G,node=3,addr=0x1000000000,cache=1M "
		   "--perf from=0,to=2,latency=50 --accel gpu0,node=0 --maxmem 32G",
		   55, NULL);
}

static void a_machine_with_metrics_fails_well(void **state)
{
	(void)state;
	check_line("--cpus 2 --metrics metrics.tmp,interval=100,format=openmetrics", 40, NULL);
	unlink("metrics.tmp");
}

static void more_blocks_than_one_buffer_holds_fail_well(void **state)
{
	char line[2048];
	size_t length = 0;

	(void)state;
	for (int i = 1; i <= 40; i++)
		length += (size_t)sprintf(line + length, "--spm size=2M,node=%d ", i);
	check_line(line, 200, NULL);
}

/* What /proc says of the room that is left is an estimate; without the memory to read it, populating tells. */
static void populating_fails_well(void **state)
{
	(void)state;
	check_line("--mem size=66M,prealloc=on", 31, "realloc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_machine_fails_well),
		cmocka_unit_test(a_machine_with_everything_fails_well),
		cmocka_unit_test(a_machine_with_metrics_fails_well),
		cmocka_unit_test(more_blocks_than_one_buffer_holds_fail_well),
		cmocka_unit_test(populating_fails_well),
	};

	alarm(55);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
