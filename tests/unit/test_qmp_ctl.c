/* SPDX-License-Identifier: Apache-2.0 */
/* spmvm ctl, against the server, whose machine only says what it was told (fake_machine.c). */
#include "tests/unit/qmp_place.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmm/base/io.h"
#include "vmm/qmp/ctl.h"

static struct qmp_place it;

static struct {
	pthread_t thread;
	atomic_bool over;  /* it is to end */
	atomic_bool event; /* an event is told all the time */
} loop;

/* The main loop of the machine. */
static void *serve(void *argument)
{
	const struct machine_event event = {.kind = MACHINE_EVENT_PANICKED};
	const struct machine_control *control = it.control;

	while (!atomic_load(&loop.over)) {
		struct pollfd ready = {control->fd, POLLIN, 0};

		if (poll(&ready, 1, 1) == 1)
			control->ready(control->context, &it.machine);
		if (atomic_load(&loop.event))
			control->event(control->context, &event);
	}
	return argument;
}

static void start_loop(void)
{
	atomic_store(&loop.over, false);
	atomic_store(&loop.event, false);
	assert_int_equal(pthread_create(&loop.thread, NULL, serve, NULL), 0);
}

static int set_up(void **state)
{
	(void)state;
	qmp_place_new(&it, "--spm size=256M,node=1,id=hbm0");
	it.machine.has_hotplug = true;
	it.machine.hotplug = (struct machine_hotplug){{UINT64_C(1) << 33, 1 << 30}, 2 << 20, 0, 0, 0};
	start_loop();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	atomic_store(&loop.over, true);
	pthread_join(loop.thread, NULL);
	qmp_place_remove(&it);
	return 0;
}

/* Runs ctl with these words; what it wrote is the caller's. */
static char *ctl(struct error *err, int *code, const char *const *words)
{
	char *argv[8] = {it.path}, *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	for (size_t i = 0; words[i] != NULL; i++)
		argv[i + 1] = (char *)(uintptr_t)words[i];
	*err = (struct error){0};
	*code = qmp_ctl(argv, out, err);
	fclose(out);
	return text;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect(const char *const *words, const char *output)
{
	struct error err;
	int code;
	char *text = ctl(&err, &code, words);

	assert_string_equal(err.text, "");
	assert_int_equal(code, 0);
	assert_string_equal(text, output);
	free(text);
}

static void expect_error(const char *const *words, enum exit_status status, const char *told)
{
	struct error err;
	int code;
	char *text = ctl(&err, &code, words);

	assert_true(code < 0);
	assert_string_equal(err.text, told);
	assert_int_equal(err.status, status);
	assert_string_equal(text, "");
	free(text);
}

static void what_returns_is_printed(void **state)
{
	struct error err;
	char *text;
	int code;

	(void)state;
	expect(WORDS("query-status"), "{\"running\":true,\"status\":\"running\"}\n");
	/* the event comes before the answer, and is passed over */
	expect(WORDS("stop"), "{}\n");
	expect(WORDS("query-status"), "{\"running\":false,\"status\":\"paused\"}\n");
	expect(WORDS("query-memory-devices"),
	       "[{\"type\":\"spm-memory\",\"data\":{\"id\":\"hbm0\",\"memaddr\":4294967296,\"size\":268435456,\"node\":1,"
	       "\"memdev\":\"/objects/hbm0\"}},{\"type\":\"virtio-mem\",\"data\":{\"id\":\"hotplug\",\"memaddr\":8589934592,"
	       "\"requested-size\":0,\"size\":0,\"max-size\":1073741824,\"block-size\":2097152,\"node\":0,\"memdev\":"
	       "\"/objects/hotplug\"}}]\n");
	text = ctl(&err, &code, (const char *const[]){NULL});
	assert_int_equal(code, 0);
	assert_non_null(strstr(text, "\nquery-commands\n"));
	free(text);
}

static void arguments_are_json_or_text(void **state)
{
	(void)state;
	expect(WORDS("qom-set", "path=hotplug", "property=requested-size", "value=4194304"), "{}\n");
	expect(WORDS("qom-get", "path=hotplug", "property=requested-size"), "4194304\n");
	expect(WORDS("qom-set", "{\"path\": \"hotplug\", \"property\": \"requested-size\", \"value\": 2097152}"),
	       "{}\n");
	expect(WORDS("qom-get", "path=hotplug", "property=memdev"), "\"/objects/hotplug\"\n");
	expect_error(WORDS("qom-set", "path"), EXIT_STATUS_USAGE,
		     "ctl: 'path' is no argument; write KEY=VALUE, or all of them as one JSON object");
	expect_error(WORDS("qom-set", "=x"), EXIT_STATUS_USAGE,
		     "ctl: '=x' is no argument; write KEY=VALUE, or all of them as one JSON object");
	expect_error(WORDS("qom-set", "{\"path\""), EXIT_STATUS_USAGE,
		     "ctl: arguments: line 1, column 7: ':' expected near end of file");
	expect_error(WORDS("qom-set", "path=\xff"), EXIT_STATUS_USAGE, "ctl: 'path=\xff' is no UTF-8, which JSON is");
}

static void what_is_refused_is_an_error(void **state)
{
	(void)state;
	expect_error(WORDS("nothing"), EXIT_STATUS_INTERNAL,
		     "ctl: nothing: there is no command 'nothing'; see query-commands");
	expect_error(WORDS("n\xff", "a=1"), EXIT_STATUS_USAGE, "ctl: 'n\xff' is no UTF-8, which JSON is");
	expect_error(WORDS("qom-set", "path=hotplug", "property=requested-size", "value=1G"), EXIT_STATUS_INTERNAL,
		     "ctl: qom-set: requested-size is a number of bytes, 0 or more");
	expect_error(WORDS("device_add", "driver=spm-memory"), EXIT_STATUS_INTERNAL,
		     "ctl: device_add: device 'spm-memory' does not support hotplugging; start the machine with --spm");
}

#define PANICKED "\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"poweroff\"}}"

static void an_event_is_waited_for(void **state)
{
	struct error err;
	char *text;
	int code;

	(void)state;
	atomic_store(&loop.event, true);
	text = ctl(&err, &code, WORDS("wait", "GUEST_PANICKED"));
	assert_int_equal(code, 0);
	assert_non_null(strstr(text, PANICKED "\n"));
	free(text);
}

/* Ends the machine when ctl has written an event: then it has its capabilities, and waits. After 10 s in any case. */
static void *close_later(void *argument)
{
	struct pollfd written = {*(const int *)argument, POLLIN, 0};

	poll(&written, 1, 10000);
	atomic_store(&loop.over, true);
	pthread_join(loop.thread, NULL);
	qmp_server_close(it.server);
	return NULL;
}

/* The machine ends while somebody waits. What comes before is written, as it is not what is waited for. */
static void an_end_is_told(void **state)
{
	char text[64 * 1024] = "", wait[] = "wait", event[] = "SHUTDOWN";
	char *words[] = {it.path, wait, event, NULL}, *rest = NULL;
	struct error err = {0};
	unsigned lines = 0;
	pthread_t closer;
	FILE *out;
	int ends[2], code;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	out = fdopen(ends[1], "w");
	assert_non_null(out);
	atomic_store(&loop.event, true);
	assert_int_equal(pthread_create(&closer, NULL, close_later, &ends[0]), 0);
	code = qmp_ctl(words, out, &err);
	pthread_join(closer, NULL);
	fclose(out);
	/* for tear_down(), whatever comes now */
	qmp_place_open(&it);
	start_loop();
	assert_true(code < 0);
	assert_string_equal(err.text, "ctl: wait: the machine ended and SHUTDOWN did not come");
	assert_int_equal(err.status, EXIT_STATUS_INTERNAL);
	assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
	close(ends[0]);
	for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest), lines++)
		assert_non_null(strstr(line, PANICKED));
	assert_true(lines > 0);
}

