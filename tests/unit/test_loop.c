/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct seen {
	struct loop *loop;
	int calls, last_fd;
	int remove; /* removed by the handler when it is not -1 */
};

static void on_ready(void *context, int fd)
{
	struct seen *seen = context;

	seen->calls++;
	seen->last_fd = fd;
	loop_remove(seen->loop, seen->remove);
}

static void calls_the_handler_of_what_is_readable(void **state)
{
	int one = eventfd(0, EFD_CLOEXEC), two = eventfd(1, EFD_CLOEXEC);
	struct loop loop;
	struct seen first = {&loop, 0, -1, -1}, second = {&loop, 0, -1, -1};

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_add(&loop, one, on_ready, &first), 0);
	assert_int_equal(loop_add(&loop, two, on_ready, &second), 0);
	assert_int_equal(loop_wait(&loop), 0);
	assert_int_equal(first.calls, 0);
	assert_int_equal(second.calls, 1);
	assert_int_equal(second.last_fd, two);
	loop_release(&loop);
	close(one);
	close(two);
}

static void a_removed_descriptor_is_silent_even_in_the_same_round(void **state)
{
	int one = eventfd(1, EFD_CLOEXEC), two = eventfd(1, EFD_CLOEXEC);
	struct loop loop;
	struct seen first = {&loop, 0, -1, two}, second = {&loop, 0, -1, one};

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_add(&loop, one, on_ready, &first), 0);
	assert_int_equal(loop_add(&loop, two, on_ready, &second), 0);
	assert_int_equal(loop_wait(&loop), 0);
	/* whichever came first has silenced the other */
	assert_int_equal(first.calls + second.calls, 1);
	/* its place is used again */
	loop_remove(&loop, one);
	loop_remove(&loop, two);
	loop_remove(&loop, two);
	assert_int_equal(loop_add(&loop, two, on_ready, &second), 0);
	assert_int_equal(loop.count, 2);
	loop_release(&loop);
	close(one);
	close(two);
}

static void tells_what_cannot_be_watched(void **state)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), one = eventfd(0, EFD_CLOEXEC);
	struct loop loop;
	struct seen seen = {&loop, 0, -1, -1};

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_add(&loop, file, on_ready, &seen), -EPERM);
	assert_int_equal(loop_add(&loop, one, on_ready, &seen), 0);
	assert_int_equal(loop_add(&loop, one, on_ready, &seen), -EEXIST);
	loop_release(&loop);
	loop_release(&loop);
	close(file);
	close(one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_the_handler_of_what_is_readable),
		cmocka_unit_test(a_removed_descriptor_is_silent_even_in_the_same_round),
		cmocka_unit_test(tells_what_cannot_be_watched),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
