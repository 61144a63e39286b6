/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_CONFIG_JSON_H
#define SPMVM_CONFIG_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/config.h"

struct json_t; /* of jansson.h */

/*
 * A machine's description as JSON: the object "config" of what plan writes, and what --config reads. It holds the
 * options as they were typed, taken apart into keys and values but not looked into: what they mean, and which of them
 * can be, is decided by the very functions that read the command line. docs/plan-json.md has the format.
 */

/* Whether the option ("spm") is part of the description, and so has to be recorded in config_raw. */
bool config_json_has(const char *option);

/* Whether it says what the machine is, so that it may not stand beside --config; devices and phys-bits may. */
bool config_json_excludes(const char *option);

/* The object "config", for the caller to own. NULL with err set when memory runs out or what was typed is no UTF-8. */
struct json_t *config_json_write(const struct config *config, struct error *err);

/*
 * Reads a whole file's text and calls enter() for each option that it describes, with an argument as one would type it,
 * good for the call only. Stops at the first failure and returns it. EXIT_STATUS_USAGE for what is not such a
 * description; the error names the line or the key.
 */
typedef int config_json_enter(void *context, const char *option, const char *argument, struct error *err);
int config_json_read(const char *text, size_t size, config_json_enter *enter, void *context, struct error *err);

#endif
