/* SPDX-License-Identifier: Apache-2.0 */
/* The QMP server, over real sockets, with a machine that only says what it was told (fake_machine.c). */
#include "tests/unit/qmp_place.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "vmm/qmp/session.h"

enum { SAID_MAX = 4 * 1024 * 1024 };

static struct qmp_place it;
static char said[SAID_MAX]; /* by the server, in the last hear() */

static int set_up(void **state)
{
	(void)state;
	qmp_place_new(&it, "--cpus 3 --numa node=0,cpus=0-1 --numa node=1,cpus=2 --mem 1G --mem size=2G,node=1 "
			   "--spm size=256M,node=2,id=hbm0 --spm size=512M,node=3,id=hbm1 --distance 0:2=40");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	qmp_place_remove(&it);
	return 0;
}

/* The main loop, until nothing is to be done: how many turns it took. */
static unsigned turns(void)
{
	struct pollfd ready = {it.control->fd, POLLIN, 0};
	unsigned count = 0;

	while (poll(&ready, 1, 0) == 1) {
		it.control->ready(it.control->context, &it.machine);
		assert_true(count++ < 100000);
	}
	return count;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Everything that the server has for this client; true while it keeps the connection. */
static bool hear(int fd)
{
	size_t length = 0;
	ssize_t count;

	do {
		turns();
		count = recv(fd, said + length, sizeof(said) - 1 - length, MSG_DONTWAIT);
		if (count > 0)
			length += (size_t)count;
	} while (count > 0);
	said[length] = '\0';
	return count < 0 && errno == EAGAIN;
}

static void say_bytes(int fd, const char *bytes, size_t size)
{
	for (size_t sent = 0; sent < size;) {
		ssize_t count = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);

		if (count > 0)
			sent += (size_t)count;
		else if (errno == EAGAIN)
			turns();
		else
			fail_msg("send: %s", strerror(errno));
	}
}

static void say(int fd, const char *text)
{
	say_bytes(fd, text, strlen(text));
}

/* A client that has negotiated. */
static int new_client(void)
{
	int fd = connect_to(it.path);

	assert_true(fd >= 0);
	say(fd, "{\"execute\": \"qmp_capabilities\"}\n");
	assert_true(hear(fd));
	assert_non_null(strstr(said, "\r\n{\"return\":{}}\r\n"));
	return fd;
}

/* Gives a command and expects exactly this. */
static void expect(int fd, const char *command, const char *answer)
{
	say(fd, command);
	assert_true(hear(fd));
	assert_string_equal(said, answer);
}

/* Cuts the time out of events, and checks that it is now. */
static void without_times(char *text)
{
	static const char START[] = "{\"timestamp\":{\"seconds\":";

	for (char *at = strstr(text, START); at != NULL; at = strstr(at, START)) {
		char *end = strstr(at, "},");
		long long seconds = strtoll(at + strlen(START), NULL, 10);

		assert_non_null(end);
		assert_true(llabs(seconds - (long long)time(NULL)) < 60);
		memmove(at + 1, end + 2, strlen(end + 2) + 1);
	}
}

/* ------------------------------------------------------------------------------------------------ protocol */

static void greets_and_negotiates(void **state)
{
	int fd = connect_to(it.path);

	(void)state;
	assert_true(hear(fd));
	assert_string_equal(said, "{\"QMP\":{\"version\":{\"qemu\":{\"major\":0,\"minor\":1,\"micro\":0},"
				  "\"package\":\"spmvm 0.1.0\"},\"capabilities\":[]}}\r\n");
	expect(fd, "{\"execute\": \"query-status\", \"id\": 7}",
	       "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"execute 'qmp_capabilities' first\"},\"id\":7}\r\n");
	expect(fd, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}",
	       "{\"error\":{\"class\":\"GenericError\",\"desc\":\"'enable' asks for what the greeting does not "
	       "offer\"}}\r\n");
	expect(fd, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": []}}", "{\"return\":{}}\r\n");
	expect(fd, "{\"execute\": \"qmp_capabilities\"}",
	       "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"capabilities are negotiated already\"}}\r\n");
	close(fd);
}

