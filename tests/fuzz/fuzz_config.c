/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of --config under libFuzzer. What must hold beyond "no crash": a failure has a text of one line and a status of the user's,
 * and the machine of a file that is taken comes back from its own plan: the plan of that plan is the same, byte for byte.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/options.h"
#include "vmm/plan.h"

enum { PHYS_BITS = 46, NODES_SHOWN = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const struct error *err)
{
	assert(err->text[0] != '\0');
	assert(strchr(err->text, '\n') == NULL);
	assert(err->status == EXIT_STATUS_USAGE || err->status == EXIT_STATUS_CONFIG ||
	       err->status == EXIT_STATUS_HOST);
}

/* The plan of a machine, or NULL when there can be no such machine; large ones are left out as they take long. */
static char *plan_of(const struct config_raw *raw, size_t *size)
{
	struct config config;
	struct board *board = malloc(sizeof(*board));
	struct error err = {0};
	char *text = NULL;
	FILE *out;

	assert(board != NULL);
	if (config_from(&config, raw, &err) < 0) {
		check_error(&err);
		free(board);
		return NULL;
	}
	if (config.node_count > NODES_SHOWN) {
		config_release(&config);
		free(board);
		return NULL;
	}
	if (board_make(board, &config, PHYS_BITS, &err) < 0) {
		check_error(&err);
	} else {
		out = open_memstream(&text, size);
		assert(out != NULL && plan_json(board, out, &err) == 0);
		fclose(out);
		board_release(board);
	}
	config_release(&config);
	free(board);
	return text;
}

static int describe(struct options *options, const char *text, size_t size, struct error *err)
{
	static char name[] = "spmvm", plan[] = "plan";
	char *words[] = {name, plan, NULL};
	int code = options_parse(options, 2, words, err);

	assert(code == 0);
	return options_describe(options, text, size, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options options;
	struct error err = {0};
	char *first = NULL, *second;
	size_t first_size = 0, second_size = 0;

	if (describe(&options, (const char *)data, size, &err) < 0)
		check_error(&err);
	else
		first = plan_of(&options.raw, &first_size);
	options_release(&options);
	if (first == NULL)
		return 0;
	assert(describe(&options, first, first_size, &err) == 0);
	second = plan_of(&options.raw, &second_size);
	assert(second != NULL && second_size == first_size && memcmp(first, second, first_size) == 0);
	options_release(&options);
	free(first);
	free(second);
	return 0;
}
