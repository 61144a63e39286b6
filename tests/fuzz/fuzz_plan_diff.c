/* SPDX-License-Identifier: Apache-2.0 */
/* plan --diff under libFuzzer: the input is two files with a zero byte between them. A failure has a text of one line. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *zero = size > 0 ? memchr(data, '\0', size) : NULL;
	size_t first = zero != NULL ? (size_t)(zero - (const char *)data) : size;
	const struct plan_file files[] = {
		{"a", (const char *)data, first},
		{"b", (const char *)data + first + (zero != NULL), size - first - (zero != NULL)}};
	struct error err = {0};
	bool differ = false;
	char *text = NULL;
	size_t printed = 0;
	FILE *out = open_memstream(&text, &printed);
	int code;

	assert(out != NULL);
	code = plan_diff_texts(files, out, &differ, &err);
	fclose(out);
	if (code < 0)
		assert(err.text[0] != '\0' && strchr(err.text, '\n') == NULL && printed == 0);
	else
		assert(differ == (printed > 0));
	free(text);
	return 0;
}
