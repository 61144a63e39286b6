/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_QMP_CTL_H
#define SPMVM_QMP_CTL_H

#include <stdio.h>

#include "vmm/base/error.h"

/*
 * The command "ctl": gives one command to the QMP server at a path and writes what it returns to out, as JSON.
 *
 *   PATH                              lists the server's commands, one a line
 *   PATH COMMAND [KEY=VALUE...]       VALUE is JSON where it can be read as such, else a text
 *   PATH COMMAND '{"KEY": VALUE}'     the arguments as one JSON object
 *   PATH wait [EVENT]                 writes events, one a line, up to this one or the machine's end
 *
 * words ends with a NULL and has the path at least. Errors: EXIT_STATUS_INTERNAL (1) for what the server refuses and
 * for an event that did not come, EXIT_STATUS_USAGE for arguments that cannot be read, EXIT_STATUS_HOST when no server
 * is reached.
 */
int qmp_ctl(char *const words[], FILE *out, struct error *err);

#endif