static void ids_come_back(void **state)
{
	static const char *const IDS[] = {"1", "\"a\\u0001b\"", "null", "{\"x\":[1,2.5,{}]}", "[]", "true"};
	int fd = new_client();
	char command[200], answer[200];

	(void)state;
	for (size_t i = 0; i < sizeof(IDS) / sizeof(IDS[0]); i++) {
		snprintf(command, sizeof(command), "{\"id\":%s,\"execute\":\"stop\",\"arguments\":{}}", IDS[i]);
		snprintf(answer, sizeof(answer), "{\"return\":{},\"id\":%s}\r\n", IDS[i]);
		say(fd, command);
		assert_true(hear(fd));
		assert_non_null(strstr(said, answer));
	}
	close(fd);
}

static void messages_need_no_lines(void **state)
{
	static const char COMMAND[] = "{ \"execute\" :\r\n\t\"query-status\" }";
	static const char ANSWER[] = "{\"return\":{\"running\":true,\"status\":\"running\"}}\r\n";
	int fd = new_client();
	char both[2 * sizeof(ANSWER)];

	(void)state;
	/* byte by byte, and two on one line */
	for (size_t i = 0; i < strlen(COMMAND); i++) {
		assert_true(hear(fd));
		assert_string_equal(said, "");
		say_bytes(fd, COMMAND + i, 1);
	}
	expect(fd, "", ANSWER);
	say(fd, COMMAND);
	snprintf(both, sizeof(both), "%s%s", ANSWER, ANSWER);
	expect(fd, COMMAND, both);
	close(fd);
}

/* What is no command gets one error, and the next line works. */
static void garbage_is_answered(void **state)
{
	static const struct {
		const char *said, *told;
	} CASES[] = {
		{"hello {\"execute\": \"quit\"}\n", "a command is a JSON object: it starts with {"},
		{"{\"execute\" \"stop\"}", "no JSON: line 1, column 17: ':' expected near '\\\"stop\\\"'"},
		{"{]", "no JSON: line 1, column 2: string or '}' expected near ']'"},
		{"[1]", "a command is an object such as {\\\"execute\\\": \\\"query-status\\\"}"},
		{"{}", "member 'execute' is not there, or no text"},
		{"{\"execute\": 1}", "member 'execute' is not there, or no text"},
		{"{\"execute\": \"stop\", \"arguments\": 1}", "member 'arguments' is no object"},
		{"{\"execute\": \"stop\", \"exec-oob\": 1}",
		 "unexpected member 'exec-oob'; a command has execute, arguments and id"},
		{"{\"execute\": \"stop\", \"arguments\": {\"now\": 1}}", "stop takes no argument 'now'"},
		{"{\"execute\": \"stop\", \"execute\": \"cont\"}",
		 "no JSON: line 1, column 29: duplicate object key near '\\\"execute\\\"'"},
		{"{\"execute\": \"st\nop\"}\n", "a line ends within a text; write \\\\n there"},
		{"{\"execute\": \xff", "byte 0xff: the message before it is dropped"},
		{"{\"a\": \"\xc3\x28\"}", "no JSON: line 1, column 7: unable to decode byte 0xc3 near '\\\"'"},
	};
	int fd = new_client();

	(void)state;
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		char answer[300];

		snprintf(answer, sizeof(answer), "{\"error\":{\"class\":\"GenericError\",\"desc\":\"%s\"}}\r\n",
			 CASES[i].told);
		say(fd, CASES[i].said);
		assert_true(hear(fd));
		if (strncmp(said, answer, strlen(answer)) != 0)
			fail_msg("%s: %s", CASES[i].said, said);
		say(fd, "\n");
		hear(fd);
		assert_int_equal(it.machine.state, MACHINE_RUNNING);
		expect(fd, "{\"execute\": \"nothing\"}\n",
		       "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"there is no command 'nothing'; see "
		       "query-commands\"}}\r\n");
	}
	close(fd);
}

