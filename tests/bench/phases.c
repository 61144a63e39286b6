/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/phases.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/exits.h"

/* after - before of every number, in objects within objects too. What was not there before counts from 0. The caller owns it. */
static json_t *difference(json_t *before, json_t *after)
{
	json_t *result = json_object(), *value;
	const char *key;

	json_object_foreach(after, key, value)
	{
		json_t *old = json_object_get(before, key);

		if (json_is_object(value))
			json_object_set_new(result, key, difference(old, value));
		else
			json_object_set_new(result, key,
					    json_integer(json_integer_value(value) - json_integer_value(old)));
	}
	return result;
}

/* "KEY=NUMBER KEY=NUMBER ..." */
static json_t *read_figures(const char *text)
{
	json_t *figures = json_object();
	char key[32];
	int64_t number;
	int used;

	while (sscanf(text, " %31[a-z-]=%" SCNd64 "%n", key, &number, &used) == 2) {
		json_object_set_new(figures, key, json_integer(number));
		text += used;
	}
	return figures;
}

static int end_phase(struct phases *phases, const char *name, const char *figures, json_t *exits)
{
	json_t *runs = json_object_get(phases->parts, name), *run;

	if (phases->before == NULL)
		return -1;
	if (runs == NULL) {
		runs = json_array();
		json_object_set_new(phases->parts, name, runs);
	}
	run = read_figures(figures);
	json_object_set_new(run, "exits", difference(phases->before, exits));
	json_array_append_new(runs, run);
	json_decref(phases->before);
	phases->before = NULL;
	return 0;
}

int phases_hear(struct phases *phases, const char *line, pid_t pid, int fd)
{
	static const char GO[] = "go\n";
	char verb[8], name[64];
	const char *at = strchr(line, '@');
	json_t *exits;
	int code = 0, used = 0;

	if (at == NULL || sscanf(at, "@%7s %63s%n", verb, name, &used) != 2)
		return 0;
	if (strcmp(verb, "start") != 0 && strcmp(verb, "end") != 0)
		return 0;
	exits = exits_read(pid);
	if (verb[0] == 'e') {
		code = end_phase(phases, name, at + used, exits);
		json_decref(exits);
	} else {
		json_decref(phases->before);
		phases->before = exits;
	}
	if (code == 0 && write(fd, GO, sizeof(GO) - 1) != (ssize_t)(sizeof(GO) - 1))
		code = -1;
	return code;
}
