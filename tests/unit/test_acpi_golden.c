/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "tests/unit/test_acpi_machines.h"
#include "tests/unit/unit.h"

#include <errno.h>

/*
 * The tables of the named machines as hexadecimal text, tests/golden/acpi-NAME.hex. To write them anew run this test from the
 * repository's root with SPMVM_UPDATE_GOLDEN=1, and commit them on their own with the difference that iasl -d shows.
 */

static void render(struct buf *text, const struct acpi_blob *blob)
{
	buf_text(text, "# SPDX-License-Identifier: Apache-2.0\n");
	for (size_t i = 0; i < blob->table_count; i++) {
		const struct acpi_table *table = &blob->tables[i];

		buf_printf(text, "%s offset %zu size %zu\n", table->signature, table->offset, table->size);
		for (size_t j = 0; j < table->size; j++)
			buf_printf(text, "%02x%c", blob->bytes.data[table->offset + j],
				   j % 16 == 15 || j + 1 == table->size ? '\n' : ' ');
	}
	assert_false(buf_failed(text));
}

static void write_golden(const char *path, const struct buf *text)
{
	FILE *file = fopen(path, "w");

	if (file == NULL)
		fail_msg("%s: %s; run from the repository's root", path, strerror(errno));
	assert_int_equal(fwrite(text->data, 1, text->size, file), text->size);
	assert_int_equal(fclose(file), 0);
	print_message("%s written\n", path);
}

static void read_golden(const char *path, struct buf *text)
{
	FILE *file = fopen(path, "r");
	char chunk[4096];
	size_t size;

	if (file == NULL)
		fail_msg("%s: %s; run from the repository's root", path, strerror(errno));
	while ((size = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buf_add(text, chunk, size);
	assert_int_equal(fclose(file), 0);
	assert_false(buf_failed(text));
}

/* Says in which line and table the two part, which a difference of bytes would not. */
static void assert_same_text(const char *path, const struct buf *expected, const struct buf *found)
{
	size_t line = 1, size = expected->size < found->size ? expected->size : found->size;
	const char *table = "the heading";

	for (size_t i = 0; i < size; i++) {
		const char *at = (const char *)expected->data + i;

		if (expected->data[i] != found->data[i])
			fail_msg("%s:%zu: %.4s differs; if it should, run with SPMVM_UPDATE_GOLDEN=1", path, line,
				 table);
		if (*at == '\n') {
			line++;
			if (i + 1 < size && at[1] >= 'A' && at[1] <= 'Z')
				table = at + 1;
		}
	}
	if (expected->size != found->size)
		fail_msg("%s: %zu bytes, the tables now give %zu; if they should, run with SPMVM_UPDATE_GOLDEN=1", path,
			 expected->size, found->size);
}

static void named_machines_match_their_goldens(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMED_MACHINES; i++) {
		struct buf expected = {0}, found = {0};
		struct acpi_blob blob;
		struct error err;
		char path[100];

		snprintf(path, sizeof(path), "tests/golden/acpi-%s.hex", named_machines[i].name);
		assert_int_equal(acpi_build(&blob, &named_machines[i].inputs, MACHINE_BASE, &err), 0);
		render(&found, &blob);
		if (getenv("SPMVM_UPDATE_GOLDEN") != NULL)
			write_golden(path, &found);
		read_golden(path, &expected);
		assert_same_text(path, &expected, &found);
		buf_release(&expected);
		buf_release(&found);
		acpi_blob_release(&blob);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(named_machines_match_their_goldens)};

	return cmocka_run_group_tests_name("acpi_golden", tests, NULL, NULL);
}