/* 10 MB on one line, as text, in a message and as braces: an error each, and no more memory than the bound. */
static void long_lines_are_answered_once(void **state)
{
	static const struct {
		char first, fill;
		const char *told;
	} CASES[] = {{'x', 'x', "it starts with {"},
		     {'{', ' ', "a message of more than 65536 bytes"},
		     {'{', '[', "objects and arrays more than 32 within each other"}};
	static char large[10000000];
	int fd = new_client();

	(void)state;
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		memset(large, CASES[i].fill, sizeof(large));
		large[0] = CASES[i].first;
		large[sizeof(large) - 1] = '\n';
		say_bytes(fd, large, sizeof(large));
		assert_true(hear(fd));
		assert_non_null(strstr(said, CASES[i].told));
		assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
		expect(fd, "{\"execute\": \"query-version\", \"id\": 0}\n",
		       "{\"return\":{\"qemu\":{\"major\":0,\"minor\":1,\"micro\":0},\"package\":\"spmvm 0.1.0\"},"
		       "\"id\":0}\r\n");
	}
	close(fd);
}

/* ------------------------------------------------------------------------------------------------ commands */

static void tells_what_there_is(void **state)
{
	int fd = new_client();

	(void)state;
	expect(fd, "{\"execute\": \"query-memory-devices\"}",
	       "{\"return\":["
	       "{\"type\":\"spm-memory\",\"data\":{\"id\":\"hbm0\",\"memaddr\":4294967296,\"size\":268435456,\"node\":2,"
	       "\"memdev\":\"/objects/hbm0\"}},"
	       "{\"type\":\"spm-memory\",\"data\":{\"id\":\"hbm1\",\"memaddr\":6442450944,\"size\":536870912,\"node\":3,"
	       "\"memdev\":\"/objects/hbm1\"}}]}\r\n");
	expect(fd, "{\"execute\": \"query-memory-size-summary\"}",
	       "{\"return\":{\"base-memory\":3221225472,\"plugged-memory\":805306368}}\r\n");
	expect(fd, "{\"execute\": \"query-numa\"}",
	       "{\"return\":["
	       "{\"node-id\":0,\"cpus\":[0,1],\"base-memory\":1073741824,\"spm-memory\":0,\"distances\":[10,20,40,20]},"
	       "{\"node-id\":1,\"cpus\":[2],\"base-memory\":2147483648,\"spm-memory\":0,\"distances\":[20,10,20,20]},"
	       "{\"node-id\":2,\"cpus\":[],\"base-memory\":0,\"spm-memory\":268435456,\"distances\":[40,20,10,20]},"
	       "{\"node-id\":3,\"cpus\":[],\"base-memory\":0,\"spm-memory\":536870912,\"distances\":[20,20,20,10]}"
	       "]}\r\n");
	expect(fd, "{\"execute\": \"query-stats\", \"arguments\": {\"target\": \"vm\"}}",
	       "{\"return\":[{\"provider\":\"kvm\",\"stats\":[{\"name\":\"remote_tlb_flush\",\"value\":5}]}]}\r\n");
	expect(fd, "{\"execute\": \"query-stats\", \"arguments\": {\"target\": \"vcpu\"}}",
	       "{\"return\":[{\"provider\":\"kvm\",\"stats\":[{\"name\":\"exits\",\"value\":9}],"
	       "\"qom-path\":\"/machine/cpu[1]\"}]}\r\n");
	expect(fd, "{\"execute\": \"query-stats\", \"arguments\": {\"target\": \"device\"}}",
	       "{\"return\":[{\"provider\":\"spmvm\",\"stats\":[{\"name\":\"requests.read\",\"value\":3}],"
	       "\"id\":\"blk0\"}]}\r\n");
	expect(fd, "{\"execute\": \"query-stats\", \"arguments\": {\"target\": \"moon\"}}",
	       "{\"error\":{\"class\":\"GenericError\",\"desc\":"
	       "\"target 'moon' is unknown; use vm, vcpu, memory or device\"}}\r\n");
	expect(fd, "{\"execute\": \"query-stats\"}",
	       "{\"error\":{\"class\":\"GenericError\",\"desc\":\"argument 'target' is missing; add it\"}}\r\n");
	expect(fd, "{\"execute\": \"query-metrics\"}",
	       "{\"return\":{\"time_ns\":1,\"final\":false,\"machine\":{\"faults\":7,\"kvm\":{\"remote_tlb_flush\":5}},"
	       "\"boot\":{},\"vcpus\":[{\"id\":\"1\",\"kvm\":{\"exits\":9}}],\"memory\":[{\"id\":\"hbm0\"}],"
	       "\"devices\":[{\"id\":\"blk0\",\"class\":\"blk\",\"option\":\"--blk disk\",\"requests\":{\"read\":3}}]}}\r\n");
	say(fd, "{\"execute\": \"query-metrics\", \"arguments\": {\"format\": \"openmetrics\"}}");
	assert_true(hear(fd));
	assert_non_null(strstr(said, "spmvm_memory_info{memory=\\\"hbm0\\\",option=\\\"--spm path=?\\\"} 1\\n"));
	expect(fd, "{\"execute\": \"query-metrics\", \"arguments\": {\"format\": \"xml\"}}",
	       "{\"error\":{\"class\":\"GenericError\",\"desc\":\"format 'xml' is unknown; use json or openmetrics\"}}\r\n");
	expect(fd, "{\"execute\": \"query-cpus-fast\"}",
	       "{\"return\":["
	       "{\"cpu-index\":0,\"qom-path\":\"/machine/cpu[0]\",\"thread-id\":1000,\"props\":{\"node-id\":0,"
	       "\"socket-id\":0,\"core-id\":0,\"thread-id\":0},\"target\":\"x86_64\"},"
	       "{\"cpu-index\":1,\"qom-path\":\"/machine/cpu[1]\",\"thread-id\":1001,\"props\":{\"node-id\":0,"
	       "\"socket-id\":0,\"core-id\":1,\"thread-id\":0},\"target\":\"x86_64\"},"
	       "{\"cpu-index\":2,\"qom-path\":\"/machine/cpu[2]\",\"thread-id\":1002,\"props\":{\"node-id\":1,"
	       "\"socket-id\":1,\"core-id\":0,\"thread-id\":0},\"target\":\"x86_64\"}]}\r\n");
	close(fd);
}

