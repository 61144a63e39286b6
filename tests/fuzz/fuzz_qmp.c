/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QMP server under libFuzzer: what a client sends, over a real socket, to a machine that only says what it was
 * told. What must hold beyond "no crash": every line that comes back is a JSON object of the protocol, and when the
 * client has gone, so has all that the server kept of it.
 */
#include <assert.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/fake_machine.h"
#include "vmm/options.h"
#include "vmm/qmp/server.h"

enum { ANSWERS_MAX = 4 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct qmp_server *server;
static struct machine machine;
static char answers[ANSWERS_MAX];
static size_t length;

/* The machine that all inputs have in common. */
static void set_up(void)
{
	static char name[] = "spmvm", plan[] = "plan", option[] = "--spm=size=2M,node=1,id=hbm0";
	static char *words[] = {name, plan, option, NULL};
	static struct options options;
	static struct config config;
	static struct board board;
	char path[] = "/tmp/spmvm-fuzz-XXXXXX";
	struct error err;
	int code = mkstemp(path);

	assert(code >= 0);
	close(code);
	unlink(path);
	code = options_parse(&options, 3, words, &err);
	assert(code == 0);
	code = config_from(&config, &options.raw, &err);
	assert(code == 0);
	code = board_make(&board, &config, 46, &err);
	assert(code == 0);
	signal(SIGPIPE, SIG_IGN);
	code = qmp_server_open(&server, path, &err);
	assert(code == 0);
	unlink(path);
	machine.board = &board;
	machine.control = qmp_server_control(server);
}

/* The main loop, and the client's reading, until nothing is to be done. */
static void turns(int client)
{
	struct pollfd ready = {machine.control->fd, POLLIN, 0};
	ssize_t count;

	while (poll(&ready, 1, 0) == 1) {
		machine.control->ready(machine.control->context, &machine);
		while (client >= 0 && length < sizeof(answers) &&
		       (count = recv(client, answers + length, sizeof(answers) - length, MSG_DONTWAIT)) > 0)
			length += (size_t)count;
	}
}

static void check_answers(void)
{
	for (size_t start = 0, end; start < length; start = end + 1) {
		json_t *line;
		const char *found = memchr(answers + start, '\n', length - start);

		if (found == NULL && length == sizeof(answers))
			return;
		assert(found != NULL);
		end = (size_t)(found - answers);
		line = json_loadb(answers + start, end - start, JSON_REJECT_DUPLICATES, NULL);
		assert((json_object_get(line, "return") != NULL) + (json_object_get(line, "error") != NULL) +
			       (json_object_get(line, "event") != NULL) + (json_object_get(line, "QMP") != NULL) ==
		       1);
		json_decref(line);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int sockets[2], code;

	if (server == NULL)
		set_up();
	machine.state = MACHINE_RUNNING;
	machine.has_hotplug = size % 2 == 0;
	machine.hotplug = (struct machine_hotplug){{UINT64_C(1) << 33, 1 << 30}, 2 << 20, 0, 0, 0};
	length = 0;
	code = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets);
	assert(code == 0);
	code = qmp_server_add(server, sockets[0]);
	assert(code == 0);
	for (size_t sent = 0; sent < size;) {
		size_t piece = size - sent < 700 ? size - sent : 700;
		ssize_t count = send(sockets[1], data + sent, piece, MSG_NOSIGNAL);

		assert(count > 0);
		sent += (size_t)count;
		turns(sockets[1]);
	}
	turns(sockets[1]);
	check_answers();
	close(sockets[1]);
	turns(-1);
	return 0;
}
