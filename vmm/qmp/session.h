/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_QMP_SESSION_H
#define SPMVM_QMP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"

struct machine;
struct json_t; /* of jansson.h */

/*
 * What one client and we say to each other in the QEMU Machine Protocol (QEMU docs/interop/qmp-spec), apart from how
 * the bytes travel. We greet; the client negotiates with qmp_capabilities and then gives commands, each a JSON object,
 * and gets one answer to each in turn, with its id. Our messages are one line each, ended by CR LF; a client's may be
 * spread over lines or share one. After a message that is none, the rest of its line is passed over. A byte 0xff ends
 * whatever has come before, for a client that does not know where its predecessor stopped.
 */
enum {
	QMP_MESSAGE_MAX = 64 * 1024, /* bytes of a client's message */
	QMP_DEPTH_MAX = 32           /* objects and arrays within each other */
};

/* A zeroed one has not negotiated yet. */
struct qmp_session {
	bool negotiated;
	struct buf message;   /* what has come of the one under way */
	unsigned depth;       /* of what is open there; 0: between messages */
	bool in_text, escape; /* inside "...", behind a backslash */
	bool skipping;        /* the rest of a line */
};

void qmp_session_release(struct qmp_session *session);

/* Appends the greeting, the first thing that a client gets. */
void qmp_session_greet(struct buf *out);

/*
 * Takes what a client has sent, up to the end of the first message in it, and appends the answer to out. Returns how
 * many bytes it took, at least one of size > 0. A command may have events told meanwhile (vmm/machine.h), on the main
 * thread.
 */
size_t qmp_session_take(struct qmp_session *session, const uint8_t *bytes, size_t size, struct machine *machine,
			struct buf *out);

/* Appends a JSON value as one line, and releases it. A value of NULL (no memory) makes the buffer fail. */
void qmp_line(struct buf *out, struct json_t *value);

/* The same for an error that no command's answer is. */
void qmp_line_error(struct buf *out, const char *text);

#endif