static void lists_commands_that_it_knows(void **state)
{
	int fd = new_client();
	json_t *reply, *list;

	(void)state;
	say(fd, "{\"execute\": \"query-commands\"}");
	assert_true(hear(fd));
	reply = json_loads(said, 0, NULL);
	list = json_object_get(reply, "return");
	assert_true(json_array_size(list) >= 16);
	for (size_t i = 0; i < json_array_size(list); i++) {
		char command[100];

		/* an argument that none takes: refused, but not as unknown, and nothing is done */
		snprintf(command, sizeof(command), "{\"execute\": \"%s\", \"arguments\": {\"none\": 1}}",
			 json_string_value(json_object_get(json_array_get(list, i), "name")));
		say(fd, command);
		assert_true(hear(fd));
		assert_non_null(strstr(said, "\"error\""));
		assert_null(strstr(said, "there is no command"));
	}
	assert_int_equal(it.machine.state, MACHINE_RUNNING);
	json_decref(reply);
	close(fd);
}

static void hotplug_memory_is_set(void **state)
{
	int fd = new_client();

	(void)state;
	expect(fd,
	       "{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"hotplug\", \"property\": \"x\", \"value\": 1}}",
	       "{\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"there is no 'hotplug'; only --maxmem's "
	       "/machine/peripheral/hotplug has properties\"}}\r\n");
	it.machine.has_hotplug = true;
	it.machine.hotplug =
		(struct machine_hotplug){{UINT64_C(1) << 33, UINT64_C(1) << 31}, 2097152, 1 << 30, 1 << 29, 0};
	expect(fd,
	       "{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"/machine/peripheral/hotplug\", \"property\": "
	       "\"requested-size\", \"value\": 2097152}}",
	       "{\"return\":{}}\r\n");
	assert_int_equal(it.machine.hotplug.requested, 2097152);
	expect(fd,
	       "{\"execute\": \"qom-get\", \"arguments\": {\"path\": \"hotplug\", \"property\": \"requested-size\"}}",
	       "{\"return\":2097152}\r\n");
	for (int i = 0; i < 4; i++) {
		static const char *const BAD[][2] = {{"requested-size", "-1"},
						     {"requested-size", "\"1G\""},
						     {"size", "0"},
						     {"requested-size", "4294967296"}};
		char command[200];

		snprintf(command, sizeof(command),
			 "{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"hotplug\", \"property\": \"%s\", "
			 "\"value\": %s}}",
			 BAD[i][0], BAD[i][1]);
		say(fd, command);
		assert_true(hear(fd));
		assert_non_null(strstr(said, "GenericError"));
		assert_int_equal(it.machine.hotplug.requested, 2097152);
	}
	say(fd, "{\"execute\": \"query-memory-devices\"}");
	assert_true(hear(fd));
	assert_non_null(strstr(said, "{\"type\":\"virtio-mem\",\"data\":{\"id\":\"hotplug\",\"memaddr\":8589934592,"
				     "\"requested-size\":2097152,\"size\":536870912,\"max-size\":2147483648,"
				     "\"block-size\":2097152,\"node\":0,\"memdev\":\"/objects/hotplug\"}}]}\r\n"));
	expect(fd, "{\"execute\": \"query-memory-size-summary\"}",
	       "{\"return\":{\"base-memory\":3221225472,\"plugged-memory\":1342177280}}\r\n");
	close(fd);
}

