/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_QMP_PLACE_H
#define SPMVM_TESTS_UNIT_QMP_PLACE_H

#include "tests/unit/fake_machine.h"
#include "tests/unit/machine_line.h"
#include "tests/unit/scratch_folder.h"

#include "vmm/qmp/server.h"

/* A QMP server in a folder of its own, with a machine that only says what it was told (fake_machine.c). */
struct qmp_place {
	struct scratch folder;
	char path[108]; /* of the socket */
	struct machine_line line;
	struct machine machine;
	struct qmp_server *server;
	const struct machine_control *control;
};

static inline void qmp_place_open(struct qmp_place *place)
{
	struct error err = {0};

	if (qmp_server_open(&place->server, place->path, &err) < 0)
		fail_msg("%s", err.text);
	place->control = qmp_server_control(place->server);
	place->machine.control = place->control;
}

/* The machine is that of this command line. */
static inline void qmp_place_new(struct qmp_place *place, const char *line)
{
	memset(place, 0, sizeof(*place));
	scratch_new(&place->folder);
	snprintf(place->path, sizeof(place->path), "%s/qmp", place->folder.path);
	place->line = line_new(line);
	place->machine.board = place->line.board;
	qmp_place_open(place);
}

static inline void qmp_place_remove(struct qmp_place *place)
{
	qmp_server_close(place->server);
	line_release(&place->line);
	scratch_remove(&place->folder);
}

#endif
