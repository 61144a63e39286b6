/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_QMP_SERVER_H
#define SPMVM_QMP_SERVER_H

#include "vmm/base/error.h"
#include "vmm/machine.h"

/*
 * A machine's control socket (--qmp unix:PATH): listens, and holds a session (session.h) with each client. Only the
 * user who started the machine and root get in: the socket has mode 0600, and each client's credentials are looked at.
 * A client gets its next command served when it has read the answers to those before, a few a turn, so it can neither
 * block the main loop nor keep it for itself; one that reads no events any more is dropped at QMP_OUTPUT_MAX. Main
 * thread only; the process ignores SIGPIPE.
 */
enum { QMP_CLIENTS_MAX = 8, QMP_OUTPUT_MAX = 4 * 1024 * 1024 };

struct qmp_server;

/*
 * Makes the socket and listens. A socket that a killed machine left behind is replaced. EXIT_STATUS_HOST when the path
 * is in use, or nothing can be made there. On success the caller owns *server.
 */
int qmp_server_open(struct qmp_server **server, const char *path, struct error *err);

/* Removes the socket, unless another has taken its place, and lets all clients go. Takes NULL. */
void qmp_server_close(struct qmp_server *server);

/* What machine_run() takes; lives as long as the server. */
const struct machine_control *qmp_server_control(const struct qmp_server *server);

/*
 * Takes a connected stream socket, non-blocking, over as a client and greets it. When there are QMP_CLIENTS_MAX
 * already, it is told so and closed: -EUSERS. -ENOMEM closes it too.
 */
int qmp_server_add(struct qmp_server *server, int fd);

#endif