static void devices_are_not_added(void **state)
{
	int fd = new_client();

	(void)state;
	expect(fd, "{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"spm-memory\", \"id\": \"x\"}}",
	       "{\"error\":{\"class\":\"GenericError\",\"desc\":\"device 'spm-memory' does not support hotplugging; start "
	       "the machine with --spm\"}}\r\n");
	expect(fd, "{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"e1000\"}}",
	       "{\"error\":{\"class\":\"GenericError\",\"desc\":\"'e1000' is no device of this machine\"}}\r\n");
	expect(fd, "{\"execute\": \"device_add\"}",
	       "{\"error\":{\"class\":\"GenericError\",\"desc\":\"argument 'driver' is missing; add it\"}}\r\n");
	close(fd);
}

static void tells_events_to_all(void **state)
{
	static const struct machine_event EVENTS[] = {
		{.kind = MACHINE_EVENT_NEEDS_RESET, .device = "--blk \xff"},
		{.kind = MACHINE_EVENT_PANICKED},
		{.kind = MACHINE_EVENT_ENDED, .cause = STOP_CONTROL_QUIT},
	};
	int fd = new_client(), other = new_client(), stranger = connect_to(it.path);

	(void)state;
	assert_true(hear(stranger));
	say(fd, "{\"execute\": \"stop\"}{\"execute\": \"stop\"}{\"execute\": \"query-status\"}{\"execute\": \"cont\"}"
		"{\"execute\": \"system_powerdown\"}{\"execute\": \"quit\"}{\"execute\": \"query-status\"}");
	assert_true(hear(fd));
	without_times(said);
	assert_string_equal(said, "{\"event\":\"STOP\"}\r\n{\"return\":{}}\r\n{\"return\":{}}\r\n"
				  "{\"return\":{\"running\":false,\"status\":\"paused\"}}\r\n"
				  "{\"event\":\"RESUME\"}\r\n{\"return\":{}}\r\n"
				  "{\"event\":\"POWERDOWN\"}\r\n{\"return\":{}}\r\n{\"return\":{}}\r\n"
				  "{\"return\":{\"running\":false,\"status\":\"shutdown\"}}\r\n");
	assert_int_equal(it.machine.presses, 1);
	assert_int_equal(it.machine.cause, STOP_CONTROL_QUIT);
	for (size_t i = 0; i < sizeof(EVENTS) / sizeof(EVENTS[0]); i++)
		it.control->event(it.control->context, &EVENTS[i]);
	assert_true(hear(other));
	without_times(said);
	assert_string_equal(said,
			    "{\"event\":\"STOP\"}\r\n{\"event\":\"RESUME\"}\r\n{\"event\":\"POWERDOWN\"}\r\n"
			    "{\"event\":\"DEVICE_NEEDS_RESET\",\"data\":{\"device\":\"--blk ?\"}}\r\n"
			    "{\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"poweroff\"}}\r\n"
			    "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-qmp-quit\"}}\r\n");
	/* who has not negotiated is told nothing */
	assert_true(hear(stranger));
	assert_string_equal(said, "");
	close(fd);
	close(other);
	close(stranger);
}

