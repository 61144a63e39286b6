/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_MACHINE_LINE_H
#define SPMVM_TESTS_UNIT_MACHINE_LINE_H

#include "tests/unit/unit.h"

#include "vmm/board.h"
#include "vmm/options.h"

/*
 * A machine written as the command line that a person would type, and the board that it becomes. Words are separated by spaces;
 * physical addresses have 46 bits unless the line says otherwise.
 */
enum { LINE_WORDS_MAX = 4096 };

struct machine_line {
	char *text;   /* what options and config borrow from */
	char **words; /* argv */
	struct options options;
	struct config *config; /* on the heap: the board borrows it */
	struct board *board;
};

static inline void line_config(struct machine_line *machine, const char *line)
{
	static char name[] = "spmvm", plan[] = "plan";
	struct error err = {0};
	int count = 2;

	machine->text = strdup(line);
	machine->words = calloc(LINE_WORDS_MAX, sizeof(machine->words[0]));
	machine->config = calloc(1, sizeof(*machine->config));
	assert_true(machine->text != NULL && machine->words != NULL && machine->config != NULL);
	machine->words[0] = name;
	machine->words[1] = plan;
	for (char *word = strtok(machine->text, " "); word != NULL; word = strtok(NULL, " ")) {
		assert_true(count < LINE_WORDS_MAX);
		machine->words[count++] = word;
	}
	if (options_parse(&machine->options, count, machine->words, &err) < 0 ||
	    config_from(machine->config, &machine->options.raw, &err) < 0)
		fail_msg("%s: %.200s", err.text, line);
}

static inline int line_try(struct machine_line *machine, const char *line, struct error *err)
{
	int code;

	line_config(machine, line);
	machine->board = malloc(sizeof(*machine->board));
	assert_non_null(machine->board);
	code = board_make(machine->board, machine->config,
			  machine->config->phys_bits != 0 ? machine->config->phys_bits : 46, err);
	if (code < 0) {
		free(machine->board);
		machine->board = NULL;
	}
	return code;
}

static inline void line_release(struct machine_line *machine)
{
	board_release(machine->board);
	free(machine->board);
	config_release(machine->config);
	free(machine->config);
	options_release(&machine->options);
	free(machine->words);
	free(machine->text);
}

static inline struct machine_line line_new(const char *line)
{
	struct machine_line machine;
	struct error err = {0};

	if (line_try(&machine, line, &err) < 0)
		fail_msg("%s: %.200s", err.text, line);
	assert_int_equal(err.text[0], '\0');
	return machine;
}

#endif