/* ---------------------------------------------------------------------------------------- not such a server */

/* Somebody else at that path: says a line to who comes first, and listens to nothing. */
struct other {
	int listener;
	const char *line;
};

static void *say_line(void *argument)
{
	const struct other *other = argument;
	int fd = accept4(other->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0 && shutdown(fd, SHUT_RD) == 0)
		(void)io_write_all(fd, other->line, strlen(other->line));
	io_close(&fd);
	return NULL;
}

static void expect_error_of(const char *line, const char *told)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct other other = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), line};
	pthread_t thread;
	char text[256];

	scratch_new(&it.folder);
	snprintf(it.path, sizeof(it.path), "%s/qmp", it.folder.path);
	memcpy(address.sun_path, it.path, strlen(it.path) + 1);
	assert_int_equal(bind(other.listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(other.listener, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, say_line, &other), 0);
	snprintf(text, sizeof(text), "ctl %s: %s", it.path, told);
	expect_error(WORDS("query-status"), EXIT_STATUS_HOST, text);
	pthread_join(thread, NULL);
	io_close(&other.listener);
	unlink(it.path);
	scratch_remove(&it.folder);
}

static void what_is_no_qmp_is_told(void **state)
{
	(void)state;
	expect_error_of("[]\n", "the program there does not speak QMP");
	expect_error_of("SSH-2.0-x\n", "the program there does not speak QMP");
}

/* It reads no command: the process is not to end by SIGPIPE. */
static void a_machine_that_has_gone_is_told(void **state)
{
	(void)state;
	expect_error_of("{\"QMP\": {}}\n", "the machine has gone without an answer");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_returns_is_printed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(arguments_are_json_or_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_refused_is_an_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_event_is_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_end_is_told, set_up, tear_down),
		cmocka_unit_test(what_is_no_qmp_is_told),
		cmocka_unit_test(a_machine_that_has_gone_is_told),
	};

	return cmocka_run_group_tests_name("qmp_ctl", tests, NULL, NULL);
}