static void a_reset_ends_the_machine(void **state)
{
	int fd = new_client();

	(void)state;
	expect(fd, "{\"execute\": \"system_reset\"}", "{\"return\":{}}\r\n");
	assert_int_equal(it.machine.cause, STOP_CONTROL_RESET);
	close(fd);
}

/* ------------------------------------------------------------------------------------------------- clients */

static void clients_are_bounded(void **state)
{
	int fds[QMP_CLIENTS_MAX], one;

	(void)state;
	for (int i = 0; i < QMP_CLIENTS_MAX; i++)
		fds[i] = new_client();
	for (int i = 0; i < 100; i++) {
		one = connect_to(it.path);
		assert_false(hear(one));
		assert_string_equal(said,
				    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"there are 8 clients already; "
				    "wait until one has gone\"}}\r\n");
		close(one);
	}
	close(fds[3]);
	turns();
	fds[3] = new_client();
	for (int i = 0; i < QMP_CLIENTS_MAX; i++) {
		expect(fds[i], "{\"execute\": \"query-status\"}",
		       "{\"return\":{\"running\":true,\"status\":\"running\"}}\r\n");
		close(fds[i]);
	}
}

/* A client that asks and asks and reads nothing holds up nobody, and costs no more than what it has sent. */
static void a_client_that_does_not_read_waits(void **state)
{
	static const char COMMAND[] = "{\"execute\": \"query-numa\"}";
	int fd = new_client(), other = new_client();
	size_t sent = 0, answers = 0;

	(void)state;
	while (send(fd, COMMAND, strlen(COMMAND), MSG_NOSIGNAL) == (ssize_t)strlen(COMMAND) || turns() > 0)
		sent++;
	assert_true(sent > 100);
	expect(other, "{\"execute\": \"query-status\"}", "{\"return\":{\"running\":true,\"status\":\"running\"}}\r\n");
	/* and in the end it gets them all */
	assert_true(hear(fd));
	for (const char *at = said; (at = strstr(at, "\"return\"")) != NULL; at++)
		answers++;
	assert_true(answers > 100 && answers <= sent);
	close(fd);
	close(other);
}

static void a_client_that_hears_no_events_is_dropped(void **state)
{
	const struct machine_event event = {.kind = MACHINE_EVENT_POWERDOWN};
	int fd = new_client(), other = new_client();
	size_t bytes = 0, count;

	(void)state;
	for (count = 0; count < 100000; count++) {
		it.control->event(it.control->context, &event);
		assert_true(hear(other));
		bytes += strlen(said);
	}
	while (recv(fd, said, sizeof(said), MSG_DONTWAIT) > 0)
		turns();
	assert_int_equal(recv(fd, said, sizeof(said), MSG_DONTWAIT), 0);
	assert_true(bytes > count * 60);
	expect(other, "{\"execute\": \"query-status\"}", "{\"return\":{\"running\":true,\"status\":\"running\"}}\r\n");
	close(fd);
	close(other);
}

static void a_client_that_dies_harms_nobody(void **state)
{
	int other = new_client();

	(void)state;
	for (int i = 0; i < 50; i++) {
		int fd = new_client();

		say(fd, "{\"execute\": \"query-numa\"}{\"execute\": \"query-cpus-fast\"}{\"exec");
		close(fd);
		turns();
	}
	assert_true(hear(other));
	expect(other, "{\"execute\": \"query-status\"}", "{\"return\":{\"running\":true,\"status\":\"running\"}}\r\n");
	close(other);
}

/* -------------------------------------------------------------------------------------------------- socket */

static void the_socket_is_the_users(void **state)
{
	struct stat status;
	pid_t pid;
	int left;

	(void)state;
	assert_int_equal(lstat(it.path, &status), 0);
	assert_int_equal(status.st_mode, S_IFSOCK | 0600);
	if (geteuid() != 0)
		return; /* only root can become another user */
	assert_int_equal(chmod(it.folder.path, 0755), 0);
	assert_int_equal(chmod(it.path, 0666), 0);
	pid = fork();
	if (pid == 0) {
		int fd;

		if (setuid(65534) != 0)
			_exit(2);
		fd = connect_to(it.path);
		/* the parent's server answers */
		poll(&(struct pollfd){fd, POLLIN, 0}, 1, 10000);
		_exit(fd >= 0 && read(fd, said, sizeof(said)) > 0 && strstr(said, "another user's") != NULL ? 0 : 1);
	}
	while (waitpid(pid, &left, WNOHANG) == 0) {
		turns();
		poll(NULL, 0, 1);
	}
	assert_int_equal(left, 0);
}

static void a_path_in_use_is_refused(void **state)
{
	struct qmp_server *second = NULL;
	struct error err = {0};
	char text[300], file[108];
	int fd;

	(void)state;
	assert_int_equal(qmp_server_open(&second, it.path, &err), -EADDRINUSE);
	snprintf(text, sizeof(text), "--qmp unix:%s: a running program listens there; use another path", it.path);
	assert_string_equal(err.text, text);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	snprintf(file, sizeof(file), "%s/file", it.folder.path);
	scratch_text(&it.folder, "file", "");
	assert_int_equal(qmp_server_open(&second, file, &err), -EEXIST);
	assert_int_equal(access(file, F_OK), 0);
	snprintf(file, sizeof(file), "%s/no/folder", it.folder.path);
	assert_int_equal(qmp_server_open(&second, file, &err), -ENOENT);
	assert_null(second);
	/* and the first still serves */
	fd = new_client();
	close(fd);
}

static void a_stale_socket_is_replaced(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct qmp_server *second = NULL, *third = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct error err = {0};

	(void)state;
	/* what a process that was killed leaves behind */
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/stale", it.folder.path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	if (qmp_server_open(&second, address.sun_path, &err) < 0)
		fail_msg("%s", err.text);
	/* a socket that somebody put in its place is not removed */
	assert_int_equal(unlink(address.sun_path), 0);
	assert_int_equal(qmp_server_open(&third, address.sun_path, &err), 0);
	qmp_server_close(second);
	fd = connect_to(address.sun_path);
	assert_true(fd >= 0);
	close(fd);
	qmp_server_close(third);
	assert_int_equal(access(address.sun_path, F_OK), -1);
}

static void a_long_path_is_refused(void **state)
{
	struct qmp_server *server = NULL;
	struct error err = {0};
	char path[200];

	(void)state;
	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	assert_int_equal(qmp_server_open(&server, path, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "at most 107 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(greets_and_negotiates, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ids_come_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(messages_need_no_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(garbage_is_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(long_lines_are_answered_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tells_what_there_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lists_commands_that_it_knows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hotplug_memory_is_set, set_up, tear_down),
		cmocka_unit_test_setup_teardown(devices_are_not_added, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tells_events_to_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_reset_ends_the_machine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(clients_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_that_does_not_read_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_that_hears_no_events_is_dropped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_that_dies_harms_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_socket_is_the_users, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_path_in_use_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stale_socket_is_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_long_path_is_refused, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("qmp", tests, NULL, NULL);
}
